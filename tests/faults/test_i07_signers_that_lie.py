"""Keys that delay, fail, sign wrongly, lose their session and die: nothing wrong leaves the service.

Every signature that clients were given is verified here with the public key: those on documents,
those of tokens, certificates, OCSP responses and lists.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import unreliable_keys
from callers import Journal, set_up
from cluster import Cluster
from tokens import end
from under_load import (
    SIGNERS,
    TYPED,
    all_is_well,
    answered,
    calling,
    present,
    replicas,
    serving,
    settings,
    signatures,
    verify,
)

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import FaultySignature, KeystoreUnavailable
from hashseal_server.main import operator
from hashseal_server.settings import Settings

SIGNATURES = 10_000


@dataclass
class Misbehaving:
    """Signer processes over the double; a dead one is started again."""

    folder: Path
    secret: bytes
    behaviour: dict[str, float] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    died: int = 0

    async def start(self, **behaviour: float) -> None:
        self.behaviour = behaviour
        self.processes = [self._one() for _ in range(SIGNERS)]
        await present(self.folder / "signers")

    def _one(self) -> subprocess.Popen[bytes]:
        words = (str(self.folder), self.secret.hex(), json.dumps(self.behaviour))
        return subprocess.Popen([sys.executable, unreliable_keys.__file__, *words])

    async def look_after(self) -> None:
        while True:
            for one in self.processes:
                if one.poll() is not None:
                    self.died += 1
                    self.processes.remove(one)
                    self.processes.append(self._one())
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        end(self.processes)


async def publishing(of: Settings) -> None:
    """New revocation lists all the while, so that those in the answers are of these signers too."""
    async with operator(of, migrate=False) as opened:
        while True:
            with contextlib.suppress(FaultySignature, KeystoreUnavailable):
                await opened.authority.publish("issuing")
            await asyncio.sleep(0.1)


@pytest.mark.timeout(600)
def test_of_ten_thousand_signatures_with_two_percent_wrong_none_leaves_wrong(
    database: Callable[[], Cluster], tmp_path: Path
) -> None:
    """Keys that delay, fail, sign wrongly, lose their session and die, in processes of their own."""
    secret = tmp_path / "authorisation-key"
    secret.write_text(secrets.token_hex(32))
    secret.chmod(0o600)
    signers = Misbehaving(tmp_path, secret.read_bytes())
    of = settings(tmp_path, database().database("faulty", "prepared"), tmp_path / "signers", secret)

    async def scenario() -> None:
        await signers.start()
        access = await set_up(of, (KeyAlgorithm.P256, KeyAlgorithm.RSA3072))
        fleet, journal = replicas(of), Journal()
        await serving(fleet)
        signers.stop()
        await signers.start(
            faulty=0.02, failing=0.005, delay=0.001, losing=0.0003, lost_for=0.1, dying=0.001
        )
        watch = asyncio.gather(signers.look_after(), publishing(of))
        try:
            async with calling(fleet, access, journal, (1, 2, 5, 10)):
                while signatures(journal) < SIGNATURES:
                    assert not watch.done()
                    await asyncio.sleep(0.1)
            watch.cancel()
            print(f"\n{len(journal.answers)} calls; {dict(journal.failures)}; {signers.died} died")
            found = verify(journal.answers)
            print(dict(found))
            assert found["EC"] + found["RSA"] + found["token"] >= SIGNATURES
            assert found["RSA"] > SIGNATURES // 10
            assert found["ocsp"] >= len(access)
            assert found["crl"] > 2  # replicas keep each for a while
            assert found["certificate"] > len(access)
            assert journal.failures["faulty-signature"] > 20
            assert journal.failures["timestamp-unavailable"] > 20
            assert journal.failures["keystore-unavailable"] > 10
            assert set(journal.failures) <= TYPED
            assert signers.died
            signers.stop()
            await signers.start()
            await answered(fleet, access, journal)
            await all_is_well(of, fleet, journal)
        finally:
            watch.cancel()
            fleet.stop()

    try:
        asyncio.run(scenario())
    finally:
        signers.stop()
