"""The client of the signer processes against a key store that delays, fails, lies, forgets, dies.

What comes back is verified with the certificate's public key, as every caller does: no bad signature
gets out, every failure has a type, and nothing has to be started again by hand.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import unreliable_keys
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from subjects import certificate_for

from hashseal_core import cms
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.errors import FaultySignature, KeystoreRefused, KeystoreUnavailable
from hashseal_server.keystore import verified
from hashseal_server.keystore.authorisation import Authoriser
from hashseal_server.keystore.blocking import BlockingKeyStore
from hashseal_server.keystore.folder import sockets
from hashseal_server.keystore.messages import HEAD, Health, frame, read_hello
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.remote import CHUNK, DocumentOrder, RemoteSigners

SECRET = secrets.token_bytes(32)
ECDSA = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)


def now() -> datetime:
    return datetime.now(UTC)


def digests(count: int) -> list[Digest]:
    return [
        Digest(DigestAlgorithm.SHA256, hashlib.sha256(secrets.token_bytes(8)).digest())
        for _ in range(count)
    ]


class Fleet:
    """Signer processes over the double; a dead one is started again, as a supervisor does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signers = folder / "signers"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.behaviour: dict[str, float] = {}

    def start(self, count: int, **behaviour: float) -> None:
        self.behaviour = behaviour
        before = len(self._alive())
        self.processes += [self._one() for _ in range(count)]
        until = time.monotonic() + 60
        while len(self._alive()) < before + count:
            assert time.monotonic() < until
            time.sleep(0.02)

    def _one(self) -> subprocess.Popen[bytes]:
        program = str(Path(unreliable_keys.__file__))
        words = [
            sys.executable,
            program,
            str(self.folder),
            SECRET.hex(),
            json.dumps(self.behaviour),
        ]
        return subprocess.Popen(words)

    def _alive(self) -> list[Path]:
        found = []
        for path in sockets(self.signers):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(path))
                except OSError:
                    continue
                found.append(path)
        return found

    def look_after(self) -> None:
        for one in list(self.processes):
            if one.poll() is not None:
                self.processes.remove(one)
                self.processes.append(self._one())

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        for one in self.processes:
            one.send_signal(number)
        for one in self.processes:
            one.wait(30)
        self.processes.clear()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.end()


class Caller:
    """One account with one seal; signs and verifies."""

    def __init__(self, fleet: Fleet, **options: float) -> None:
        self.signers = RemoteSigners(
            fleet.signers,
            now=now,
            authoriser=lambda: Authoriser(SECRET),
            **options,  # type: ignore[arg-type]
        )
        self.key, spki = unreliable_keys.UnreliableKeys(fleet.folder / "keys").generate(
            Purpose.SEAL, KeyAlgorithm.P256, "acme"
        )
        self.certificate = certificate_for(spki)
        self.outcomes: Counter[str] = Counter()
        self.released = 0

    async def sign(self, count: int = 1) -> None:
        """As the service does; what it releases is right, or it fails with a type."""
        asked = digests(count)
        try:
            values = await verified.sign_documents(
                self.signers, DocumentOrder("acme", self.key, self.certificate, ECDSA, asked)
            )
        except (KeystoreUnavailable, KeystoreRefused, FaultySignature) as error:
            self.outcomes[error.code] += 1
            return
        public = x509.load_der_x509_certificate(self.certificate).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        for one, value in zip(asked, values, strict=True):
            attributes = cms.signed_attributes(one, self.certificate)
            public.verify(value, attributes, ec.ECDSA(hashes.SHA256()))
        self.outcomes["signed"] += 1
        self.released += count


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 200))  # type: ignore[arg-type]


async def until_it_signs(caller: Caller, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    before = caller.outcomes["signed"]
    while caller.outcomes["signed"] == before:
        assert time.monotonic() < end, caller.outcomes
        await caller.sign()


def test_calls_are_spread_over_the_signers_and_answered_in_order(fleet: Fleet) -> None:
    fleet.start(3)

    async def scenario() -> None:
        caller = Caller(fleet)
        await asyncio.gather(*(caller.sign() for _ in range(60)))
        await caller.sign(3 * CHUNK + 1)
        assert caller.outcomes == {"signed": 61}
        assert len(caller.signers._peers) == 3
        assert all(peer.idle for peer in caller.signers._peers.values())
        await caller.signers.close()

    run(scenario)


def test_wrong_signatures_never_get_out(fleet: Fleet) -> None:
    fleet.start(2, faulty=0.02)

    async def scenario() -> None:
        caller = Caller(fleet)
        for _ in range(100):
            await asyncio.gather(*(caller.sign() for _ in range(40)))
        assert set(caller.outcomes) == {"signed", "faulty-signature"}
        # 4,000 signatures, 2 % wrong: 80 expected, and between 40 and 130 but for one in a million.
        assert 40 < caller.outcomes["faulty-signature"] < 130
        assert caller.released == caller.outcomes["signed"]
        await caller.signers.close()

    run(scenario)


def test_wrong_signatures_of_digests_never_get_out(fleet: Fleet) -> None:
    """Keys of the raw kind, which sign digests themselves."""
    fleet.start(2, faulty=0.1)

    async def scenario() -> None:
        caller, outcomes = Caller(fleet), Counter[str]()
        keys = unreliable_keys.UnreliableKeys(fleet.folder / "keys")
        key, spki = keys.generate(Purpose.RAW, KeyAlgorithm.P256, "acme")
        certificate = certificate_for(spki)
        public = x509.load_der_x509_certificate(certificate).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        prehashed = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
        for _ in range(300):
            (asked,) = digests(1)
            order = DocumentOrder("acme", key, certificate, ECDSA, [asked])
            try:
                (value,) = await verified.sign_digests(caller.signers, order)
            except FaultySignature:
                outcomes["faulty"] += 1
                continue
            public.verify(value, asked.value, prehashed)
            outcomes["signed"] += 1
        assert outcomes["signed"] > 200
        assert outcomes["faulty"] > 5  # 30 expected
        await caller.signers.close()

    run(scenario)


def test_failures_have_types_and_pass(fleet: Fleet) -> None:
    fleet.start(2, failing=0.2, losing=0.02, delay=0.002)

    async def scenario() -> None:
        caller = Caller(fleet)
        outcomes, end = caller.outcomes, time.monotonic() + 60
        # A lost session comes back after a while, however many calls fail meanwhile.
        while min(outcomes["signed"], outcomes["keystore-unavailable"]) <= 20:
            assert time.monotonic() < end, outcomes
            await asyncio.gather(*(caller.sign() for _ in range(20)))
        assert set(outcomes) == {"signed", "keystore-unavailable"}
        await until_it_signs(caller)
        await caller.signers.close()

    run(scenario)


def test_a_slow_signer_is_given_up_in_time_and_its_late_answer_is_nobodys(fleet: Fleet) -> None:
    fleet.start(1, delay=0.6)

    async def scenario() -> None:
        caller = Caller(fleet, timeout=0.3)
        began = time.monotonic()
        await asyncio.gather(*(caller.sign() for _ in range(12)))
        assert time.monotonic() - began < 5
        assert set(caller.outcomes) <= {"signed", "keystore-unavailable"}
        assert caller.outcomes["keystore-unavailable"] >= 6
        await asyncio.sleep(4)
        # Connections whose answers were late are gone: the next answers are to their own requests.
        patient = Caller(fleet, timeout=30)
        await asyncio.gather(*(patient.sign() for _ in range(8)))
        assert patient.outcomes == {"signed": 8}
        await caller.signers.close()
        await patient.signers.close()

    run(scenario)


def test_signers_that_die_are_used_again_when_they_are_back(fleet: Fleet) -> None:
    fleet.start(3, dying=0.004, delay=0.002)

    async def scenario() -> None:
        caller = Caller(fleet, patience=5.0)
        seen: set[int] = set()

        async def supervise() -> None:
            while True:
                fleet.look_after()
                seen.update(one.pid for one in fleet.processes)
                await asyncio.sleep(0.05)

        supervisor = asyncio.create_task(supervise())
        asked = 0
        while asked < 1000 or len(seen) <= 3:
            assert asked < 20_000
            await asyncio.gather(*(caller.sign() for _ in range(25)))
            asked += 25
        assert set(caller.outcomes) <= {"signed", "keystore-unavailable"}
        assert caller.outcomes["signed"] > 0.9 * asked
        await until_it_signs(caller)
        supervisor.cancel()
        await caller.signers.close()

    run(scenario)


KILLS = 20


def test_killed_under_load_nothing_is_lost(fleet: Fleet) -> None:
    """Every call is answered, with a signature or with a type, and all signers are used again."""
    fleet.start(3, delay=0.004)

    async def scenario() -> None:
        caller, chance, asked = Caller(fleet, patience=5.0), random.Random(5), 0
        killed: set[int] = set()
        end = time.monotonic() + 120
        tasks: set[asyncio.Task[None]] = set()
        signed_at_kill = 0
        while len(killed) < KILLS:
            assert time.monotonic() < end
            while len(tasks) < 30:
                tasks.add(asyncio.create_task(caller.sign(chance.choice((1, 1, 1, 40)))))
                asked += 1
            _, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            fleet.look_after()
            if caller.outcomes["signed"] > signed_at_kill + 30:
                victim = chance.choice(fleet.processes).pid
                os.kill(victim, signal.SIGKILL)
                killed.add(victim)
                signed_at_kill = caller.outcomes["signed"]
        await asyncio.gather(*tasks)
        assert sum(caller.outcomes.values()) == asked
        assert set(caller.outcomes) <= {"signed", "keystore-unavailable"}
        # Each kill costs the calls of one signer's connections, of which there are few.
        assert asked - caller.outcomes["signed"] <= 6 * KILLS
        await until_it_signs(caller)
        await caller.signers.close()

    run(scenario)


def test_a_signer_that_hangs_ends_and_another_takes_its_place(fleet: Fleet) -> None:
    fleet.start(1, delay=1e8, stuck=1.0)

    async def scenario() -> None:
        caller = Caller(fleet, patience=20.0, timeout=30.0)
        await caller.sign()
        assert caller.outcomes == {"keystore-unavailable": 1}
        assert fleet.processes[0].wait(10) == -signal.SIGALRM
        fleet.processes.clear()
        fleet.start(1)
        await caller.sign()
        assert caller.outcomes["signed"] == 1
        await caller.signers.close()

    run(scenario)


def test_a_restart_of_all_signers_costs_a_pause_and_no_error(fleet: Fleet) -> None:
    fleet.start(2)

    async def scenario() -> None:
        caller = Caller(fleet, patience=30.0, timeout=40.0)
        await asyncio.gather(*(caller.sign() for _ in range(10)))
        fleet.end(signal.SIGKILL)
        waiting = [asyncio.create_task(caller.sign()) for _ in range(10)]
        await asyncio.sleep(0.5)
        fleet.start(2)
        await asyncio.gather(*waiting)
        assert caller.outcomes == {"signed": 20}
        await caller.signers.close()

    run(scenario)


def test_without_a_signer_a_call_fails_soon(fleet: Fleet) -> None:
    fleet.start(1)

    async def scenario() -> None:
        caller = Caller(fleet, patience=0.3)
        await caller.sign()
        fleet.end(signal.SIGKILL)  # its socket stays behind
        began = time.monotonic()
        await caller.sign()
        assert caller.outcomes == {"signed": 1, "keystore-unavailable": 1}
        assert time.monotonic() - began < 5
        nobody = RemoteSigners(fleet.folder / "nowhere", now=now, patience=0.1)
        with pytest.raises(KeystoreUnavailable, match="no signer"):
            await nobody.health(Purpose.CA)
        order = DocumentOrder("acme", caller.key, caller.certificate, ECDSA, digests(1))
        with pytest.raises(KeystoreRefused, match="may not authorise"):
            await nobody.sign_documents(order)
        await caller.signers.close()

    run(scenario)


def test_what_is_not_a_signer_is_passed_over(fleet: Fleet) -> None:
    """A socket whose owner says nonsense, or nothing at all and goes."""
    fleet.start(1)

    async def scenario() -> None:
        async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"\x00\x00\x00\x05hello" if random.random() < 0.5 else b"")
            writer.close()

        server = await asyncio.start_unix_server(nonsense, fleet.signers / "63.sock")
        caller = Caller(fleet)
        await asyncio.gather(*(caller.sign() for _ in range(30)))
        assert caller.outcomes == {"signed": 30}
        await caller.signers.close()
        server.close()
        await server.wait_closed()

    run(scenario)


def test_another_users_process_is_not_served(fleet: Fleet) -> None:
    if os.geteuid():
        pytest.skip("only root can become another user")
    fleet.start(1)
    fleet.signers.chmod(0o755)
    fleet.folder.chmod(0o755)
    (path,) = sockets(fleet.signers)
    path.chmod(0o666)
    code = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(1);"
        "s.connect(sys.argv[1]); print(len(s.recv(100)))"
    )
    for folder in path.parents:
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    said = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "0"
    with socket.socket(socket.AF_UNIX) as ours:
        ours.connect(str(path))
        assert len(ours.recv(100)) > 40


def test_hostile_octets_do_not_stop_a_signer(fleet: Fleet) -> None:
    fleet.start(1)
    (path,) = sockets(fleet.signers)
    chance = random.Random(6)
    for number in range(300):
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(10)
            one.connect(str(path))
            read_hello(one.recv(200)[HEAD:])
            octets = chance.randbytes(chance.randrange(200))
            if number % 2:
                octets = len(octets).to_bytes(HEAD, "big") + octets
            one.sendall(octets)
            if number % 3:
                one.shutdown(socket.SHUT_WR)
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(path))
        one.recv(200)
        one.sendall(frame(Health()))
        assert len(one.recv(200)) > HEAD


def test_synchronous_callers_reach_the_signers_too(fleet: Fleet) -> None:
    fleet.start(2)
    keys = BlockingKeyStore(fleet.signers)
    keys.health()
    reference = keys.generate(KeyAlgorithm.P256, Purpose.AUDIT)
    checkpoint = b"hashseal audit checkpoint 1\n{}"
    for _ in range(20):
        value = keys.sign(reference, checkpoint, ECDSA)
        cms.verify_signature_value(keys.public_key(reference), ECDSA, checkpoint, value)
    with pytest.raises(KeystoreRefused, match="form"):
        keys.sign(reference, b"anything", ECDSA)
    seal = keys.generate(KeyAlgorithm.P256, account="acme")
    with pytest.raises(KeystoreRefused, match="form"):
        keys.sign(seal, b"anything", ECDSA)
    keys.destroy(reference)
    with pytest.raises(KeystoreRefused, match="no such key"):
        keys.public_key(reference)
    fleet.end(signal.SIGKILL)
    impatient = BlockingKeyStore(fleet.signers, patience=0.1)
    for work in (impatient.health, lambda: impatient.public_key(seal)):
        with pytest.raises(KeystoreUnavailable):
            work()
    fleet.start(1, dying=1.0)
    with pytest.raises(KeystoreUnavailable, match="ended"):
        impatient.health()
