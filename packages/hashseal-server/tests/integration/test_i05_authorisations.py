"""I5: no key signs without an authorisation, checked in the process that has the token's PIN.

The signers are real processes over a SoftHSM2 token; what is asked here is what a captured caller
could send over their socket.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from subjects import certificate_for
from tokens import PIN, Tokens, end

from hashseal_core import cms, tsp
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.errors import KeystoreRefused, KeystoreUnavailable
from hashseal_server.keystore.authorisation import Authorisation, Authoriser, Grant
from hashseal_server.keystore.folder import sockets
from hashseal_server.keystore.messages import (
    HEAD,
    Answer,
    Failed,
    Hello,
    Request,
    SignDocuments,
    SignStructure,
    SignTimestamp,
    Values,
    frame,
    read_hello,
    size_of,
)
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.remote import DocumentOrder, RemoteSigners

pytestmark = pytest.mark.hsm

ECDSA = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
PSS = SignatureAlgorithm(SignatureScheme.RSA_PSS, DigestAlgorithm.SHA512)
PKCS1 = SignatureAlgorithm(SignatureScheme.RSA_PKCS1, DigestAlgorithm.SHA384)


def now() -> datetime:
    return datetime.now(UTC)


def digest(words: object, algorithm: DigestAlgorithm = DigestAlgorithm.SHA256) -> Digest:
    return Digest(algorithm, hashlib.new(algorithm.hashlib_name, str(words).encode()).digest())


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    made = Tokens(tmp_path_factory.mktemp("i05") / "hsm")
    yield made
    end(made.begun)


@pytest.fixture(scope="module")
def running(tokens: Tokens) -> Iterator[Tokens]:
    processes = tokens.start(2)
    yield tokens
    end(processes)


def client(tokens: Tokens, **options: float) -> RemoteSigners:
    authoriser = Authoriser(tokens.authorisation_key)
    return RemoteSigners(tokens.signers, now=now, authoriser=lambda: authoriser, **options)  # type: ignore[arg-type]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        try:
            await asyncio.wait_for(scenario(), 200)
        finally:
            while Line.opened:
                writer = Line.opened.pop().writer
                writer.close()
                await writer.wait_closed()

    asyncio.run(whole())


class Line:
    """A bare connection to a signer, as whoever has captured the caller could open one."""

    opened: ClassVar[list[Line]] = []

    def __init__(self, hello: Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.hello, self.reader, self.writer = hello, reader, writer
        self.opened.append(self)

    @classmethod
    async def open(cls, path: Path) -> Line:
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            size = size_of(await reader.readexactly(HEAD))
            return cls(read_hello(await reader.readexactly(size)), reader, writer)
        except (OSError, EOFError):
            writer.close()
            raise

    async def ask(self, request: Request) -> Answer:
        self.writer.write(frame(request))
        size = size_of(await self.reader.readexactly(HEAD))
        return msgspec.msgpack.decode(await self.reader.readexactly(size), type=Answer)


class Seals:
    """Two accounts with a key each, and what a thief might mix."""

    def __init__(self, tokens: Tokens) -> None:
        self.authoriser = Authoriser(tokens.authorisation_key)
        self.keys: dict[str, str] = {}
        self.certificates: dict[str, bytes] = {}

    async def make(self, signers: RemoteSigners) -> None:
        for account in ("acme", "evil"):
            self.keys[account], spki = await signers.generate(
                Purpose.SEAL, KeyAlgorithm.P256, account
            )
            self.certificates[account] = certificate_for(spki, account)

    def grant(self, boot: bytes, secret: bytes | None = None, **changes: object) -> Authorisation:
        asked = {
            "boot": boot,
            "account": "acme",
            "key": self.keys["acme"],
            "certificate": self.certificates["acme"],
            "algorithm": ECDSA,
            "digests": [digest(secrets.token_hex(4))],
            "now": now(),
            **changes,
        }
        authoriser = Authoriser(secret) if secret else self.authoriser
        return authoriser.authorise(**asked)  # type: ignore[arg-type]


def test_a_right_authorisation_signs_what_the_signer_built(running: Tokens) -> None:
    async def scenario() -> None:
        signers = client(running)
        for algorithm, kind in (
            (ECDSA, KeyAlgorithm.P256),
            (PSS, KeyAlgorithm.RSA3072),
            (PKCS1, KeyAlgorithm.RSA3072),
        ):
            key, spki = await signers.generate(Purpose.SEAL, kind, "acme")
            certificate = certificate_for(spki)
            asked = [digest(number, algorithm.digest) for number in range(70)]
            values = await signers.sign_documents(
                DocumentOrder("acme", key, certificate, algorithm, asked)
            )
            for one, value in zip(asked, values, strict=True):
                attributes = cms.signed_attributes(one, certificate)
                cms.verify_signature_value(certificate, algorithm, attributes, value)
        await signers.close()

    run(scenario)


def test_forged_expired_replayed_and_swapped_authorisations_sign_nothing(running: Tokens) -> None:
    async def scenario() -> None:
        signers, seals = client(running), Seals(running)
        await seals.make(signers)
        first, second = [await Line.open(path) for path in sockets(running.signers)]
        boot, certificate = first.hello.boot, seals.certificates["acme"]
        outcomes: Counter[str] = Counter()

        async def refused(
            granted: Authorisation, sent: bytes = certificate, line: Line = first
        ) -> None:
            answer = await line.ask(SignDocuments(granted, sent))
            assert isinstance(answer, Failed), answer
            outcomes[answer.detail] += 1

        # forged: another secret, a changed grant under a genuine MAC, random MACs
        for _ in range(125):
            await refused(seals.grant(boot, secrets.token_bytes(32)))
            genuine = seals.grant(boot)
            await refused(Authorisation(genuine.grant, secrets.token_bytes(32)))
            content = msgspec.msgpack.decode(genuine.grant, type=Grant)
            for changes in (
                {"hashes": (digest("another document").value,)},
                {"key": seals.keys["evil"]},
                {"account": "evil"},
                {"certificate": hashlib.sha256(seals.certificates["evil"]).digest()},
                {"scheme": SignatureScheme.RSA_PSS},
                {"expires_at": content.expires_at + 60_000},
            ):
                other = msgspec.msgpack.encode(msgspec.structs.replace(content, **changes))
                await refused(Authorisation(other, genuine.mac))
        # expired, and good for longer than one may be
        for number in range(500):
            await refused(seals.grant(boot, now=now() - timedelta(seconds=31 + number)))
            await refused(seals.grant(boot, now=now() + timedelta(minutes=5 + number)))
        # swapped to another credential, though the authoriser itself was tricked
        theirs = seals.certificates["evil"]
        for _ in range(250):
            await refused(seals.grant(boot, key=seals.keys["evil"]))
            await refused(seals.grant(boot, account="evil"))
            await refused(seals.grant(boot, certificate=theirs), theirs)
            await refused(seals.grant(boot), theirs)
        # replayed a thousand times, here, on another connection, and at the other signer
        once = seals.grant(boot)
        assert isinstance(await first.ask(SignDocuments(once, certificate)), Values)
        third = await Line.open(sockets(running.signers)[0])
        for number in range(1000):
            await refused(once, line=(first, third, second)[number % 3])
        assert outcomes["the authorisation was taken before"] >= 666
        assert outcomes["the authorisation is for another signer"] >= 333
        assert outcomes["the authorisation is not genuine"] == 1000
        assert outcomes["the authorisation is over, or good for too long"] == 1000
        assert sum(outcomes.values()) == 4 * 1000
        await signers.close()

    run(scenario)


def test_of_a_thousand_at_once_at_several_signers_one_signs(
    tokens: Tokens, running: Tokens
) -> None:
    """The same authorisation over thirty connections to three processes."""
    more = tokens.start(1)

    async def scenario() -> None:
        signers, seals = client(running), Seals(running)
        await seals.make(signers)
        paths = sockets(running.signers)
        assert len(paths) == 3
        lines = [await Line.open(paths[number % 3]) for number in range(30)]
        certificate = seals.certificates["acme"]
        wanted = digest("once")
        once = seals.grant(lines[0].hello.boot, digests=[wanted])
        answers: list[Answer] = []

        async def replay(line: Line, times: int) -> None:
            request = SignDocuments(once, certificate)
            answers.extend([await line.ask(request) for _ in range(times)])

        await asyncio.gather(
            *(replay(line, 34 if number < 10 else 33) for number, line in enumerate(lines))
        )
        assert len(answers) == 1000
        (signed,) = [answer for answer in answers if isinstance(answer, Values)]
        attributes = cms.signed_attributes(wanted, certificate)
        cms.verify_signature_value(certificate, ECDSA, attributes, signed.values[0])
        refusals = Counter(one.detail for one in answers if isinstance(one, Failed))
        assert set(refusals) == {
            "the authorisation was taken before",
            "the authorisation is for another signer",
        }
        await signers.close()

    try:
        run(scenario)
    finally:
        end(more)


def test_an_authorisation_does_not_outlive_its_signer(tokens: Tokens, running: Tokens) -> None:
    async def scenario() -> None:
        signers, seals = client(running), Seals(running)
        await seals.make(signers)
        before = set(sockets(running.signers))
        (process,) = tokens.start(1)
        (path,) = set(sockets(running.signers)) - before
        granted = seals.grant((await Line.open(path)).hello.boot)
        process.kill()
        process.wait()
        (process,) = tokens.start(1) if not path.exists() else await _restarted(tokens, path)
        answer = await (await Line.open(path)).ask(
            SignDocuments(granted, seals.certificates["acme"])
        )
        assert isinstance(answer, Failed)
        assert answer.detail == "the authorisation is for another signer"
        end([process])
        await signers.close()

    run(scenario)


async def _restarted(tokens: Tokens, path: Path) -> list[subprocess.Popen[bytes]]:
    path.unlink()  # so that `start` sees it come back
    return tokens.start(1)


def test_no_key_signs_bytes_that_were_handed_in_for_a_document(running: Tokens) -> None:
    async def scenario() -> None:
        signers, seals = client(running), Seals(running)
        await seals.make(signers)
        line = await Line.open(sockets(running.signers)[0])
        key, certificate = seals.keys["acme"], seals.certificates["acme"]
        chosen = [
            b"any words",
            cms.signed_attributes(digest("a document"), certificate),
            digest("a document").value,
            b"hashseal audit checkpoint 1\n",
        ]
        parts = (SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
        for octets in chosen:
            assert isinstance(await line.ask(SignStructure(key, octets, *parts)), Failed)
            asked = SignTimestamp(key, octets, certificate, *parts)
            assert isinstance(await line.ask(asked), Failed)
        tsu, spki = await signers.generate(Purpose.TSU, KeyAlgorithm.P256)
        unit = certificate_for(spki, "unit")
        for octets in chosen:
            assert isinstance(await line.ask(SignStructure(tsu, octets, *parts)), Failed)
            assert isinstance(await line.ask(SignTimestamp(tsu, octets, unit, *parts)), Failed)
        granted = seals.grant(line.hello.boot, key=tsu, certificate=unit, account="")
        assert isinstance(await line.ask(SignDocuments(granted, unit)), Failed)
        content = tsp.TokenContent("1.2.3", digest("value"), 1 << 140, now(), 1000)
        value = await signers.sign_timestamp(tsu, tsp.tst_info(content), unit, ECDSA)
        attributes = tsp.signed_attributes(tsp.tst_info(content), unit, DigestAlgorithm.SHA256)
        cms.verify_signature_value(unit, ECDSA, attributes, value)
        late = tsp.TokenContent(
            "1.2.3", digest("value"), 1 << 140, now() - timedelta(hours=1), 1000
        )
        with pytest.raises(KeystoreRefused, match="clock"):
            await signers.sign_timestamp(tsu, tsp.tst_info(late), unit, ECDSA)
        await signers.close()

    run(scenario)


def test_a_signer_serves_the_purposes_whose_pins_it_was_given(tokens: Tokens) -> None:
    folder = tokens.folder / "apart"
    environment = {
        **tokens.environment,
        "HASHSEAL_SIGNER_FOLDER": str(folder),
        "HASHSEAL_PKCS11_PIN_FILES": '{"ocsp": "' + str(tokens.folder / "pin") + '"}',
    }
    environment.pop("HASHSEAL_AUTHORISATION_KEY_FILE")
    process = subprocess.Popen([sys.executable, "-m", "hashseal_server.signers"], env=environment)
    until = time.monotonic() + 30
    while not sockets(folder):
        assert time.monotonic() < until
        time.sleep(0.02)

    async def scenario() -> None:
        signers = RemoteSigners(
            folder, now=now, authoriser=lambda: Authoriser(tokens.authorisation_key), patience=0.2
        )
        await signers.health(Purpose.OCSP)
        for purpose in set(Purpose) - {Purpose.OCSP}:
            with pytest.raises(KeystoreUnavailable):
                await signers.generate(purpose, KeyAlgorithm.P256, "acme")
        await signers.close()
        line = await Line.open(sockets(folder)[0])
        assert line.hello.purposes == (Purpose.OCSP,)
        forged = SignDocuments(Authorisation(b"x", bytes(32)), b"c" * 64)
        answer = await line.ask(forged)
        assert isinstance(answer, Failed)
        assert answer.detail == "this signer signs no documents"

    run(scenario)
    end([process])


def test_the_pin_is_in_the_signers_alone(running: Tokens) -> None:
    """Neither in this process, nor in anybody's environment or arguments; no one looks inside."""
    assert "pkcs11" not in sys.modules
    assert PIN not in "".join(os.environ.values())
    signers = [one.pid for one in running.begun if one.poll() is None]
    assert signers
    for pid in signers:
        assert b"hashseal_server.signers" in _read(f"/proc/{pid}/cmdline")
        assert PIN.encode() not in _read(f"/proc/{pid}/cmdline") + _read(f"/proc/{pid}/environ")
        assert (
            Path(f"/proc/{pid}/environ").stat().st_uid == 0
        )  # not dumpable: root's, whoever runs it


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def test_killed_under_load_signers_lose_nothing(tokens: Tokens) -> None:
    """Real tokens, SIGKILL: every call has an outcome, each signature verifies, all keys stay."""
    folder = tokens.folder / "load"
    changes = {"HASHSEAL_SIGNER_FOLDER": str(folder)}

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "hashseal_server.signers"], env={**tokens.environment, **changes}
        )

    processes = [begin() for _ in range(3)]
    outcomes: Counter[str] = Counter()

    async def scenario() -> None:
        authoriser = Authoriser(tokens.authorisation_key)
        signers = RemoteSigners(
            folder, now=now, authoriser=lambda: authoriser, patience=20, timeout=30
        )
        seals = Seals(tokens)
        await seals.make(signers)
        asked, chance = 0, random.Random(7)

        async def sign(account: str) -> None:
            wanted = digest(secrets.token_hex(8))
            certificate = seals.certificates[account]
            order = DocumentOrder(account, seals.keys[account], certificate, ECDSA, [wanted])
            try:
                (value,) = await signers.sign_documents(order)
            except KeystoreUnavailable as error:
                outcomes[error.code] += 1
                return
            attributes = cms.signed_attributes(wanted, certificate)
            cms.verify_signature_value(certificate, ECDSA, attributes, value)
            outcomes["signed"] += 1

        kills, until = 0, time.monotonic() + 20
        while time.monotonic() < until or kills < 6:
            tasks = [asyncio.create_task(sign(chance.choice(("acme", "evil")))) for _ in range(60)]
            asked += len(tasks)
            # SoftHSM loses a token that is killed while it logs in: kill those that have a socket.
            if len(sockets(folder)) == 3 and not any(one.poll() for one in processes):
                await asyncio.sleep(0.01)
                victim = chance.randrange(3)
                processes[victim].send_signal(signal.SIGKILL)
                processes[victim].wait()
                for path in sockets(folder):
                    if not await _answers(path):
                        path.unlink()
                processes[victim] = begin()
                kills += 1
            await asyncio.gather(*tasks)
        assert sum(outcomes.values()) == asked
        assert outcomes["signed"] > 0.9 * asked
        assert kills >= 6
        await sign("acme")
        await signers.close()

    try:
        run(scenario)
    finally:
        end(processes)


async def _answers(path: Path) -> bool:
    try:
        line = await Line.open(path)
    except (OSError, EOFError):
        return False
    line.writer.close()
    return True
