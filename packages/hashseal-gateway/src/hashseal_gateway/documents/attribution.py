"""Which of the account's seals signed: from what this gateway recorded, and from certificates.

The log knows the seal of every file as it left this gateway. Any other signature is a seal's if it
was made with the certificate that the seal has now. Nothing about the file is sent anywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Protocol

import msgspec

from hashseal.validation.report import Report
from hashseal_core import protocol
from hashseal_core.errors import HashsealError
from hashseal_gateway.log.model import Entry, Search
from hashseal_gateway.seals.model import SealDefaults

PATIENCE = 2.0
"""Seconds to wait for the service's list of seals; without it a report names fewer seals."""


class Seals(Protocol):
    """The seals that somebody may use."""

    async def all(
        self, allowed: frozenset[str] | None
    ) -> list[tuple[protocol.Seal, SealDefaults | None]]: ...


class Log(Protocol):
    """The signing log."""

    async def find(self, search: Search, limit: int) -> list[Entry]: ...


async def attributed(
    report: Report, digest: str, seals: Seals, log: Log, allowed: frozenset[str] | None
) -> Report:
    """The same report with a SealID at each signature of a seal that the caller may use.

    `digest` is the SHA-256 of the file, hexadecimal.

    Raises:
        StorageUnavailable: the log cannot be read.
    """
    ours = [
        place
        for place, one in enumerate(report.signatures)
        if one.kind == "signature" and one.integrity
    ]
    if not ours:
        return report
    known = await _by_certificate(seals, allowed)
    named = {place: known.get(report.signatures[place].certificate or "") for place in ours}
    entries = await log.find(Search(digest_after=digest), 1)
    recorded = entries[0].seal_id if entries else None
    if recorded is not None and (allowed is None or recorded in allowed):
        named[ours[-1]] = recorded
    return msgspec.structs.replace(
        report,
        signatures=tuple(
            msgspec.structs.replace(one, seal_id=named.get(place))
            for place, one in enumerate(report.signatures)
        ),
    )


async def _by_certificate(seals: Seals, allowed: frozenset[str] | None) -> dict[str, str]:
    try:
        async with asyncio.timeout(PATIENCE):
            found = await seals.all(allowed)
    except (HashsealError, TimeoutError):  # a report does not wait for the service
        return {}
    return {
        hashlib.sha256(seal.certificates[0]).hexdigest(): seal.id
        for seal, _ in found
        if seal.certificates
    }
