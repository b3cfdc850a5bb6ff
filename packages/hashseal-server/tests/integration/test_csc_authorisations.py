"""Signature activation data: each authorised hash is signed once, by whom and with what it is for.

Whatever does not fit is refused with the error of the CSC API, signs nothing and costs nothing.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from books import check_books
from csc_calls import SHA256, Csc, hash_of, refused
from sqlalchemy import delete, func, select, update

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import DerInvalid, KeystoreUnavailable
from hashseal_server.accounts import tokens
from hashseal_server.csc import store
from hashseal_server.csc.model import SAD_LIFETIME
from hashseal_server.csc.store import authorisations, hashes
from hashseal_server.infra.admission import Admission
from hashseal_server.keystore.software import SoftwareKeyStore
from hashseal_server.main import now
from hashseal_server.pki.model import LegalPerson
from hashseal_server.remote_signing import job, raw_credentials
from hashseal_server.signing.store import SigningStore
from hashseal_server.signing.tables import signatures

SUBJECT = LegalPerson("Another Seal", "Test Organisation", "NTRCH-1", "CH")
RAW = pytest.mark.parametrize("other_settings", [{"raw_signing": True}])


async def signed(api: Any) -> int:
    async with api.operator.database.read() as connection:
        return int(await connection.scalar(select(func.count()).select_from(signatures)) or 0)


async def states(api: Any) -> list[str]:
    async with api.operator.database.read() as connection:
        return list(await connection.scalars(select(hashes.c.state).order_by(hashes.c.position)))


async def credentials(api: Any) -> tuple[str, str]:
    """A second seal, and a raw credential, of the same account."""
    book = await api.operator.seals()
    seal = await book.create(api.account, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256)
    raws = raw_credentials(api.operator, now)
    raw = await raws.create(api.account, SUBJECT, algorithm=KeyAlgorithm.P256)
    return seal.id, raw.id


@RAW
def test_what_does_not_fit_signs_and_costs_nothing(service) -> None:
    async def scenario(api) -> None:
        csc, (seal, raw) = Csc(api), await credentials(api)
        other = Csc(api, (await api.operator.accounts.create_token(api.account)).text)
        stranger = await api.operator.accounts.create("Other Organisation")
        foreign = Csc(api, (await api.operator.accounts.create_token(stranger.id)).text)
        before = await api.left(), await signed(api)
        bare = {"credentialID": api.seal, "numSignatures": 1}

        # unbound: without hashes there is no SAD, without a SAD no signature
        refused(await csc.post("credentials/authorize", bare), "array parameter hashes")
        refused(await csc.sign_doc(None, "one"), "string parameter SAD")
        refused(await csc.sign_doc("x" * 43, "one"), "Invalid parameter SAD")
        refused(await csc.sign_hash(None, "one", credential=raw), "string parameter SAD")

        # swapped hash, count, digest algorithm
        sad = await csc.authorised(api.seal, "one", "two")
        refused(await csc.sign_doc(sad, "three"), "Hash is not authorized by the SAD")
        refused(await csc.sign_doc(sad, "one", "three"), "Hash is not authorized by the SAD")
        refused(await csc.sign_doc(sad, "one", "two", "one"), "Hash is not authorized by the SAD")
        refused(
            await csc.sign_doc(sad, "one", hashAlgorithmOID="2.16.840.1.101.3.4.2.3"),
            "contradicts",
        )
        # swapped credential, client, user
        refused(await csc.sign_doc(sad, "one", credential=seal), "Invalid parameter SAD")
        refused(await other.sign_doc(sad, "one"), "Invalid parameter SAD")
        refused(await foreign.sign_doc(sad, "one"), "Invalid parameter credentialID")
        extended = {"credentialID": api.seal, "SAD": sad, "hashes": [hash_of("three")]}
        refused(await other.post("credentials/extendTransaction", extended), "parameter SAD")
        # swapped type: a document's hash is not signed as it is, nor the other way round
        raw_sad = await csc.authorised(raw, "one")
        refused(await csc.sign_hash(sad, "one", credential=api.seal), "credentialID")
        refused(await csc.sign_hash(sad, "one", credential=raw), "Invalid parameter SAD")
        refused(await csc.sign_doc(raw_sad, "one", credential=raw), "credentialID")
        refused(await csc.sign_doc(raw_sad, "one"), "Invalid parameter SAD")
        wrong = {**bare, "hashes": [hash_of("one")], "hashType": "dtbsr"}
        refused(await csc.post("credentials/authorize", wrong), "hashType")
        # more than was asked for, or less
        refused(await csc.post("credentials/extendTransaction", extended), "too high")
        many = {**bare, "numSignatures": 1001, "hashes": [hash_of("one")]}
        refused(await csc.post("credentials/authorize", many), "too high")
        few = {**bare, "hashes": [hash_of("one"), hash_of("two")]}
        refused(await csc.post("credentials/authorize", few), "numSignatures")

        # expired
        async with api.operator.database.write() as connection:
            past = datetime.now(UTC) - timedelta(seconds=1)
            await connection.execute(update(authorisations).values(expires_at=past))
        refused(await csc.sign_doc(sad, "one"), "SAD expired")
        refused(await csc.sign_hash(raw_sad, "one", credential=raw), "SAD expired")
        refused(await csc.post("credentials/extendTransaction", extended), "SAD expired")

        assert set(await states(api)) == {"authorised"}
        assert (await api.left(), await signed(api)) == before

    service(scenario)


@RAW
def test_each_hash_is_signed_once(service) -> None:
    async def scenario(api) -> None:
        csc, (_, raw) = Csc(api), await credentials(api)
        # One row for each occurrence, in one call or in several.
        sad = await csc.authorised(api.seal, "one", "one", "two")
        assert (await csc.sign_doc(sad, "one")).status_code == 200
        assert (await csc.sign_doc(sad, "two", "one")).status_code == 200
        for again in ("one", "two"):
            refused(await csc.sign_doc(sad, again), "used up")
        # A transaction of three, of which two are known later.
        sad = await csc.authorised(raw, "three", numSignatures=3)
        assert (await csc.sign_hash(sad, "three", credential=raw)).status_code == 200
        refused(await csc.sign_hash(sad, "three", credential=raw), "not authorized")
        body = {"credentialID": raw, "SAD": sad, "hashes": [hash_of("four"), hash_of("five")]}
        answer = await csc.post("credentials/extendTransaction", body)
        after = answer.json()["SAD"]
        refused(await csc.sign_hash(sad, "four", credential=raw), "Invalid parameter SAD")
        refused(await csc.post("credentials/extendTransaction", body), "Invalid parameter SAD")
        assert (await csc.sign_hash(after, "five", "four", credential=raw)).status_code == 200
        refused(await csc.sign_hash(after, "four", credential=raw), "used up")
        assert await states(api) == ["consumed"] * 6
        assert await api.left() == (94, 0)
        # Of twenty at once with one SAD one signs, and one is paid for.
        sad = await csc.authorised(api.seal, "race")
        answers = await asyncio.gather(*(csc.sign_doc(sad, "race") for _ in range(20)))
        assert sorted(one.status_code for one in answers) == [200] + [400] * 19
        assert await api.left() == (93, 0)
        assert await check_books(api.operator.database) == 5

    service(scenario)


@RAW
def test_another_account_s_raw_credential_and_sad_are_not_there(service) -> None:
    """The matrix of tenants has no raw credentials, since they are off by default."""

    async def scenario(api) -> None:
        csc, (_, raw) = Csc(api), await credentials(api)
        stranger = await api.operator.accounts.create("Other Organisation")
        foreign = Csc(api, (await api.operator.accounts.create_token(stranger.id)).text)
        own = await raw_credentials(api.operator, now).create(
            stranger.id, SUBJECT, algorithm=KeyAlgorithm.P256
        )
        sad, before = await csc.authorised(raw, "one"), await api.left()
        absent = raw[:-1] + ("0" if raw[-1] != "0" else "1")

        async def told(credential: str) -> list[tuple[int, str]]:
            asked = {"credentialID": credential, "numSignatures": 1, "hashes": [hash_of("one")]}
            answers = [
                await foreign.post("credentials/info", asked),
                await foreign.post("credentials/authorize", asked),
                await foreign.post("credentials/extendTransaction", {**asked, "SAD": sad}),
                await foreign.sign_hash(sad, "one", credential=credential),
                await foreign.sign_doc(sad, "one", credential=credential),
            ]
            assert all(one.status_code == 400 for one in answers)
            return [(one.status_code, one.text) for one in answers]

        assert await told(raw) == await told(absent)
        listed = (await foreign.post("credentials/list", {})).json()["credentialIDs"]
        assert listed == [own.id]
        # With a credential of one's own another's SAD is as good as one that is nobody's.
        refused(await foreign.sign_hash(sad, "one", credential=own.id), "Invalid parameter SAD")
        assert (await csc.sign_hash(sad, "one", credential=raw)).status_code == 200
        assert await api.left() == (before[0] - 1, before[1])

    service(scenario)


def test_an_unclear_outcome_uses_the_hash_up_and_a_clear_one_gives_it_back(
    service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(api) -> None:
        csc = Csc(api)
        sad = await csc.authorised(api.seal, "clear", "unclear", "keyed", numSignatures=4)
        # Clear: the account has nothing left. Nothing was signed; it may try again.
        left = await api.left()
        await spend_all(api, 0)
        refused(await csc.sign_doc(sad, "clear"), "left", 403, "access_denied")
        assert await states(api) == ["authorised"] * 3
        await spend_all(api, left[0])
        assert (await csc.sign_doc(sad, "clear")).status_code == 200

        # Unclear: who knows whether the key signed.
        def lost(*_: object) -> bytes:
            raise KeystoreUnavailable("the session is lost")

        with monkeypatch.context() as broken:
            broken.setattr(SoftwareKeyStore, "sign", lost)
            refused(await csc.sign_doc(sad, "unclear"), "session", 503, "server_error")
            refused(await csc.sign_doc(sad, "keyed", key="k1"), "session", 503, "server_error")
        refused(await csc.sign_doc(sad, "unclear"), "not authorized")
        # Under an idempotency key the same request may try again, and is answered the same.
        refused(await csc.sign_doc(sad, "keyed"), "not authorized")
        first = await csc.sign_doc(sad, "keyed", key="k1")
        assert first.status_code == 200
        assert (await csc.sign_doc(sad, "keyed", key="k1")).content == first.content
        refused(await csc.sign_doc(sad, "clear", key="k1"), "another request")
        assert await states(api) == ["consumed", "reserved", "consumed"]
        assert await api.left() == (left[0] - 2, 0)

        # A SAD is nowhere in clear, and authorisations are forgotten some time after their end.
        async with api.operator.database.read() as connection:
            kept = await connection.scalars(select(authorisations.c.sad))
        assert all(sad.encode() not in bytes(one) for one in kept)
        forget = job(api.operator.database).piece
        assert await forget(datetime.now(UTC), None) is None
        assert len(await states(api)) == 3
        later = datetime.now(UTC) + SAD_LIFETIME + store.FINISHED + timedelta(minutes=1)
        await forget(later, None)
        assert await states(api) == []

    service(scenario)


def test_a_call_whose_reservation_is_lost_is_not_recorded(service) -> None:
    """Its hashes were given back, reserved by another or deleted while it signed."""

    async def scenario(api) -> None:
        csc, commit = Csc(api), SigningStore.commit
        sad = await csc.authorised(api.seal, *"abcd")
        mine = hashes.c.state == "reserved"
        lost = [
            update(hashes).where(mine).values(state="authorised", reservation=None),
            update(hashes).where(mine).values(reservation=b"another's"),
            delete(hashes).where(mine),
        ]
        for statement, name in zip(lost, "abc", strict=True):

            async def later(self: Any, *asked: Any, how: Any = statement) -> Any:
                async with api.operator.database.write() as connection:
                    await connection.execute(how)
                return await commit(self, *asked)

            with pytest.MonkeyPatch.context() as slow:
                slow.setattr(SigningStore, "commit", later)
                answer = await csc.sign_doc(sad, name)
            refused(answer, "cannot be recorded", 503, "server_error")
        assert (await api.left(), await signed(api)) == ((100, 0), 0)
        assert (await csc.sign_doc(sad, "d")).status_code == 200

    service(scenario)


def test_authorising_is_bounded_and_leaves_nothing(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        csc, free = Csc(api), (await api.left())[0]
        # What cannot be paid for is not authorised.
        await spend_all(api, 1)
        asked = {"credentialID": api.seal, "hashes": [hash_of("a"), hash_of("b")]}
        refused(await csc.post("credentials/authorize", asked), "1 left", 403, "access_denied")
        sad = await csc.authorised(api.seal, "a", numSignatures=3)
        more = {"credentialID": api.seal, "SAD": sad, "hashes": asked["hashes"]}
        refused(
            await csc.post("credentials/extendTransaction", more), "1 left", 403, "access_denied"
        )
        await spend_all(api, free)
        assert await states(api) == ["authorised"]

        # Of many at once only as many are authorised as may be outstanding.
        monkeypatch.setattr(store, "OUTSTANDING", 7)
        answers = await asyncio.gather(
            *(csc.post("credentials/authorize", asked) for _ in range(12))
        )
        assert sorted(one.status_code for one in answers) == [200] * 3 + [429] * 9
        full = max(answers, key=lambda one: one.status_code)
        refused(full, "authorised already", 429, "server_error")
        assert full.headers["retry-after"] == "300"
        refused(
            await csc.post("credentials/extendTransaction", more),
            "authorised already",
            429,
            "server_error",
        )
        # What is signed makes room.
        mine = next(one for one in answers if one.status_code == 200).json()["SAD"]
        answer = await csc.sign_doc(mine, "a", conformance_level="Ades-B-LTA")
        assert answer.status_code == 200
        await csc.authorised(api.seal, "c")

        # After the end all goes but what waits for its timestamp.
        forget, over = job(api.operator.database).piece, datetime.now(UTC) + SAD_LIFETIME
        assert await forget(over + timedelta(minutes=1), None) is None
        assert len(await states(api)) == 8
        await forget(over + store.FINISHED + timedelta(minutes=1), None)
        assert await states(api) == ["consumed"]
        stamp = {"hash": hash_of("file"), "hashAlgo": SHA256}
        await forget(over + store.KEPT - timedelta(minutes=1), None)
        assert (await csc.post("signatures/timestamp", stamp)).status_code == 200
        await forget(over + store.FINISHED + timedelta(minutes=1), None)
        assert await states(api) == []
        async with api.operator.database.read() as connection:
            assert list(await connection.scalars(select(authorisations.c.id))) == []

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_cannot_be_admitted_is_told_before_anything_is_looked_up(service, monkeypatch) -> None:
    admission = Admission(running=1, running_each=1, waiting=1, waiting_each=1)
    monkeypatch.setattr("hashseal_server.main.Admission", lambda: admission)

    async def scenario(api) -> None:
        csc = Csc(api)
        stranger = Csc(api, tokens.make(tokens.Keyring([b"k" * 32])).text)
        asked = {"credentialID": api.seal, "hashes": [hash_of("a")]}
        methods = ("credentials/authorize", "credentials/extendTransaction", "signatures/signDoc")
        for method in methods:
            refused(await stranger.post(method, asked), "not valid", 401, "invalid_token")
        async with admission.admitted("another"):
            waiting = asyncio.create_task(admission.enter("another"))
            await asyncio.sleep(0)
            assert admission.waiting == 1
            for method in methods:
                for each in (stranger, csc):
                    refused(await each.post(method, asked), "wait already", 503, "server_error")
            assert (await csc.post("credentials/list", {})).status_code == 200
        await waiting
        # One place, and it is taken: whoever authorises waits like everybody.
        task = asyncio.create_task(csc.post("credentials/authorize", asked))
        while not admission.waiting:  # noqa: ASYNC110 - nobody says so
            await asyncio.sleep(0.01)
        assert await states(api) == []
        admission.leave("another")
        assert (await task).status_code == 200

    service(scenario)


def test_what_cannot_be_answered_is_not_charged(service, monkeypatch) -> None:
    """CAdES with its validation material is made before the call is recorded."""

    def broken(*_: object) -> bytes:
        raise DerInvalid("not a SignedData")

    async def scenario(api) -> None:
        csc = Csc(api)
        sad, before = await csc.authorised(api.seal, "one"), await api.left()
        with monkeypatch.context() as failing:
            failing.setattr("hashseal_core.cms.with_material", broken)
            wanted = {"signature_format": "C", "conformance_level": "Ades-B-LT"}
            answer = await csc.sign_doc(sad, "one", **wanted)
        assert answer.status_code >= 400
        assert (await api.left(), await signed(api)) == (before, 0)

    service(scenario)


async def spend_all(api: Any, free: int) -> None:
    from hashseal_server.accounts.store import balances

    async with api.operator.database.write() as connection:
        await connection.execute(
            update(balances).where(balances.c.account_id == api.account).values(free=free)
        )


def test_duplicates_under_one_key_are_one_call(service) -> None:
    async def scenario(api) -> None:
        csc = Csc(api)
        sad = await csc.authorised(api.seal, "same")
        answers = await asyncio.gather(
            *(csc.sign_doc(sad, "same", key="one", conformance_level="B-T") for _ in range(16))
        )
        assert {one.status_code for one in answers} == {200}
        assert len({one.content for one in answers}) == 1
        assert await api.left() == (99, 0)

    service(scenario)
