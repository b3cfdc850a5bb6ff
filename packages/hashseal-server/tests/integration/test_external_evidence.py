"""B-LT and B-LTA with another authority's timestamps: its lists are fetched, kept and delivered."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import generated_pdfs
import httpx2
import judgement
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from fetching import LOOPBACK
from serving import say, served
from sqlalchemy import text
from stamping import Root, Tsa

from hashseal.client.http import AsyncClient
from hashseal.client.signing import sign
from hashseal_core.algorithms import Level
from hashseal_core.tsp import refused
from hashseal_server.pki.foreign_store import ForeignStore, digest_of
from hashseal_server.seals.store import chains_of
from hashseal_server.tsa.refusals import SYSTEM_FAILURE
from hashseal_server.tsa.relay import Relay

pytestmark = pytest.mark.tools


class Lists:
    """The authority's web server; what it is asked for is kept."""

    def __init__(self) -> None:
        self.root: Root | None = None
        self.tsa: Tsa | None = None
        self.asked: list[str] = []

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        assert self.root is not None
        issuer = handler.path.removeprefix("/").removesuffix(".crl")
        say(handler, 200, self.root.crl(issuer), Content_Type="application/pkix-crl")


@pytest.fixture
def lists(tmp_path: Path) -> Iterator[Lists]:
    made = Lists()
    with served(made) as port:
        made.root = Root(tmp_path / "root", lists=f"http://127.0.0.1:{port}")
        yield made


@pytest.fixture
def other_settings(tmp_path: Path, lists: Lists) -> Iterator[dict[str, Any]]:
    assert lists.root is not None
    lists.tsa = Tsa(tmp_path / "tsa", lists.root)
    with served(lists.tsa.do) as port:
        yield {
            "timestamp_urls": (f"http://127.0.0.1:{port}/tsa",),
            "timestamp_trust_anchors": lists.root.pem,
            "outbound_networks": LOOPBACK,
        }


@pytest.mark.parametrize("level", [Level.B_LT, Level.B_LTA])
def test_the_units_chain_is_in_the_file_with_its_lists(
    service, lists: Lists, tmp_path: Path, level: Level
) -> None:
    source, target = tmp_path / "table.pdf", tmp_path / "signed.pdf"
    source.write_bytes(generated_pdfs.generate("table", tmp_path))
    anchors: list[bytes] = []
    assert lists.root is not None
    theirs = lists.root

    async def scenario(api) -> None:
        anchors.append(await api.operator.authority.trust_anchor())
        transport = httpx2.ASGITransport(api.app)
        async with AsyncClient("http://service", api.token, transport=transport) as client:
            await client.run(sign(source, target, level=level))
            await client.run(sign(source, tmp_path / "again.pdf", level=level))

    service(scenario)
    assert sorted(lists.asked) == ["/lower.crl", "/root.crl"]  # once for all calls
    document = target.read_bytes()
    material = judgement.dss(document)
    assert theirs.certificate.public_bytes(Encoding.DER) in material.certificates
    bundle = judgement.write_pem(anchors[0], tmp_path / "own.pem").read_bytes()
    verdicts = judgement.pyhanko(document, bundle + theirs.pem.read_bytes(), material)
    assert verdicts == [True] * (2 if level is Level.B_LTA else 1)
    assert judgement.pdfsig(target) == [True]


def test_calls_that_meet_a_unit_at_the_same_time_are_all_answered(replicas, lists: Lists) -> None:
    """Each replica, each call finds the unit's chain not recorded yet; one of them records it."""

    async def scenario(apis) -> None:
        answers = await asyncio.gather(
            *(api.sign(f"{n}", level="B-LT") for n in range(4) for api in apis)
        )
        assert [one.json().get("code", one.status_code) for one in answers] == [200] * 8
        recorded = text("SELECT count(*) FROM audit_record WHERE event LIKE '%adopted'")
        async with apis[0].operator.database.read() as connection:
            assert await connection.scalar(recorded) == 1

    replicas(2, scenario)


def test_chains_that_share_authorities_are_recorded_side_by_side(service, lists: Lists) -> None:
    assert lists.root is not None
    root = lists.root
    above = tuple(one.public_bytes(Encoding.DER) for one in (root.lower, root.certificate))
    chains = [(root.unit()[0].public_bytes(Encoding.DER), *above) for _ in range(6)]

    async def scenario(api) -> None:
        store, at = ForeignStore(api.operator.database, chains_of), datetime.now(UTC)
        await asyncio.gather(*(store.adopt(chain, at) for chain in chains * 4))
        members = await store.members([digest_of(one) for chain in chains for one in chain[:-1]])
        assert len(members) == 12
        assert all(one.confirmed is not None and one.confirmed.crl for one in members)

    service(scenario)


def test_a_revoked_unit_is_refused_and_nothing_is_charged(service, lists: Lists) -> None:
    assert lists.root is not None
    assert lists.tsa is not None
    lists.root.revoked.append(lists.tsa.certificate)

    async def scenario(api) -> None:
        for level in ("B-LT", "B-LTA"):
            answer = await api.sign("one", level=level)
            assert (answer.status_code, answer.json()["code"]) == (503, "evidence-unavailable")
        assert "/lower.crl" in lists.asked
        assert await api.left() == (100, 0)
        # B-T does not ask for the unit's status.
        assert (await api.sign("one", level="B-T")).status_code == 200

    service(scenario)


@pytest.mark.parametrize("what", ["unit", "authority"])
def test_a_unit_that_is_known_as_revoked_elsewhere_is_used_no_more(
    service, lists: Lists, what: str
) -> None:
    """Another replica learns it, or an import; what this one holds ready says nothing of it."""
    assert lists.root is not None
    assert lists.tsa is not None
    revoked = lists.tsa.certificate if what == "unit" else lists.root.lower
    digest = digest_of(revoked.public_bytes(Encoding.DER))

    async def scenario(api) -> None:
        signed = [(await api.sign(f"{n}", level="B-LT")).json() for n in range(2)]
        before = await api.left()
        follow = {
            "signature_id": signed[0]["signatures"][0]["id"],
            "hash_algorithm": "SHA-256",
            "hash": base64.b64encode(bytes(range(32))).decode(),
        }
        elsewhere = ForeignStore(api.operator.database, chains_of)
        assert await elsewhere.revoke(digest, "keyCompromise", datetime.now(UTC), by="authority")
        ways = [
            lambda: api.post("/v1/timestamps", follow),
            lambda: api.sign("x", level="B-LT"),
        ]
        if what == "unit":
            ways.reverse()
        for way, code in zip(ways, ("timestamp-unavailable", "evidence-unavailable"), strict=True):
            answer = await way()  # the commit finds it; then it is known here, too
            assert (answer.status_code, answer.json()["code"]) == (503, code)
        assert await api.left() == before
        assert len((await api.get("/v1/signatures")).json()["signatures"]) == 2
        async with api.operator.database.read() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM document_timestamp")) == 0

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_fails_unforeseen_at_the_relay_is_a_system_failure(
    service, lists: Lists, monkeypatch
) -> None:
    async def odd(_self: Relay, _request: bytes) -> bytes:
        raise ValueError("odd")

    monkeypatch.setattr(Relay, "respond", odd)

    async def scenario(api) -> None:
        answer = await api.post("/tsa", b"0", content_type="application/timestamp-query")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/timestamp-reply"
        assert answer.content == refused(SYSTEM_FAILURE, "system failure")
        assert "ValueError" in api.log.getvalue()

    service(scenario)
