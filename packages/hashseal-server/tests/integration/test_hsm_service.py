"""The whole service with its keys in a SoftHSM2 token: the same answers, and no key in its reach."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cluster import Cluster
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from public_authority import PublicAuthority
from tokens import MODULE, Tokens, end

from hashseal_core import cms, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, KeyAlgorithm
from hashseal_core.errors import ConfigurationInvalid, KeystoreRefused
from hashseal_server.keystore import verified
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.main import Operator, operator
from hashseal_server.pki.model import LegalPerson, RequestedSubject
from hashseal_server.settings import Role, Settings
from hashseal_server.tsa.token import ALGORITHM

pytestmark = pytest.mark.hsm

SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
KINDS = (
    (KeyAlgorithm.P256, False),
    (KeyAlgorithm.RSA3072, False),
    (KeyAlgorithm.RSA3072, True),
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    made = Tokens(tmp_path_factory.mktemp("service") / "hsm")
    yield made
    end(made.begun)


def settings(tokens: Tokens, folder: Path, **changes: Any) -> Settings:
    """Those of the service: neither module, nor token, nor PIN."""
    return Settings(
        data_dir=folder,
        public_url="http://pki.example.com",
        keystore="pkcs11",
        signer_folder=tokens.signers,
        authorisation_key_file=tokens.folder / "authorisation-key",
        requests_per_minute=0,
        **changes,
    )


@dataclass
class Client:
    """One account of a service, over ASGI."""

    opened: Operator
    http: httpx2.AsyncClient
    account: str
    token: str
    keys: Any = field(default_factory=itertools.count)

    async def sign(self, seal: str, *texts: str, level: str = "B-LT") -> httpx2.Response:
        hashes = [
            base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts
        ]
        return await self.http.post(
            "/v1/documents/sign",
            json={"seal_id": seal, "level": level, "hashes": hashes},
            headers={
                "authorization": f"Bearer {self.token}",
                "idempotency-key": f"key-{next(self.keys)}",
            },
        )

    async def seal(self, algorithm: KeyAlgorithm, *, pss: bool = False) -> str:
        book = await self.opened.seals()
        made = await book.create(
            self.account,  # type: ignore[arg-type]
            SUBJECT,
            kind="official",
            algorithm=algorithm,
            pss=pss,
        )
        return made.id


def run(wanted: Settings, scenario: Callable[[Client], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with operator(wanted) as opened:
            await opened.initialise()
            account = await opened.accounts.create("Test Organisation")
            await opened.accounts.record_order(account.id, 1000)
            token = await opened.accounts.create_token(account.id)
            transport = httpx2.ASGITransport((await opened.app()).asgi, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://s") as http:
                await scenario(Client(opened, http, account.id, token.text))

    asyncio.run(asyncio.wait_for(whole(), 200))


def checked(answer: httpx2.Response, *texts: str) -> None:
    """Every part of an answer, judged from outside."""
    assert answer.status_code == 200, answer.text
    for text, one in zip(texts, answer.json()["signatures"], strict=True):
        digest = Digest(DigestAlgorithm.SHA256, hashlib.sha256(text.encode()).digest())
        signed = cms.parse(base64.b64decode(one["signature"]))
        cms.check(signed, digest)
        token = base64.b64decode(one["timestamp"]["token"])
        assert signed.timestamp_token == token
        tsp.check_token(token, tsp.imprint_of(signed.signature_value))


@pytest.fixture
def signers(tokens: Tokens) -> Iterator[Tokens]:
    processes = tokens.start(2)
    yield tokens
    end(processes)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "sqlite":
        return None
    made: Cluster = request.getfixturevalue("cluster")
    return made.database(f"h{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]}", "prepared")


def test_every_kind_of_seal_signs_from_the_token(
    signers: Tokens, tmp_path: Path, database_url: str | None
) -> None:
    async def scenario(client: Client) -> None:
        assert await client.opened.check() == []
        for algorithm, pss in KINDS:
            seal = await client.seal(algorithm, pss=pss)
            checked(await client.sign(seal, "one"), "one")
            texts = [f"batch {n}" for n in range(70)]
            checked(await client.sign(seal, *texts, level="B-LTA"), *texts)
        assert (await client.http.get("/crl/issuing.crl")).status_code == 200
        query = tsp.build_request(Digest(DigestAlgorithm.SHA256, hashlib.sha256(b"q").digest()))
        reply = await client.http.post(
            "/tsa", content=query, headers={"content-type": "application/timestamp-query"}
        )
        tsp.token_of_response(reply.content)
        await client.opened.audit.sequence()
        assert (await client.http.get("/readyz")).status_code == 200

    run(settings(signers, tmp_path / "data", database_url=database_url), scenario)


def test_keys_that_are_wrapped_sign_too(tokens: Tokens, tmp_path: Path, database_url) -> None:
    another = Tokens(tmp_path / "hsm")
    made = another.run(
        sys.executable, "-c",
        "import os, sys; os.environ.update(dict(one.split('=', 1) for one in sys.argv[2:]));"
        "from hashseal_server.signers import main; sys.exit(main(['--wrapping-key', sys.argv[1]]))",
        str(another.folder / "officer-pin"),
        *(f"{name}={value}" for name, value in another.environment.items() if "HASHSEAL" in name),
        check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    processes = another.start(2, HASHSEAL_CUSTOMER_KEYS="wrapped")
    before = another.tool("--list-objects").stdout.count("Private Key Object")

    async def scenario(client: Client) -> None:
        for algorithm, pss in KINDS:
            seal = await client.seal(algorithm, pss=pss)
            checked(await client.sign(seal, "one", "two"), "one", "two")

    try:
        run(settings(another, tmp_path / "data", database_url=database_url), scenario)
    finally:
        end(processes)
    after = another.tool("--list-objects").stdout.count("Private Key Object")
    assert after - before <= 2  # the TSU's and no customer's


def test_without_signers_calls_fail_uncharged_and_go_on_by_themselves(
    tokens: Tokens, tmp_path: Path
) -> None:
    processes = tokens.start(2)

    async def scenario(client: Client) -> None:
        seal = await client.seal(KeyAlgorithm.P256)
        checked(await client.sign(seal, "one"), "one")
        for one in processes:
            one.kill()
            one.wait()
        before = await client.opened.account_store.balance(client.account)  # type: ignore[arg-type]
        answer = await client.sign(seal, "two")
        assert (answer.status_code, answer.json()["code"]) == (503, "keystore-unavailable")
        assert (await client.http.get("/readyz")).status_code == 503
        after = await client.opened.account_store.balance(client.account)  # type: ignore[arg-type]
        assert after == before
        processes[:] = await asyncio.to_thread(restarted, tokens)
        checked(await client.sign(seal, "three"), "three")
        assert (await client.http.get("/readyz")).status_code == 200

    run(settings(tokens, tmp_path / "data"), scenario)
    end(processes)


def restarted(tokens: Tokens) -> list[Any]:
    for path in tokens.signers.glob("*.sock"):
        path.unlink()
    return list(tokens.start(2))


def test_the_service_itself_can_use_no_key_for_anything_else(
    signers: Tokens, tmp_path: Path
) -> None:
    async def scenario(client: Client) -> None:
        seal_id = await client.seal(KeyAlgorithm.P256)
        seal = await (await client.opened.seals()).find(client.account, seal_id)  # type: ignore[arg-type]
        unit = (await client.opened.authority.units())[0]
        subject = SUBJECT.name()
        request = x509.load_der_x509_csr(
            verified.certification_request(
                client.opened.keystore, seal.key, subject.public_bytes(), ALGORITHM
            )
        )
        assert request.is_signature_valid
        assert request.subject == subject
        for key in (seal.key, unit.key):
            with pytest.raises(KeystoreRefused, match="not a name"):
                client.opened.keystore.sign_request(key, b"\x30\x03\x02\x01\x00", ALGORITHM)
            with pytest.raises(KeystoreRefused):
                client.opened.keystore.sign(key, b"chosen bytes", ALGORITHM)
        assert "pkcs11" not in sys.modules

    run(settings(signers, tmp_path / "data"), scenario)


def test_who_may_not_authorise_signs_no_document(signers: Tokens, tmp_path: Path) -> None:
    async def scenario(client: Client) -> None:
        seal = await client.seal(KeyAlgorithm.P256)
        answer = await client.sign(seal, "one")
        assert answer.status_code == 404  # the role does not even serve it

    run(settings(signers, tmp_path / "data", roles={Role.TSA, Role.STATUS}), scenario)

    async def without_a_key() -> None:
        wanted = settings(signers, tmp_path / "data").model_copy(
            update={"authorisation_key_file": None}
        )
        async with operator(wanted) as opened:
            with pytest.raises(ConfigurationInvalid, match="authorisations"):
                await opened.check()
        wanted = settings(
            signers, tmp_path / "data", pkcs11_pin_files={"seal": signers.folder / "pin"}
        )
        async with operator(wanted) as opened:
            (finding,) = [one for one in await opened.check() if "pin" in one]
            assert "another user" in finding

    asyncio.run(without_a_key())


PINS = {"seal": "1357-9241", "tsu": "2357-9242", "ca": "3357-9243", "ocsp": "4357-9244"}
PINS["audit"] = "5357-9245"
"""A token of its own for each purpose, and a PIN of its own."""


def test_each_purpose_has_a_token_a_pin_and_signers_of_its_own(tmp_path: Path) -> None:
    tokens = Tokens(
        tmp_path / "hsm",
        labels=tuple(PINS),
        purposes={purpose: purpose for purpose in PINS},
        pins=PINS,
    )
    # Customers' keys in one process, all the others in another: neither has the other's PINs.
    apart = (("seal",), PINS.keys() - {"seal"})
    begun = [one for some in apart for one in tokens.start(1, **tokens.serving(*some))]

    async def scenario(client: Client) -> None:
        seal = await client.seal(KeyAlgorithm.P256)
        checked(await client.sign(seal, "one", level="B-LTA"), "one")
        await client.opened.audit.sequence()

    try:
        run(settings(tokens, tmp_path / "data"), scenario)
    finally:
        end(begun)
    for label in PINS:
        listed = tokens.tool("--list-objects", "--type", "privkey", label=label).stdout
        names = {line.split()[-1] for line in listed.splitlines() if "label:" in line}
        made = {name.split(":")[1] for name in names if name.count(":") > 1}
        assert made == {label}, listed
    shut = tokens.run(
        *("pkcs11-tool", "--module", str(MODULE), "--token-label", "ca", "--list-objects"),
        *("--login", "--pin", PINS["seal"]),
        check=False,
    )
    assert shut.returncode


def test_purposes_are_those_of_the_settings() -> None:
    annotation = Settings.model_fields["pkcs11_tokens"].annotation
    assert {str(purpose) for purpose in Purpose} == set(annotation.__args__[0].__args__)  # type: ignore[union-attr]


@pytest.mark.tools
@pytest.mark.parametrize(("algorithm", "pss"), KINDS)
def test_a_key_in_the_token_with_another_authority_s_certificate(
    signers: Tokens, tmp_path: Path, algorithm: KeyAlgorithm, pss: bool
) -> None:
    """Request, import, sign; the key is made in the token, and none comes into it from a file."""
    other = PublicAuthority(tmp_path / "authority")

    async def scenario(client: Client) -> None:
        service = client.opened.importing()
        made = await service.request(
            client.account,  # type: ignore[arg-type]
            RequestedSubject("Test Seal", "Test Organisation"),
            kind="official",
            algorithm=algorithm,
            pss=pss,
        )
        request = tmp_path / "request.csr"
        request.write_bytes(x509.load_der_x509_csr(made.der).public_bytes(Encoding.PEM))
        files = (await asyncio.to_thread(other.sign, request), *other.chain)
        checked_chain = await service.examine(made.id, [path.read_bytes() for path in files])
        done = await service.bring(made.id, checked_chain, confirmed=True)
        assert done.reached
        assert not [one for one in done.warnings if "software" in one]
        checked(await client.sign(done.seal.id, "a document", "another"), "a document", "another")
        with pytest.raises(KeystoreRefused, match="not taken into it"):
            await service.bring_pkcs12(
                client.account,  # type: ignore[arg-type]
                b"",
                b"",
                kind="official",
                pss=False,
                confirmed=False,
            )

    try:
        run(settings(signers, tmp_path / "data", outbound_networks=("127.0.0.1/32",)), scenario)
    finally:
        other.close()
