"""The service as an operator runs it with every key in SoftHSM2: signer and API processes of their own.

All it knows stands in `folder`, so that it can be stopped, started at another time, and removed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
from ports import free_port
from tokens import Tokens, end

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.accounts.token_model import read_terms
from hashseal_server.main import operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import PREFIX, Settings

SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
KINDS: Mapping[str, tuple[KeyAlgorithm, bool]] = {
    "P-256": (KeyAlgorithm.P256, False),
    "RSA-3072": (KeyAlgorithm.RSA3072, False),
    "RSA-3072-PSS": (KeyAlgorithm.RSA3072, True),
}
"""Seals by the name of their key: algorithm, and whether it signs with RSA-PSS."""


@dataclass
class HardwareService:
    """`found` once; then `start` and `stop` as often as wanted, `remove` for good."""

    folder: Path
    kinds: tuple[str, ...] = tuple(KINDS)
    signers: int = 2
    seals: dict[str, str] = field(default_factory=dict)
    token: str = ""
    anchor_der: bytes = b""
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = Tokens(self.folder / "hsm")
        self.url = f"http://127.0.0.1:{free_port()}"

    def settings(self, **changes: Any) -> Settings:
        """Those of the API: neither module, nor token, nor PIN."""
        given = {
            "data_dir": self.folder / "data",
            "public_url": "http://pki.example.com",
            "keystore": "pkcs11",
            "signer_folder": self.tokens.signers,
            "authorisation_key_file": self.tokens.folder / "authorisation-key",
            "requests_per_minute": 0,
        }
        return Settings(**{**given, **changes})

    def variables(self, **changes: Any) -> dict[str, str]:
        """Those settings for a process of its own."""
        given = self.settings(**changes).model_dump(mode="json", exclude_unset=True)
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
            **{
                PREFIX + name.upper(): value if isinstance(value, str) else json.dumps(value)
                for name, value in given.items()
            },
        }

    @property
    def access(self) -> dict[str, str]:
        """Variables of the client."""
        return {"HASHSEAL_URL": self.url, "HASHSEAL_TOKEN": self.token}

    def found(self) -> HardwareService:
        """Authority, account, and one seal of each kind; every key is made in a token."""
        signers = self.tokens.start(self.signers)
        try:
            asyncio.run(self._found())
        finally:
            end(signers)
        return self

    async def _found(self) -> None:
        async with operator(self.settings()) as opened:
            await opened.initialise()
            account = await opened.accounts.create("Test Organisation")
            await opened.accounts.record_order(account.id, 100_000)
            for_years = read_terms(lifetime=None)
            self.token = (await opened.accounts.create_token(account.id, for_years)).text
            book = await opened.seals()
            for kind in self.kinds:
                algorithm, pss = KINDS[kind]
                made = await book.create(
                    account.id, SUBJECT, kind="official", algorithm=algorithm, pss=pss
                )
                self.seals[kind] = made.id
            await opened.audit.sequence()
            self.anchor_der = bytes(await opened.authority.trust_anchor())

    def start(self, ahead: timedelta = timedelta()) -> HardwareService:
        """Signers and one API process, ready; `ahead` moves the clock that they see."""
        shift = faketime(ahead) if ahead else {}
        for path in self.tokens.signers.glob("*.sock"):
            path.unlink()  # of those that were killed: `start` waits for new ones
        self._running += self.tokens.start(self.signers, **shift)
        port = self.url.rpartition(":")[2]
        with (self.folder / "service.log").open("ab") as log:
            api = subprocess.Popen(
                [sys.executable, "-m", "hashseal_server.cli", "run", "--port", port],
                env={**self.variables(), **shift},
                stdout=log,
                stderr=log,
            )
        self._running.append(api)
        until = time.monotonic() + 90
        while not ready(self.url):
            assert time.monotonic() < until, "the service does not start"
            assert api.poll() is None, "the service ended at once"
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End all processes in order: the API first."""
        while self._running:
            end([self._running.pop()])

    def remove(self) -> None:
        """Stop, and leave nothing: no token, no database, no process."""
        self.stop()
        shutil.rmtree(self.folder)


def ready(url: str) -> bool:
    """It answers that it can sign."""
    try:
        return httpx2.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


def faketime(ahead: timedelta) -> dict[str, str]:
    """Variables under which a process sees a later time; only the calendar is moved."""
    command = ["faketime", "-f", "+1s", "printenv", "LD_PRELOAD"]
    library = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return {
        "LD_PRELOAD": library,
        "FAKETIME": f"{int(ahead.total_seconds()):+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }
