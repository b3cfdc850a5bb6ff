"""Pre-produced OCSP responses: kept, renewed, replaced, verified; and revocation lists on schedule."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import text

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import KeystoreUnavailable
from hashseal_server import main
from hashseal_server.keystore.software import SoftwareKeyStore
from hashseal_server.pki.model import LegalPerson
from hashseal_server.pki.response_store import ResponseStore
from hashseal_server.pki.revocation import Revoked
from hashseal_server.pki.service import ISSUING, ROOT
from hashseal_server.pki.store import PkiStore

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER


async def seal_of(api) -> tuple[int, x509.Certificate, x509.Certificate]:
    seal = (await (await api.operator.seals()).all(api.account))[0]
    leaf, issuer = (x509.load_der_x509_certificate(der) for der in seal.chain[:2])
    return seal.serial, leaf, issuer


def request(
    leaf: x509.Certificate,
    issuer: x509.Certificate,
    algorithm: hashes.HashAlgorithm | None = None,
    nonce: bytes | None = None,
) -> bytes:
    built = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, algorithm or hashes.SHA1())
    if nonce is not None:
        built = built.add_extension(x509.OCSPNonce(nonce), critical=False)
    return built.build().public_bytes(Encoding.DER)


async def rows(api, columns: str = "*") -> list:
    async with api.operator.database.read() as connection:
        found = await connection.execute(
            text(f"SELECT {columns} FROM ocsp_response ORDER BY serial, hash_algorithm")
        )
        return list(found.all())


async def renew(api) -> None:
    ended = await api.operator.authority.renew_responses(None)
    while ended is not None:
        ended = await api.operator.authority.renew_responses(ended)


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys with which the key store has signed."""
    seen: list[str] = []
    real = SoftwareKeyStore.sign

    def sign(self, key, to_be_signed, algorithm):
        seen.append(key)
        return real(self, key, to_be_signed, algorithm)

    monkeypatch.setattr(SoftwareKeyStore, "sign", sign)
    return seen


def test_a_response_is_signed_once_for_everybody(service, signatures: list[str]) -> None:
    async def scenario(api) -> None:
        _, leaf, issuer = await seal_of(api)
        authority = api.operator.authority
        signatures.clear()
        first, *others = await asyncio.gather(
            *(authority.ocsp(request(leaf, issuer)) for _ in range(20))
        )
        assert set(others) == {first}
        assert len(signatures) == 1
        material = await authority.material_for(leaf.public_bytes(Encoding.DER))
        assert material.ocsp_responses[0] == first
        assert len(signatures) == 2  # the issuing authority's own status
        other = ocsp.load_der_ocsp_response(
            await authority.ocsp(request(leaf, issuer, hashes.SHA256()))
        )
        assert (other.hash_algorithm.name, other.certificate_status) == ("sha256", GOOD)
        assert await authority.ocsp(request(leaf, issuer)) == first
        assert len(signatures) == 3

    service(scenario)


@pytest.mark.parametrize("other_settings", [{"live_status_per_second": 3}])
def test_what_cannot_be_kept_is_signed_within_an_allowance(service, signatures) -> None:
    async def scenario(api) -> None:
        _, leaf, issuer = await seal_of(api)
        authority = api.operator.authority
        kept = await authority.ocsp(request(leaf, issuer))
        signatures.clear()
        answers = [
            ocsp.load_der_ocsp_response(
                await authority.ocsp(request(leaf, issuer, nonce=b"n" * 8 + bytes([n])))
            )
            for n in range(30)
        ]
        live = [one for one in answers if one.response_status is not TRY_LATER]
        assert 6 <= len(live) < 30
        assert len(signatures) == len(live)
        assert {one.certificate_status for one in live} == {GOOD}
        nonces = {
            one.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce for one in live
        }
        assert len(nonces) == len(live)
        # Others are answered all the same.
        assert await authority.ocsp(request(leaf, issuer)) == kept
        assert [row.hash_algorithm for row in await rows(api)] == ["sha1"]

    service(scenario)


LATER = timedelta(hours=12, minutes=1)


def test_the_job_makes_and_renews_every_response(service, monkeypatch, signatures) -> None:
    async def scenario(api) -> None:
        book = await api.operator.seals()
        subject = LegalPerson("More", "Test Organisation", "NTRCH-1", "CH")
        for _ in range(66):  # with the first seal, unit and issuing authority: two batches
            await book.create(api.account, subject, kind="official", algorithm=KeyAlgorithm.P256)
        assert await rows(api) == []
        await renew(api)
        made = await rows(api)
        assert len(made) == 69
        assert {row.hash_algorithm for row in made} == {"sha1"}
        signatures.clear()
        await renew(api)
        assert signatures == []

        _, leaf, issuer = await seal_of(api)
        before = await api.operator.authority.ocsp(request(leaf, issuer))
        await api.operator.authority.ocsp(request(leaf, issuer, hashes.SHA256()))
        assert len(signatures) == 1
        real = main.now
        monkeypatch.setattr(api.operator.authority._responses, "_now", lambda: real() + LATER)
        await renew(api)
        assert len(signatures) == 70  # all of them long before they went stale
        after = await api.operator.authority.ocsp(request(leaf, issuer))
        assert after != before
        read = ocsp.load_der_ocsp_response(after)
        assert read.next_update_utc - (real() + LATER) > timedelta(hours=23)
        # What nobody renews goes when it is stale.
        monkeypatch.setattr(
            api.operator.authority._responses, "_now", lambda: real() + timedelta(hours=25)
        )
        await renew(api)
        assert {row.hash_algorithm for row in await rows(api)} == {"sha1"}

    service(scenario)


def test_without_the_job_a_response_is_never_given_when_it_is_nearly_stale(
    service, monkeypatch
) -> None:
    async def scenario(api) -> None:
        _, leaf, issuer = await seal_of(api)
        responses = api.operator.authority._responses
        first = await api.operator.authority.ocsp(request(leaf, issuer))
        real = main.now
        for hours, same in ((17, True), (19, False)):
            monkeypatch.setattr(responses, "_now", lambda h=hours: real() + timedelta(hours=h))
            again = await api.operator.authority.ocsp(request(leaf, issuer))
            assert (again == first) is same

    service(scenario)


@pytest.mark.parametrize("how", ["bit", "junk", "another"])
def test_a_kept_response_that_was_changed_does_not_leave(service, how: str) -> None:
    async def scenario(api) -> None:
        serial, leaf, issuer = await seal_of(api)
        good = await api.operator.authority.ocsp(request(leaf, issuer))
        at = good.index(ocsp.load_der_ocsp_response(good).signature)
        bad = good[: at + 20] + bytes([good[at + 20] ^ 1]) + good[at + 21 :]
        if how == "junk":
            bad = b"\x30\x03\x0a\x01\x00"
        if how == "another":
            root = x509.load_der_x509_certificate(await api.operator.authority.trust_anchor())
            bad = await api.operator.authority.ocsp(request(issuer, root))
        async with api.operator.database.write() as connection:
            await connection.execute(
                text("UPDATE ocsp_response SET der = :bad WHERE serial = :serial"),
                {"bad": bad, "serial": format(serial, "033x")},
            )
        answer = await api.operator.authority.ocsp(request(leaf, issuer))
        assert answer != bad
        assert ocsp.load_der_ocsp_response(answer).certificate_status is GOOD
        assert ocsp.load_der_ocsp_response(answer).serial_number == serial
        assert await api.operator.authority.ocsp(request(leaf, issuer)) == answer

    service(scenario)


def test_a_revocation_takes_the_responses_along(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        serial, leaf, issuer = await seal_of(api)
        authority = api.operator.authority
        for algorithm in (hashes.SHA1(), hashes.SHA256()):
            await authority.ocsp(request(leaf, issuer, algorithm))
        assert len(await rows(api)) == 2
        # In the transaction itself, not in what may follow it.
        assert await PkiStore(api.operator.database).revoke(
            Revoked(serial, datetime.now(UTC).replace(microsecond=0), "keyCompromise")
        )
        assert await rows(api) == []
        for algorithm in (hashes.SHA1(), hashes.SHA256()):
            read = ocsp.load_der_ocsp_response(
                await authority.ocsp(request(leaf, issuer, algorithm))
            )
            assert read.certificate_status is REVOKED
        assert [row.state for row in await rows(api, "state")] == ["revoked"] * 2
        await renew(api)
        kept = [row.state for row in await rows(api, "state, hash_algorithm")]
        assert kept.count("revoked") == 2

    service(scenario)


def test_a_list_that_lacks_a_revocation_is_made_anew(service) -> None:
    """The process that revoked died before it published."""

    async def scenario(api) -> None:
        serial, *_ = await seal_of(api)
        authority = api.operator.authority
        at = datetime.now(UTC).replace(microsecond=0)
        assert await PkiStore(api.operator.database).revoke(Revoked(serial, at, "keyCompromise"))
        stale = x509.load_der_x509_crl(await authority.crl(ISSUING))
        assert stale.get_revoked_certificate_by_serial_number(serial) is None
        for label in (ROOT, ISSUING):
            await authority.renew_crl(label)
        fresh = await authority.crl(ISSUING)
        assert x509.load_der_x509_crl(fresh).get_revoked_certificate_by_serial_number(serial)
        for label in (ROOT, ISSUING):
            await authority.renew_crl(label)
        assert await authority.crl(ISSUING) == fresh

    service(scenario)


def test_lists_are_renewed_at_half_of_their_life(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        authority = api.operator.authority
        first = await PkiStore(api.operator.database).newest_list(ISSUING)
        real = main.now
        for days, another in ((3, False), (4, True)):
            then = real() + timedelta(days=days)
            monkeypatch.setattr(authority._lists, "_now", lambda at=then: at)
            await authority.renew_crl(ISSUING)
            newest = await PkiStore(api.operator.database).newest_list(ISSUING)
            assert (newest[0] > first[0]) is another
        assert newest[2] - first[2] > timedelta(days=3, hours=23)

    service(scenario)


def test_a_response_signed_before_a_revocation_is_neither_kept_nor_given(
    replicas, monkeypatch
) -> None:
    async def scenario(apis) -> None:
        serial, leaf, issuer = await seal_of(apis[0])
        signed, go_on = asyncio.Event(), asyncio.Event()
        real = ResponseStore.keep

        async def late(self, produced):
            signed.set()
            await go_on.wait()
            return await real(self, produced)

        monkeypatch.setattr(ResponseStore, "keep", late)
        asking = asyncio.create_task(apis[0].operator.authority.ocsp(request(leaf, issuer)))
        renewing = asyncio.create_task(renew(apis[1]))
        await signed.wait()
        book = await apis[2].operator.seals()
        await book.revoke(apis[2].account, apis[2].seal, "keyCompromise")
        go_on.set()
        answer = ocsp.load_der_ocsp_response(await asking)
        await renewing
        assert answer.certificate_status is REVOKED
        kept = [row.state for row in await rows(apis[0]) if row.serial == format(serial, "033x")]
        assert set(kept) <= {"revoked"}

    replicas(3, scenario)


async def lists_of(api) -> list[int]:
    statement = text("SELECT number FROM revocation_list WHERE issuer = 'issuing' ORDER BY number")
    async with api.operator.database.read() as connection:
        return list(await connection.scalars(statement))


async def planned(api) -> int:
    statement = text("SELECT count(*) FROM audit_record WHERE event LIKE '%list.planned%'")
    async with api.operator.database.read() as connection:
        return int(await connection.scalar(statement))


def later(api, monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    at = main.now() + timedelta(days=days)
    monkeypatch.setattr(api.operator.authority._lists, "_now", lambda: at)


def test_whoever_wants_a_list_at_its_end_has_one_made_for_all(
    replicas, monkeypatch, signatures: list[str]
) -> None:
    async def scenario(apis) -> None:
        first, before = await lists_of(apis[0]), await planned(apis[0])
        signatures.clear()
        for api in apis:
            later(api, monkeypatch, 4)  # the job's turn, nobody else's
            await asyncio.gather(*(api.operator.authority.crl(ISSUING) for _ in range(10)))
        assert (await lists_of(apis[0]), signatures) == (first, [])
        for api in apis:
            later(api, monkeypatch, 5.5)
        made = await asyncio.gather(
            *(api.operator.authority.crl(ISSUING) for _ in range(25) for api in apis)
        )
        assert len(await lists_of(apis[0])) == len(first) + 1
        assert await planned(apis[0]) - before == len(signatures) <= len(apis)
        newest = await apis[0].operator.authority.crl(ISSUING)
        assert newest in made
        assert len(set(made)) <= 2  # the one before is given while this one is made

    replicas(2, scenario)


def test_the_kept_list_is_given_while_no_other_can_be_made(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        kept = await api.operator.authority.crl(ISSUING)
        tried = []

        def away(_self, key, _message, _algorithm):
            tried.append(key)
            raise KeystoreUnavailable("the signers are away")

        monkeypatch.setattr(SoftwareKeyStore, "sign", away)
        later(api, monkeypatch, 6)
        for _ in range(3):
            answer = await api.http.get("/crl/issuing.crl")
            assert (answer.status_code, answer.content) == (200, kept)
        assert len(tried) == 1  # it rests after a failure
        later(api, monkeypatch, 7)
        with pytest.raises(KeystoreUnavailable):
            await api.operator.authority.crl(ISSUING)

    service(scenario)


def test_the_last_list_of_an_authority_is_not_made_again_and_again(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        authority = api.operator.authority
        end = (await authority.authorities.get(ISSUING)).certificate.not_valid_after_utc
        later(api, monkeypatch, (end - main.now()) / timedelta(days=1) - 1)
        last = await authority.crl(ISSUING)
        assert x509.load_der_x509_crl(last).next_update_utc == end
        await authority.renew_crl(ISSUING)
        assert await authority.crl(ISSUING) == last

    service(scenario)
