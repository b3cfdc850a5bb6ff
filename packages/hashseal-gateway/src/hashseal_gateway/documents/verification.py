"""Verification of a file that somebody brings: by the SDK, in its own limited process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from hashseal import validation
from hashseal.validation.report import Report
from hashseal_core.errors import ConfigurationInvalid


class Verifier:
    """Reports; so many files at the same time. What a report rests on is the administrator's."""

    def __init__(self, trust_anchors: Sequence[bytes], at_once: int) -> None:
        self._anchors = trust_anchors
        self._places = asyncio.Semaphore(at_once)

    @property
    def anchors(self) -> int:
        """How many files of trust anchors it has; without any nobody is trusted."""
        return len(self._anchors)

    async def report(self, path: Path, password: str | None) -> Report:
        """What is to be said of the file; nothing is fetched from anywhere.

        Raises:
            PdfError: it cannot be read, or needs more than it may have.
        """
        async with self._places:
            return await asyncio.to_thread(
                validation.validate, path, self._anchors, password=password
            )


def read_anchors(path: Path | None) -> list[bytes]:
    """The certificates (PEM) of a file; none without one.

    Raises:
        ConfigurationInvalid: it cannot be read, or holds none.
    """
    if path is None:
        return []
    try:
        octets = path.read_bytes()
    except OSError as error:
        raise ConfigurationInvalid(f"{path} cannot be read", field="trust_anchors") from error
    if b"-----BEGIN CERTIFICATE-----" not in octets:
        raise ConfigurationInvalid(f"{path} holds no certificate", field="trust_anchors")
    return [octets]
