"""I11: once a revocation is answered, no replica delivers a signature or a good status."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import text

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.pki.model import LegalPerson
from hashseal_server.signing.store import SigningStore

SUBJECT = LegalPerson("Another Seal", "Test Organisation", "NTRCH-1", "CH")
REPLICAS, SIGNERS, BOUGHT = 4, 12, 10_000
ENOUGH = 15


async def statuses(apis, request: bytes) -> set[ocsp.OCSPCertStatus]:
    """What each replica's responder says."""
    headers = {"content-type": "application/ocsp-request"}
    answers = [await api.http.post("/ocsp", content=request, headers=headers) for api in apis]
    return {ocsp.load_der_ocsp_response(a.content).certificate_status for a in answers}


async def status_request(api) -> tuple[int, bytes]:
    """The seal's serial number and an OCSPRequest for it."""
    seal = (await (await api.operator.seals()).all(api.account))[0]
    leaf, issuer = (x509.load_der_x509_certificate(der) for der in seal.chain[:2])
    built = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256()).build()
    return seal.serial, built.public_bytes(Encoding.DER)


@pytest.mark.parametrize("other_settings", [{"requests_per_minute": 0}])
def test_a_revocation_in_the_middle_of_the_traffic_of_all_replicas(replicas) -> None:
    async def scenario(apis) -> None:
        serial, request = await status_request(apis[0])
        assert await statuses(apis, request) == {ocsp.OCSPCertStatus.GOOD}
        await apis[0].operator.accounts.record_order(apis[0].account, BOUGHT)
        answered, enough = asyncio.Event(), asyncio.Event()
        good: list[str] = []
        codes: Counter[str] = Counter()

        async def signer(number: int) -> None:
            for turn in itertools.count():
                after = answered.is_set()
                api = apis[(number + turn) % REPLICAS]
                answer = await api.sign(f"{number}-{turn}", key=f"s-{number}-{turn}", level="B-LT")
                if answer.status_code == 200:
                    assert not after, "signed after the revocation was answered"
                    good.append(answer.json()["id"])
                    if len(good) == ENOUGH:
                        enough.set()
                else:
                    codes[answer.json()["code"]] += 1
                if after:  # one call at least begins after the answer
                    return

        async def revoker() -> None:
            await enough.wait()
            book = await apis[1].operator.seals()
            await book.revoke(apis[1].account, apis[1].seal, "keyCompromise")
            answered.set()
            assert await statuses(apis, request) == {ocsp.OCSPCertStatus.REVOKED}
            for api in apis:
                collected = await api.post("/v1/validation", {"serials": [str(serial)]})
                assert collected.json()["revoked"] == [str(serial)]
                assert collected.json()["validation"] is None

        await asyncio.gather(revoker(), *(signer(number) for number in range(SIGNERS)))
        assert set(codes) == {"seal-revoked"}
        assert codes["seal-revoked"] >= SIGNERS
        async with apis[0].operator.database.read() as connection:
            rows = await connection.execute(text("SELECT event FROM audit_record ORDER BY id"))
            order = [row.event for row in rows]
        assert "documents.signed" not in order[order.index("certificate.revoked") :]
        assert await apis[0].left() == (max(0, 100 - len(good)), BOUGHT - max(0, len(good) - 100))

    replicas(REPLICAS, scenario)


def test_a_signature_that_was_made_before_is_not_committed_after(
    replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(apis) -> None:
        made, go_on = asyncio.Event(), asyncio.Event()
        real = SigningStore.commit

        async def late(self, request, call):
            made.set()
            await go_on.wait()
            return await real(self, request, call)

        monkeypatch.setattr(SigningStore, "commit", late)
        call = asyncio.create_task(apis[0].sign("one", level="B-LT"))
        await made.wait()
        book = await apis[1].operator.seals()
        await book.revoke(apis[1].account, apis[1].seal, "keyCompromise")
        go_on.set()
        answer = await call
        assert answer.json()["code"] == "seal-revoked"
        assert await apis[0].left() == (100, 0)

    replicas(2, scenario)


def test_no_replica_says_good_from_what_was_kept(replicas) -> None:
    """Responses are kept, renewed and asked for all the time while seals are revoked."""

    async def scenario(apis) -> None:
        book = await apis[0].operator.seals()
        revoked: dict[bytes, bool] = {}
        asked: Counter[ocsp.OCSPCertStatus] = Counter()
        over = asyncio.Event()

        async def ask(number: int) -> None:
            for turn in itertools.count(number):
                if over.is_set():
                    return
                await asyncio.sleep(0.001)
                for request in list(revoked):
                    before = revoked[request]
                    (status,) = await statuses([apis[turn % REPLICAS]], request)
                    assert not (before and status is ocsp.OCSPCertStatus.GOOD)
                    asked[status] += 1

        async def renew() -> None:
            while not over.is_set():
                ended = await apis[2].operator.authority.renew_responses(None)
                while ended is not None:
                    ended = await apis[2].operator.authority.renew_responses(ended)

        async def revoke() -> None:
            for turn in range(8):
                made = await book.create(
                    apis[0].account, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256
                )
                leaf, issuer = (x509.load_der_x509_certificate(der) for der in made.chain[:2])
                built = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1())
                request = built.build().public_bytes(Encoding.DER)
                revoked[request] = False
                assert await statuses(apis, request) == {ocsp.OCSPCertStatus.GOOD}
                other = await apis[turn % REPLICAS].operator.seals()
                await other.revoke(apis[0].account, made.id, "keyCompromise")
                revoked[request] = True
                assert await statuses(apis, request) == {ocsp.OCSPCertStatus.REVOKED}
            over.set()

        await asyncio.gather(revoke(), renew(), *(ask(number) for number in range(4)))
        assert asked[ocsp.OCSPCertStatus.GOOD] > 0
        assert asked[ocsp.OCSPCertStatus.REVOKED] > 0

    replicas(REPLICAS, scenario)
