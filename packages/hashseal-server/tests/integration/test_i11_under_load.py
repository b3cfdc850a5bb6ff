"""I11 over replicas that are processes: a hundred calls at a time around each revocation."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import httpx2
import leaking
import pytest
from books import check_secrets
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from fleet import Fleet

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.main import operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import Settings

SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
REPLICAS, CALLERS, ROUNDS, ENOUGH = 3, 100, 3, 60
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
LATER = ocsp.OCSPResponseStatus.TRY_LATER
REFUSED = {"seal-revoked", "overloaded"}


def hash_of(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


async def awake(fleet: Fleet, http: httpx2.AsyncClient) -> None:
    for index in range(REPLICAS):
        for _ in range(600):
            with contextlib.suppress(httpx2.HTTPError):
                if (await http.get(f"{fleet.url(index)}/readyz")).status_code == 200:
                    break
            await asyncio.sleep(0.1)


def questions(chain: tuple[bytes, ...]) -> list[tuple[str, str, bytes]]:
    """Method, path and body of every way to ask for a status."""
    leaf, issuer = (x509.load_der_x509_certificate(one) for one in chain[:2])
    built = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1())
    plain = built.build().public_bytes(Encoding.DER)
    nonced = built.add_extension(x509.OCSPNonce(b"n" * 32), critical=False).build()
    address = "/ocsp/" + quote(base64.b64encode(plain).decode(), safe="")
    return [
        ("POST", "/ocsp", plain),
        ("GET", address, b""),
        ("POST", "/ocsp", nonced.public_bytes(Encoding.DER)),
    ]


@pytest.mark.timeout(600)
def test_after_the_answer_no_signature_and_no_good(
    tmp_path: Path, database_url: str | None
) -> None:
    settings = Settings(
        data_dir=tmp_path / "service",
        database_url=database_url,
        public_url="http://pki.example.com",
        requests_per_minute=0,
    )

    async def scenario() -> None:
        async with operator(settings) as opened:
            await opened.initialise()
            account = await opened.accounts.create("Test Organisation")
            await opened.accounts.record_order(account.id, 100_000)
            token = (await opened.accounts.create_token(account.id)).text
            logs = tmp_path / "logs"
            fleet = Fleet(settings.data_dir, settings.database_url, REPLICAS, logs=logs)
            fleet.start()
            # A connection that is kept may be closed by the replica just when it is used again.
            limits = httpx2.Limits(max_connections=CALLERS + 20, max_keepalive_connections=0)
            try:
                async with httpx2.AsyncClient(limits=limits, timeout=60) as http:
                    await awake(fleet, http)
                    for turn in range(ROUNDS):
                        await around(turn, opened, fleet, http, account.id, token)
                figures = await fleet.figures()
            finally:
                fleet.stop()
            await check_secrets(opened, leaking.Watch(), fleet.said(), figures)

    async def around(turn, opened, fleet, http, account, token) -> None:
        book = await opened.seals()
        seal = await book.create(account, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256)
        answered, enough = asyncio.Event(), asyncio.Event()
        outcomes: Counter[str] = Counter()
        replicas_after: set[int] = set()
        said: Counter[object] = Counter()

        async def call(number: int, at: int) -> tuple[int, str]:
            index = (number + at) % REPLICAS
            level = ("B-B", "B-T", "B-LT")[number % 3]
            body = {
                "seal_id": seal.id,
                "level": level,
                "hashes": [hash_of(f"{turn}-{number}-{at}")],
            }
            headers = {
                "authorization": f"Bearer {token}",
                "idempotency-key": f"k-{turn}-{number}-{at}",
            }
            url = f"{fleet.url(index)}/v1/documents/sign"
            answer = await http.post(url, json=body, headers=headers)
            if answer.status_code == 200:
                return index, "signed"
            return index, str(answer.json()["code"])

        async def caller(number: int) -> None:
            left = REPLICAS  # so many calls of each begin after the answer, one at each
            for at in itertools.count():
                after = answered.is_set()
                index, outcome = await call(number, at)
                outcomes[outcome] += 1
                if outcomes["signed"] >= ENOUGH:
                    enough.set()
                if after:
                    assert outcome in REFUSED, outcome
                    replicas_after.add(index)
                    left -= 1
                    if left == 0:
                        return
                await asyncio.sleep(0.01)

        async def asker(index: int) -> None:
            for way in itertools.cycle(questions(seal.chain)):
                after = answered.is_set()
                method, path, body = way
                answer = await http.request(
                    method,
                    fleet.url(index) + path,
                    content=body,
                    headers={"content-type": "application/ocsp-request"},
                )
                read = ocsp.load_der_ocsp_response(answer.content)
                if read.response_status is not LATER:
                    said[read.certificate_status] += 1
                    assert not (after and read.certificate_status is not REVOKED)
                if after and said[REVOKED] >= 3 * REPLICAS * (index + 1):
                    return
                await asyncio.sleep(0.01)

        async def revoker() -> None:
            await enough.wait()
            await book.revoke(account, seal.id, "keyCompromise")
            answered.set()

        await asyncio.gather(revoker(), *map(caller, range(CALLERS)), *map(asker, range(REPLICAS)))
        assert replicas_after == set(range(REPLICAS))
        assert outcomes["signed"] >= ENOUGH
        assert outcomes["seal-revoked"] >= CALLERS
        assert set(outcomes) <= {"signed", *REFUSED}, outcomes
        assert said[GOOD] > 0

    asyncio.run(scenario())
