"""A seal gets another certificate and stays the same seal: renew, re-key, revoke; under load too."""

from __future__ import annotations

import asyncio
import base64
import itertools
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from sqlalchemy import text

from hashseal_core import cms
from hashseal_core.errors import InvalidValue, SealNotFound, SealRevoked
from hashseal_server.signing.store import SigningStore

REPLICAS, SIGNERS, BOUGHT = 3, 6, 5_000
LEVELS = ("B-B", "B-T", "B-LT", "B-LTA")


def spki(certificate: bytes) -> bytes:
    read = x509.load_der_x509_certificate(certificate)
    return read.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signers_of(answer) -> list[bytes]:
    """The signing certificate that each signature of an answer names."""
    assert answer.status_code == 200, answer.text
    found = [base64.b64decode(one["signature"]) for one in answer.json()["signatures"]]
    return [cms.parse(one).signing_certificate for one in found]


async def current(api):
    return await (await api.operator.seals()).find(api.account, api.seal)


async def status_of(api, seal) -> ocsp.OCSPCertStatus:
    leaf, issuer = (x509.load_der_x509_certificate(one) for one in seal.chain[:2])
    built = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1()).build()
    answer = await api.operator.authority.ocsp(built.public_bytes(Encoding.DER))
    return ocsp.load_der_ocsp_response(answer).certificate_status


@pytest.mark.parametrize("same_key", [True, False], ids=["renew", "rekey"])
def test_the_id_stays_and_old_answers_are_made_again(service, same_key: bool) -> None:
    async def scenario(api) -> None:
        book = await api.operator.seals()
        before = await current(api)
        size = book.signature_size(before)
        old = [await api.sign("a", "b", key=f"old-{level}", level=level) for level in LEVELS]
        await book.renew(api.account, api.seal, same_key=same_key)
        middle = await api.sign("c", key="middle", level="B-LT")
        after = await book.renew(api.account, api.seal, same_key=same_key)

        assert (after.id, after.subject, after.kind) == (before.id, before.subject, before.kind)
        assert after.serial != before.serial
        assert (spki(after.chain[0]) == spki(before.chain[0])) is same_key
        assert (after.key == before.key) is same_key
        subjects = [x509.load_der_x509_certificate(s.chain[0]).subject for s in (before, after)]
        assert subjects[0] == subjects[1]

        new = await api.sign("d", key="new", level="B-LT")
        assert signers_of(new) == [after.chain[0]]
        for answer in old:
            assert signers_of(answer) == [before.chain[0]] * 2
        shown = (await api.get(f"/v1/seals/{api.seal}")).json()
        assert base64.b64decode(shown["certificates"][0]) == after.chain[0]
        # What was prepared for the old one has room for what the new one signs.
        sent = [base64.b64decode(one["signature"]) for one in new.json()["signatures"]]
        assert max(map(len, sent)) <= size

        async def again() -> None:
            for level, answer in zip(LEVELS, old, strict=True):
                repeated = await api.sign("a", "b", key=f"old-{level}", level=level)
                assert repeated.content == answer.content
            assert (await api.sign("c", key="middle", level="B-LT")).content == middle.content
            assert (await api.sign("d", key="new", level="B-LT")).content == new.content

        await again()
        if api.operator.settings.database_url is None:
            # As rows of before schema 0010, which do not say with which certificate.
            async with api.operator.database.write() as connection:
                await connection.execute(text("UPDATE signature SET certificate = NULL"))
            await again()

    service(scenario)


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_openssl_verifies_what_was_signed_before_and_after(service, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        book = await api.operator.seals()
        answers = [await api.sign("words")]
        for same_key in (True, False):
            await book.renew(api.account, api.seal, same_key=same_key)
            answers.append(await api.sign("words"))
        root = x509.load_der_x509_certificate(await api.operator.authority.trust_anchor())
        (tmp_path / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
        (tmp_path / "content").write_bytes(b"words")
        for answer in answers:
            (encoded,) = (one["signature"] for one in answer.json()["signatures"])
            (tmp_path / "signature").write_bytes(base64.b64decode(encoded))
            words = [
                *("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "signature"),
                *("-content", "content", "-CAfile", "root.pem", "-purpose", "any"),
            ]
            judged = await asyncio.to_thread(
                subprocess.run, words, cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert "Verification successful" in judged.stderr

    service(scenario)


@pytest.mark.parametrize("same_key", [True, False], ids=["renew", "rekey"])
@pytest.mark.parametrize("other_settings", [{"requests_per_minute": 0}])
def test_all_replicas_sign_with_one_of_the_two_and_no_call_fails(replicas, same_key: bool) -> None:
    """The old certificate is revoked in the middle of it, and no call notices."""

    async def scenario(apis) -> None:
        await apis[0].operator.accounts.record_order(apis[0].account, BOUGHT)
        before, over = await current(apis[0]), asyncio.Event()
        used: Counter[bytes] = Counter()
        made: list = [before]
        last: list[bytes] = []
        enough = [asyncio.Event() for _ in range(3)]

        async def signer(number: int) -> None:
            for turn in itertools.count():
                begun_after = over.is_set()
                api = apis[(number + turn) % REPLICAS]
                answer = await api.sign(f"{number}-{turn}", key=f"s-{number}-{turn}", level="B-LT")
                (certificate,) = signers_of(answer)
                used[certificate] += 1
                if (reached := sum(used.values()) // 8) and reached <= len(enough):
                    enough[reached - 1].set()
                if begun_after:
                    last.append(certificate)
                    return

        async def renewer() -> None:
            for turn in range(3):
                await enough[turn].wait()
                book = await apis[turn % REPLICAS].operator.seals()
                made.append(
                    await book.renew(
                        apis[0].account, apis[0].seal, same_key=same_key, revoke_before=True
                    )
                )
            over.set()

        await asyncio.gather(renewer(), *(signer(number) for number in range(SIGNERS)))
        assert set(used) <= {one.chain[0] for one in made}
        assert len(used) >= 2
        assert set(last) == {made[-1].chain[0]}  # from every replica
        for one in made[:-1]:
            assert await status_of(apis[0], one) is ocsp.OCSPCertStatus.REVOKED
        assert await status_of(apis[0], made[-1]) is ocsp.OCSPCertStatus.GOOD
        total = sum(used.values())
        assert await apis[0].left() == (max(0, 100 - total), BOUGHT - max(0, total - 100))

    replicas(REPLICAS, scenario)


def test_a_call_that_signed_before_the_old_one_was_revoked_signs_again(
    replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(apis) -> None:
        made, go_on = asyncio.Event(), asyncio.Event()
        real, commits = SigningStore.commit, []

        async def late(self, request, call):
            commits.append(call.serials[0])
            made.set()
            await go_on.wait()
            return await real(self, request, call)

        before = await current(apis[0])
        monkeypatch.setattr(SigningStore, "commit", late)
        call = asyncio.create_task(apis[0].sign("one", level="B-LT"))
        await made.wait()
        book = await apis[1].operator.seals()
        after = await book.renew(apis[1].account, apis[1].seal, same_key=False, revoke_before=True)
        go_on.set()
        assert signers_of(await call) == [after.chain[0]]
        assert commits == [before.serial, after.serial]
        assert await apis[0].left() == (99, 0)

    replicas(2, scenario)


def test_two_renewals_at_once_give_one_certificate(replicas) -> None:
    async def scenario(apis) -> None:
        books = [await api.operator.seals() for api in apis]
        outcomes = await asyncio.gather(
            *(book.renew(apis[0].account, apis[0].seal, same_key=False) for book in books),
            return_exceptions=True,
        )
        won = [one for one in outcomes if not isinstance(one, BaseException)]
        lost = [one for one in outcomes if isinstance(one, BaseException)]
        assert len(won) >= 1
        assert all(isinstance(one, InvalidValue) for one in lost), lost
        kept = await current(apis[0])
        assert kept.serial in {one.serial for one in won}
        history = await books[0].history(apis[0].account, apis[0].seal)
        assert [one.serial for one in history][-1] == kept.serial
        assert len(history) == len(won) + 1
        assert await status_of(apis[0], kept) is ocsp.OCSPCertStatus.GOOD
        async with apis[0].operator.database.read() as connection:
            rows = await connection.execute(
                text("SELECT state, count(*) AS n FROM certificate WHERE role = 'seal' GROUP BY 1")
            )
            states = {row.state: row.n for row in rows}
        assert states.get("revoked", 0) == len(lost)  # what nobody got

    replicas(2, scenario)


def test_revoking_a_seal_revokes_its_earlier_certificates(service) -> None:
    async def scenario(api) -> None:
        book = await api.operator.seals()
        other_key = await current(api)
        first = await book.renew(api.account, api.seal, same_key=False)
        second = await book.renew(api.account, api.seal, same_key=True)
        lost_at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
        await book.revoke(api.account, api.seal, "keyCompromise", invalid_since=lost_at)
        assert await status_of(api, second) is ocsp.OCSPCertStatus.REVOKED
        assert await status_of(api, first) is ocsp.OCSPCertStatus.REVOKED  # the same key
        assert await status_of(api, other_key) is ocsp.OCSPCertStatus.GOOD
        crl = x509.load_der_x509_crl(await api.operator.authority.crl("issuing"))
        for one in (first, second):
            entry = crl.get_revoked_certificate_by_serial_number(one.serial)
            since = entry.extensions.get_extension_for_class(x509.InvalidityDate).value
            assert since.invalidity_date_utc == lost_at
        for same_key in (True, False):
            with pytest.raises(SealRevoked, match="for good"):
                await book.renew(api.account, api.seal, same_key=same_key)
        assert (await api.sign("x")).json()["code"] == "seal-revoked"
        with pytest.raises(SealNotFound):
            await book.renew("somebody else", api.seal, same_key=True)

    service(scenario)


def test_what_ends_soon_is_told(service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api) -> None:
        assert await api.operator.check() == []
        soon = datetime.now(UTC) + timedelta(days=20)
        async with api.operator.database.write() as connection:
            await connection.execute(
                text("UPDATE seal SET not_after = :soon"), {"soon": soon}
            ) if api.operator.settings.database_url is None else await connection.execute(
                text("UPDATE seal SET not_after = now() + interval '20 days'")
            )
        (finding,) = await api.operator.check()
        assert "1 seals end within 30 days" in finding
        assert (
            'hashseal_expiry_timestamp_seconds{what="seal-first"}'
            in (await api.http.get("/metrics")).text
        )
        await (await api.operator.seals()).renew(api.account, api.seal, same_key=True)
        assert await api.operator.check() == []
        assert "seal-first" not in (await api.http.get("/metrics")).text

    service(scenario)
