"""Status data of imported seals: what a process knows of it, and what is refused without it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from csc_calls import ECDSA, Csc, hash_of, refused
from importing import age, code_of, requested, seal_of
from public_authority import PublicAuthority

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import InvalidValue, StorageUnavailable
from hashseal_server import main
from hashseal_server.accounts.model import AccountId
from hashseal_server.pki.foreign_store import ForeignStore, digest_of
from hashseal_server.pki.model import LegalPerson
from hashseal_server.seals.model import SealId
from hashseal_server.seals.request_store import RequestStore
from hashseal_server.seals.service import Seals
from hashseal_server.seals.store import chains_of
from hashseal_server.signing.evidence import Evidence
from hashseal_server.signing.sources import Sources

SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
pytestmark = [
    pytest.mark.tools,
    pytest.mark.parametrize("other_settings", [{"outbound_networks": ("127.0.0.1/32",)}]),
]


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[PublicAuthority]:
    made = PublicAuthority(tmp_path / "authority")
    yield made
    made.close()


@SQLITE
def test_an_address_that_hung_in_background_work_is_passed_over_by_calls(
    service, authority, tmp_path: Path
) -> None:
    async def scenario(api) -> None:
        seal, _ = await seal_of(api, authority, tmp_path)
        past = datetime.now(UTC) - timedelta(seconds=1)
        await age(api, renew_at=past, next_update=past)
        authority.asked.clear()
        background = api.operator.foreign()
        for member in await ForeignStore(api.operator.database, chains_of).members([seal.imported]):
            for url in member.confirmed.ocsp:
                background._resting[url] = main.now() + timedelta(seconds=60)
        assert code_of(await api.sign("x", seal_id=seal.id, level="B-LT")) == "200"
        assert authority.asked["/ocsp/issuing"] == 0
        assert authority.asked["/crl/issuing"] == 1

    service(scenario)


def test_one_certificate_is_brought_once_by_all_who_bring_it(
    service, authority, tmp_path: Path
) -> None:
    async def scenario(api) -> None:
        made, path = await requested(api, tmp_path)
        files = (await asyncio.to_thread(authority.sign, path), *authority.chain)
        importing = api.operator.importing()
        checked = await importing.examine(made.id, [one.read_bytes() for one in files])
        # Recorded before, so that nobody waits for whoever records it.
        await ForeignStore(api.operator.database, chains_of).adopt(checked.chain, datetime.now(UTC))
        own = (await (await api.operator.seals()).all(api.account))[0]
        seals = [
            replace(
                own,
                id=SealId(f"{number:016x}"),
                chain=checked.chain,
                imported=digest_of(checked.chain[0]),
            )
            for number in range(6)
        ]
        requests = RequestStore(api.operator.database)
        done = await asyncio.gather(
            *(requests.bring(one, checked, None, None, datetime.now(UTC)) for one in seals),
            return_exceptions=True,
        )
        assert [type(one) for one in done if one is not None] == [InvalidValue] * 5, done
        assert len(await (await api.operator.seals()).all(api.account)) == 2

    service(scenario)


@SQLITE
def test_what_is_confirmed_stays_so_though_status_data_cannot_be_kept(
    service, authority, tmp_path: Path, monkeypatch
) -> None:
    async def scenario(api) -> None:
        seal, _ = await seal_of(api, authority, tmp_path, confirmed=False)

        async def away(*_) -> None:
            raise StorageUnavailable("the database is away")

        with monkeypatch.context() as patched:
            patched.setattr(ForeignStore, "keep", away)
            done = await api.operator.importing().confirm(api.account, seal.id)
        assert done.confirmed
        assert done.seal.provable
        assert code_of(await api.sign("x", seal_id=seal.id, level="B-LT")) == "200"

    service(scenario)


@SQLITE
def test_a_seal_that_cannot_be_proven_says_so_at_every_level(
    service, authority, tmp_path: Path
) -> None:
    """To try again later is no help: it is not evidence that is away for now."""

    async def scenario(api) -> None:
        seal, _ = await seal_of(api, authority, tmp_path, confirmed=False)
        csc = Csc(api)
        sad = await csc.authorised(seal.id, "one")
        entry = {"hashes": hash_of("one"), "signature_format": "P", "signAlgo": ECDSA}
        for level in ("Ades-B-B", "Ades-B-T"):
            body = {
                "credentialID": seal.id,
                "SAD": sad,
                "documentDigests": [{**entry, "conformance_level": level}],
            }
            asked = {**body, "returnValidationInformation": "true"}
            refused(await csc.post("signatures/signDoc", asked), "without validation material")
        assert (await csc.post("signatures/signDoc", body)).status_code == 200

    service(scenario)


@SQLITE
def test_the_certificate_that_came_meanwhile_must_be_usable_too(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        real, found = Seals.find, []

        async def renewed_and_over(self, account_id, seal_id):
            seal = await real(self, account_id, seal_id)
            found.append(seal)
            if len(found) == 1:
                return replace(seal, key="lost")
            return replace(seal, serial=seal.serial + 1, not_after=datetime.now(UTC))

        monkeypatch.setattr(Seals, "find", renewed_and_over)
        assert code_of(await api.sign("x")) == "seal-expired"
        assert len(found) == 2
        assert await api.left() == (100, 0)

    service(scenario)


@SQLITE
def test_no_set_that_callers_choose_is_held(service) -> None:
    async def scenario(api) -> None:
        book = await api.operator.seals()
        for _ in range(2):
            await book.create(api.account, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256)
        seals = await book.all(api.account)
        sources = Sources(api.operator.authority, api.operator.foreign(), api.operator.seal_store)
        made = Evidence(sources, lambda: datetime.now(UTC))
        for serials in itertools.permutations(str(one.serial) for one in seals):
            collected = await made.collect(AccountId(api.account), serials)
            assert collected.validation is not None
        assert len(made._assessed) == 0
        held = await made.complete([seals[0].chain[0]])
        assert await made.complete([seals[0].chain[0]]) is held
        assert len(made._assessed) == 1

    service(scenario)
