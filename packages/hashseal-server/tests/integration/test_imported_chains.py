"""What is known of another authority's chain decides what its seals may do, before anything is made.

The authority of these tests issues the seals' certificates and the timestamps, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from importing import age, brought, code_of, renewed, requested, seal_of
from public_authority import PublicAuthority
from sqlalchemy import text

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import CertificateRefused, EvidenceUnavailable, HashsealError
from hashseal_server import main
from hashseal_server.keystore import verified
from hashseal_server.pki.foreign_store import ForeignStore, digest_of
from hashseal_server.pki.imported import RSA_2048_ENDS_AT
from hashseal_server.seals.store import chains_of

pytestmark = pytest.mark.tools
ISSUED_IN_VAIN = "SELECT count(*) FROM seal WHERE imported IS NOT NULL"
TSA = "/tsa/issuing"


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[PublicAuthority]:
    made = PublicAuthority(tmp_path / "authority", lasts=1600)
    yield made
    made.close()


@pytest.fixture
def other_settings(authority: PublicAuthority) -> dict[str, Any]:
    return {
        "outbound_networks": ("127.0.0.1/32",),
        "timestamp_urls": (f"{authority.base}{TSA}",),
        "timestamp_trust_anchors": authority.root_pem,
    }


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that signed, one entry for each time."""
    keys: list[str] = []
    real = verified.sign

    def noted(store, key, *rest):
        keys.append(key)
        return real(store, key, *rest)

    monkeypatch.setattr(verified, "sign", noted)
    return keys


def der_of(pem: Path) -> bytes:
    return x509.load_pem_x509_certificate(pem.read_bytes()).public_bytes(Encoding.DER)


async def events(api, name: str) -> list[str]:
    """The contents of the audit records of this kind."""
    asked = text("SELECT content FROM audit_record WHERE event = :name ORDER BY 1")
    async with api.operator.database.read() as connection:
        return [row.content for row in await connection.execute(asked, {"name": name})]


async def imported_seals(api) -> int:
    async with api.operator.database.read() as connection:
        return int(await connection.scalar(text(ISSUED_IN_VAIN)))


def test_what_a_confirmation_learns_stops_the_seal(service, authority, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        seal, certificate = await seal_of(api, authority, tmp_path, confirmed=False)
        assert (await api.sign("x", seal_id=seal.id)).status_code == 200
        authority.revoke(certificate)
        with pytest.raises(CertificateRefused, match="revoked by its authority"):
            await api.operator.importing().confirm(api.account, seal.id)
        for level in ("B-B", "B-T", "B-LT"):
            refused = await api.sign("y", seal_id=seal.id, level=level)
            assert (refused.status_code, code_of(refused)) == (409, "seal-revoked")
        assert (await api.get(f"/v1/seals/{seal.id}")).json()["status"] == "revoked"
        (event,) = await events(api, "imported-certificate.revoked")
        assert seal.imported in event
        assert '"authority"' in event
        assert "keyCompromise" in event
        assert await events(api, "revocation-addresses.confirmed") == []
        assert await api.left() == (99, 0)

    service(scenario)


def test_what_an_import_learns_stops_all_below(service, authority, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        seals = [
            (await seal_of(api, authority, tmp_path, confirmed=one))[0] for one in (True, False)
        ]
        authority.revoke(authority.issuing_pem, label="root", reason="CACompromise")
        made, path = await requested(api, tmp_path)
        files = (await asyncio.to_thread(authority.sign, path), *authority.chain)
        with pytest.raises(CertificateRefused, match=r"CN=Public CA.* revoked by its authority"):
            await brought(api, made.id, *files)
        for seal in seals:
            assert code_of(await api.sign("x", seal_id=seal.id)) == "seal-revoked"
        # It is not forgotten: nothing below comes in later, whether or not anybody is asked.
        authority.away = True
        for files_of_another in (files, (authority.sign(path), *authority.chain)):
            for confirmed in (False, True):
                with pytest.raises(CertificateRefused, match="as is known here since"):
                    await brought(api, made.id, *files_of_another, confirmed=confirmed)
        assert await imported_seals(api) == 2
        assert (await api.operator.importing().find(made.id)).seal_id is None

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_new_certificate_that_is_revoked_or_waits_to_be_released(
    service, authority, tmp_path: Path
) -> None:
    async def scenario(api) -> None:
        made, path = await requested(api, tmp_path)
        revoked, suspended = authority.sign(path), authority.sign(path)
        authority.revoke(revoked)
        authority.revoke(suspended, reason="certificateHold")
        for certificate, reason in ((revoked, "keyCompromise"), (suspended, "certificateHold")):
            with pytest.raises(CertificateRefused, match=reason):
                await brought(api, made.id, certificate, *authority.chain)
        with pytest.raises(CertificateRefused, match="as is known here since"):
            await brought(api, made.id, revoked, *authority.chain, confirmed=False)
        # One that is released later may be brought again; if it is not, it is stopped.
        done = await brought(api, made.id, suspended, *authority.chain, confirmed=False)
        assert (await api.sign("x", seal_id=done.seal.id)).status_code == 200
        with pytest.raises(CertificateRefused, match="certificateHold"):
            await api.operator.importing().confirm(api.account, done.seal.id)
        assert code_of(await api.sign("x", seal_id=done.seal.id)) == "seal-revoked"

    service(scenario)


def test_no_seal_comes_in_beside_the_revocation_of_its_issuer(
    service, authority, tmp_path: Path
) -> None:
    async def scenario(api) -> None:
        await seal_of(api, authority, tmp_path)
        waiting = []
        for _ in range(6):
            made, path = await requested(api, tmp_path)
            waiting.append((made.id, await asyncio.to_thread(authority.sign, path)))
        store = ForeignStore(api.operator.database, chains_of)
        issuing = digest_of(der_of(authority.issuing_pem))

        async def bring(place: int):
            request_id, certificate = waiting[place]
            files, confirmed = (certificate, *authority.chain), place % 2 == 1
            return await brought(api, request_id, *files, confirmed=confirmed)

        authority.away = True  # nobody is told but by what is recorded
        chain = [authority.folder / "issuing" / "tsa.pem", *authority.chain]
        outcomes = await asyncio.gather(
            *map(bring, range(3)),
            store.revoke(issuing, "CACompromise", datetime.now(UTC), by="authority"),
            store.adopt([der_of(one) for one in chain], datetime.now(UTC)),
            *map(bring, range(3, 6)),
            return_exceptions=True,
        )
        assert outcomes.pop(3) is True
        assert outcomes.pop(3) is None
        refused = [one for one in outcomes if isinstance(one, HashsealError)]
        assert {type(one) for one in refused} <= {CertificateRefused}
        # Whoever came in was stopped with the others.
        seals = await (await api.operator.seals()).all(api.account)
        assert [one.status(datetime.now(UTC)) for one in seals if one.imported] == ["revoked"] * (
            1 + len(outcomes) - len(refused)
        )
        with pytest.raises(CertificateRefused):
            await seal_of(api, authority, tmp_path, confirmed=False)

    service(scenario)


def test_an_anchor_gets_its_issuer_when_a_longer_chain_comes(
    service, authority, tmp_path: Path
) -> None:
    async def scenario(api) -> None:
        issuing, root = der_of(authority.issuing_pem), der_of(authority.root_pem)
        unit = der_of(authority.folder / "issuing" / "tsa.pem")
        store = ForeignStore(api.operator.database, chains_of)
        await store.adopt((unit, issuing), datetime.now(UTC))  # the anchor is no root
        assert await store.members([digest_of(issuing)]) == []
        seal, _ = await seal_of(api, authority, tmp_path)
        answer = await api.sign("x", seal_id=seal.id, level="B-LT")
        assert answer.status_code == 200, answer.text
        (member,) = await store.members([digest_of(issuing)])
        assert member.issuer == root
        # What happens above reaches the seal.
        authority.revoke(authority.issuing_pem, label="root", reason="CACompromise")
        await age(api, renew_at=datetime.now(UTC) - timedelta(seconds=1))
        with pytest.raises(EvidenceUnavailable):
            await renewed(api.operator.foreign())
        assert code_of(await api.sign("y", seal_id=seal.id)) == "seal-revoked"

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_chains_of_units_are_adopted_not_confirmed(service, authority, tmp_path: Path) -> None:
    """The audit log says who allowed an address: the operator's word, or the operator's anchor."""

    async def scenario(api) -> None:
        seal, _ = await seal_of(api, authority, tmp_path)
        for name in "ab":
            assert (await api.sign(name, seal_id=seal.id, level="B-LT")).status_code == 200
        (confirmed,) = await events(api, "revocation-addresses.confirmed")
        (adopted,) = await events(api, "timestamping-chain.adopted")
        unit = digest_of(der_of(authority.folder / "issuing" / "tsa.pem"))
        issuing = digest_of(der_of(authority.issuing_pem))
        assert seal.imported in confirmed
        assert issuing in confirmed
        assert f"{authority.base}/ocsp/issuing" in confirmed
        assert unit in adopted
        assert issuing not in adopted  # the operator has confirmed it before

    service(scenario)


def test_a_chain_without_addresses_says_so_everywhere(
    service, authority, tmp_path: Path, signed: list[str]
) -> None:
    async def scenario(api) -> None:
        made, path = await requested(api, tmp_path)
        certificate = authority.sign(path, addresses=False)
        done = await brought(api, made.id, certificate, *authority.chain)
        (told,) = [one for one in done.warnings if "never at B-LT" in one]
        assert "Test Seal" in told
        assert (done.confirmed, done.complete, done.reached) == (True, False, False)
        shown = (await api.get("/v1/seals")).json()["seals"]
        assert [one["levels"] for one in shown if one["id"] == done.seal.id] == [["B-B", "B-T"]]
        left = await api.left()
        for level in ("B-LT", "B-LTA"):
            refused = await api.sign("x", seal_id=done.seal.id, level=level)
            assert (refused.status_code, code_of(refused)) == (409, "level-unavailable")
        assert (await api.left(), authority.asked[TSA]) == (left, 0)
        assert done.seal.key not in signed
        assert (await api.sign("y", seal_id=done.seal.id, level="B-T")).status_code == 200
        # The job has nobody to ask about it, and goes on with the others.
        await age(api, renew_at=datetime.now(UTC) - timedelta(seconds=1))
        authority.asked.clear()
        await renewed(api.operator.foreign())
        assert authority.asked == {"/ocsp/root": 1}
        again = await api.operator.importing().confirm(api.account, done.seal.id)
        assert [one for one in again.warnings if "never at B-LT" in one]
        assert not [one for one in again.warnings if "credential confirm" in one]

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_cannot_be_proved_costs_no_timestamp(
    service, authority, tmp_path: Path, signed: list[str]
) -> None:
    async def scenario(api) -> None:
        seal, _ = await seal_of(api, authority, tmp_path, confirmed=False)

        async def refusal() -> tuple[str, int, int]:
            refused = await api.sign("x", seal_id=seal.id, level="B-LT")
            return code_of(refused), signed.count(seal.key), authority.asked[TSA]

        assert await refusal() == ("level-unavailable", 0, 0)
        authority.away = True
        assert not (await api.operator.importing().confirm(api.account, seal.id)).reached
        assert await refusal() == ("evidence-unavailable", 0, 0)
        authority.away = False
        await renewed(api.operator.foreign())
        # The process that refused knows the new state without a restart.
        answer = await api.sign("y", seal_id=seal.id, level="B-LT")
        assert answer.status_code == 200, answer.text
        assert (signed.count(seal.key), authority.asked[TSA]) == (1, 1)
        assert await api.left() == (99, 0)

    service(scenario)


def test_short_keys_end_with_2027(
    service, authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(api) -> None:
        short, _ = await seal_of(
            api, authority, tmp_path, algorithm=KeyAlgorithm.RSA2048, days=1500
        )
        other, _ = await seal_of(api, authority, tmp_path, days=1500)
        assert short.not_after > RSA_2048_ENDS_AT
        shown = (await api.get(f"/v1/seals/{short.id}")).json()
        assert shown["valid_until"] == "2028-01-01T00:00:00Z"
        ends = await api.operator.seal_store.ending(
            after=RSA_2048_ENDS_AT - timedelta(days=1), before=RSA_2048_ENDS_AT + timedelta(days=1)
        )
        assert ends == [RSA_2048_ENDS_AT]
        for seconds, code in ((-1, "200"), (0, "seal-expired"), (86_400, "seal-expired")):
            at = RSA_2048_ENDS_AT + timedelta(seconds=seconds)
            monkeypatch.setattr(main, "now", lambda at=at: at)
            transport = httpx2.ASGITransport((await api.operator.app()).asgi)
            async with httpx2.AsyncClient(
                transport=transport, base_url="http://service"
            ) as api.http:
                answer = await api.sign("x", seal_id=short.id)
                assert code_of(answer) == code, answer.text
                assert (await api.sign("y", seal_id=other.id)).status_code == 200
        assert "RSA-2048" in answer.json()["detail"]

    service(scenario)
