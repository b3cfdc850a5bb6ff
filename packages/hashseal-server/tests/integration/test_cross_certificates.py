"""One key of an authority, certificates of two others for it: each seal and unit follows its own chain.

The public authority's root is vouched for by another root. What stands below it is on two paths, and
nothing in it says which is meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from importing import age, brought, code_of, renewed, requested
from public_authority import PublicAuthority
from sqlalchemy import text

from hashseal_core.errors import CertificateRefused, EvidenceUnavailable
from hashseal_server.pki.foreign_store import ForeignStore, digest_of
from hashseal_server.seals.store import chains_of

pytestmark = pytest.mark.tools
OWN, CROSS = "own", "cross"
LEVELS = ("B-B", "B-T", "B-LT")


class Paths:
    """Two authorities; what a customer of the first one brings to end at its root, or at the other's."""

    def __init__(self, folder: Path) -> None:
        self.first = PublicAuthority(folder / "first")
        self.other = PublicAuthority(folder / "other", title="Other")
        self.cross = self.other.vouch_for(self.first)

    def above(self, path: str) -> tuple[Path, ...]:
        if path == OWN:
            return self.first.chain
        return self.first.issuing_pem, self.cross, self.other.root_pem

    def close(self) -> None:
        self.first.close()
        self.other.close()


def der_of(pem: Path) -> bytes:
    return x509.load_pem_x509_certificate(pem.read_bytes()).public_bytes(Encoding.DER)


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    made = Paths(tmp_path / "authorities")
    yield made
    made.close()


@pytest.fixture
def anchors(request: pytest.FixtureRequest, paths: Paths, tmp_path: Path) -> Path | None:
    """The trust anchors of timestamps that lead along a path; none: they are our own."""
    along = getattr(request, "param", None)
    if along is None:
        return None
    made = tmp_path / "anchors.pem"
    made.write_bytes(b"".join(one.read_bytes() for one in paths.above(along)[1:]))
    return made


@pytest.fixture
def other_settings(paths: Paths, anchors: Path | None) -> dict[str, Any]:
    outside = {"outbound_networks": ("127.0.0.1/32",)}
    if anchors is None:
        return outside
    stamped = {
        "timestamp_urls": (f"{paths.first.base}/tsa/issuing",),
        "timestamp_trust_anchors": anchors,
    }
    return {**outside, **stamped}


async def seal_along(api, paths: Paths, path: str, folder: Path):
    """A seal of the first authority, imported with one of the chains."""
    made, request = await requested(api, folder)
    certificate = await asyncio.to_thread(paths.first.sign, request)
    done = await brought(api, made.id, certificate, *paths.above(path))
    assert done.reached
    return done.seal


async def learned(api) -> None:
    """The background work asks for everything, and hears of a revocation."""
    await age(api, renew_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(EvidenceUnavailable):
        await renewed(api.operator.foreign())


async def outcomes(api, seal, name: str) -> list[str]:
    answers = [await api.sign(f"{name}{one}", seal_id=seal.id, level=one) for one in LEVELS]
    return [code_of(one) for one in answers]


async def stopped(api) -> set[str]:
    """The digests in the audit records of revocations."""
    asked = text("SELECT content FROM audit_record WHERE event = 'imported-certificate.revoked'")
    async with api.operator.database.read() as connection:
        rows = [row.content for row in await connection.execute(asked)]
    return {one for row in rows for one in row.split('"') if len(one) == 64}


@pytest.mark.parametrize("order", [(OWN, CROSS), (CROSS, OWN)], ids=["own-first", "cross-first"])
def test_a_seal_stops_with_its_own_chain_only(
    service, paths: Paths, tmp_path: Path, order: Sequence[str]
) -> None:
    async def scenario(api) -> None:
        seals = {path: await seal_along(api, paths, path, tmp_path) for path in order}
        for path, seal in seals.items():
            assert seal.chain[1:] == tuple(map(der_of, paths.above(path)))
            assert await outcomes(api, seal, path) == ["200"] * 3
        paths.other.revoke(paths.cross, label="root", reason="CACompromise")
        await learned(api)
        assert await outcomes(api, seals[CROSS], "after") == ["seal-revoked"] * 3
        assert await outcomes(api, seals[OWN], "after") == ["200"] * 3
        assert (await api.get(f"/v1/seals/{seals[OWN].id}")).json()["status"] == "active"
        assert await stopped(api) == {digest_of(der_of(paths.cross)), str(seals[CROSS].imported)}
        # What is revoked on one path lets nothing in there, and everything on the other.
        made, request = await requested(api, tmp_path)
        certificate = await asyncio.to_thread(paths.first.sign, request)
        with pytest.raises(CertificateRefused, match="as is known here since"):
            await brought(api, made.id, certificate, *paths.above(CROSS), confirmed=False)
        done = await brought(api, made.id, certificate, *paths.above(OWN))
        assert (await api.sign("in", seal_id=done.seal.id, level="B-LT")).status_code == 200
        # What both chains have stops both.
        paths.first.revoke(paths.first.issuing_pem, label="root", reason="CACompromise")
        await learned(api)
        for seal in (seals[OWN], done.seal):
            assert await outcomes(api, seal, "end") == ["seal-revoked"] * 3

    service(scenario)


@pytest.mark.parametrize("path", [OWN, CROSS])
def test_the_material_is_that_of_the_seal_s_chain(
    service, paths: Paths, tmp_path: Path, path: str
) -> None:
    """The other seal came in first, so that its issuers are those that are recorded first."""

    async def scenario(api) -> None:
        await seal_along(api, paths, CROSS if path == OWN else OWN, tmp_path)
        seal = await seal_along(api, paths, path, tmp_path)
        given = await api.operator.foreign().material_for(seal.chain)
        assert given.certificates == seal.chain
        assert len(given.ocsp_responses) == len(seal.chain) - 1
        # One authority is away: only seals whose chain needs it cannot prove themselves.
        paths.other.away = True
        await age(api, next_update=datetime.now(UTC))
        api.operator.foreign().forget(seal.chain[0])
        answer = await api.sign("x", seal_id=seal.id, level="B-LT")
        assert code_of(answer) == ("200" if path == OWN else "evidence-unavailable")

    service(scenario)


@pytest.mark.parametrize("anchors", [OWN, CROSS], indirect=True)
def test_a_unit_stops_with_its_own_chain_only(
    service, paths: Paths, anchors: Path, tmp_path: Path
) -> None:
    """The seals stand below the same authority as the unit, by both paths."""
    along_cross = anchors.read_bytes().count(b"BEGIN") == 2

    async def scenario(api) -> None:
        # The path that is not the unit's is the one that is recorded.
        recorded, other = (OWN, CROSS) if along_cross else (CROSS, OWN)
        seals = {path: await seal_along(api, paths, path, tmp_path) for path in (recorded, other)}
        seal = seals[OWN]
        assert await outcomes(api, seal, "before") == ["200"] * 3
        paths.other.revoke(paths.cross, label="root", reason="CACompromise")
        await learned(api)
        proven = "evidence-unavailable" if along_cross else "200"
        assert await outcomes(api, seal, "after") == ["200", "200", proven]
        assert await outcomes(api, seals[CROSS], "after") == ["seal-revoked"] * 3
        unit = x509.load_der_x509_certificate(der_of(paths.first.folder / "issuing" / "tsa.pem"))
        told = await api.post("/v1/validation", {"serials": [str(unit.serial_number)]})
        revoked = [str(unit.serial_number)] if along_cross else []
        assert told.json()["revoked"] == revoked, told.text

    service(scenario)


@pytest.mark.parametrize("anchors", [CROSS], indirect=True)
def test_what_is_above_a_unit_is_looked_at_when_a_call_is_recorded(
    service, paths: Paths, anchors: Path, tmp_path: Path
) -> None:
    """Another replica learned it; what this one holds ready says nothing of it."""

    async def scenario(api) -> None:
        seal = await seal_along(api, paths, OWN, tmp_path)
        assert (await api.sign("x", seal_id=seal.id, level="B-LT")).status_code == 200
        left = await api.left()
        elsewhere = ForeignStore(api.operator.database, chains_of)
        cross, at = digest_of(der_of(paths.cross)), datetime.now(UTC)
        assert await elsewhere.revoke(cross, "CACompromise", at, by="authority")
        for code in ("timestamp-unavailable", "evidence-unavailable"):
            assert code_of(await api.sign("y", seal_id=seal.id, level="B-LT")) == code
        assert await api.left() == left

    service(scenario)
