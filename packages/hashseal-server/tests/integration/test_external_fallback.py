"""A token that holds, of a unit whose status cannot be shown: at B-LT the next authority is asked."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import generated_pdfs
import httpx2
import judgement
import pytest
from fetching import LOOPBACK
from serving import served
from stamping import Stamping

from hashseal.client.extending import Extension, extend
from hashseal.client.http import AsyncClient
from hashseal.client.signing import sign
from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, Level
from hashseal_server.pki import foreign_status
from hashseal_server.tsa import external

pytestmark = pytest.mark.tools
DIGEST = Digest(DigestAlgorithm.SHA256, bytes(range(32)))
QUERY = {"content-type": "application/timestamp-query"}


@pytest.fixture
def database_url() -> None:
    """SQLite: what is kept, and how, is not the point."""


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Stamping]:
    made = Stamping()
    with served(made) as made.port:
        for name in ("first", "second"):
            made.add(tmp_path, name)
        yield made


@pytest.fixture
def other_settings(tmp_path: Path, outside: Stamping) -> dict[str, Any]:
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(outside.anchors)
    return {
        "timestamp_urls": tuple(
            f"http://127.0.0.1:{outside.port}/{name}/tsa" for name in outside.units
        ),
        "timestamp_trust_anchors": anchors,
        "outbound_networks": LOOPBACK,
    }


def break_first(outside: Stamping, how: str) -> None:
    if how == "revoked":
        outside.roots["first"].revoked.append(outside.units["first"].certificate)
    else:
        {"silent": outside.silent, "hanging": outside.hanging}[how].add("first")


def unit_of(token: str) -> bytes:
    return tsp.parse_token(base64.b64decode(token)).signing_certificate


def told(api: Any) -> list[tuple[str, str]]:
    """Host and code of each authority whose token could not be used."""
    lines = [json.loads(line) for line in api.log.getvalue().splitlines()]
    return [(one["host"], one["code"]) for one in lines if one["event"] == "timestamp-authority"]


@pytest.mark.parametrize("how", ["revoked", "silent", "hanging"])
def test_the_next_authority_is_asked_and_nothing_is_charged_twice(
    service, outside: Stamping, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(external, "_SHOWN_SECONDS", 0.5)
    break_first(outside, how)

    async def scenario(api) -> None:
        before = sum(await api.left())
        answer = await api.sign("one", "two", level="B-LT", key="same")
        assert answer.status_code == 200, answer.text
        made = answer.json()
        assert {unit_of(one["timestamp"]["token"]) for one in made["signatures"]} == {
            outside.unit("second")
        }
        shown = [base64.b64decode(one) for one in made["validation"]["certificates"]]
        assert outside.unit("second") in shown
        assert outside.unit("first") not in shown
        assert made["charged"] == 2
        again = await api.sign("one", "two", level="B-LT", key="same")
        assert again.content == answer.content
        assert sum(await api.left()) == before - 2
        assert len((await api.get("/v1/signatures")).json()["signatures"]) == 2
        assert {*told(api)} == {(f"127.0.0.1:{outside.port}", "evidence-unavailable")}

        asked = outside.asked["first"]
        follow = await api.post(
            "/v1/timestamps",
            {
                "hash": base64.b64encode(DIGEST.value).decode(),
                "hash_algorithm": "SHA-256",
                "signature_id": made["signatures"][0]["id"],
            },
        )
        assert follow.status_code == 200, follow.text
        assert unit_of(follow.json()["timestamp"]["token"]) == outside.unit("second")
        for level in ("B-T", "B-LT"):  # who failed is asked last for a while, at any level
            assert (await api.sign(level, level=level)).status_code == 200
        assert outside.asked["first"] == asked

    service(scenario)


def test_when_no_unit_does_the_error_is_typed_and_nothing_is_charged(
    service, outside: Stamping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_status, "_PAUSE", timedelta())
    outside.silent |= {"first", "second"}

    async def refused(api, code: str, level: str = "B-LT") -> None:
        answer = await api.sign("one", level=level, key="same")
        assert (answer.status_code, answer.json()["code"]) == (503, code)
        assert answer.headers["retry-after"]
        assert "127.0.0.1" not in answer.text
        assert await api.left() == (100, 0)
        assert (await api.get("/v1/signatures")).json()["signatures"] == []

    async def scenario(api) -> None:
        await refused(api, "evidence-unavailable")
        assert outside.asked == {"first": 1, "second": 1}
        outside.away.add("second")
        await refused(api, "evidence-unavailable")
        outside.away.add("first")
        await refused(api, "timestamp-unavailable")
        outside.away.clear()
        outside.silent.remove("second")
        answer = await api.sign("one", level="B-LT", key="same")
        assert answer.status_code == 200, answer.text
        assert unit_of(answer.json()["signatures"][0]["timestamp"]["token"]) == outside.unit(
            "second"
        )
        assert await api.left() == (99, 0)

    service(scenario)


def test_status_data_that_does_not_come_keeps_no_call_for_long(
    service, outside: Stamping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "_SHOWN_SECONDS", 0.2)
    monkeypatch.setattr(external, "_SECONDS", 3.0)
    outside.hanging |= {"first", "second"}

    async def scenario(api) -> None:
        begun = time.monotonic()
        answer = await api.sign("one", level="B-LT")
        assert (answer.status_code, answer.json()["code"]) == (503, "evidence-unavailable")
        assert time.monotonic() - begun < 15
        assert outside.asked == {"first": 1, "second": 1}
        assert await api.left() == (100, 0)

    service(scenario)


def test_a_file_is_signed_and_extended_with_the_unit_that_can_be_shown(
    service, outside: Stamping, tmp_path: Path
) -> None:
    """`/tsa` prefers it, too; where there is none, callers have the token that holds."""
    break_first(outside, "revoked")
    plain, signed, extended = (tmp_path / f"{name}.pdf" for name in ("plain", "signed", "extended"))
    plain.write_bytes(generated_pdfs.generate("table", tmp_path))
    own: list[bytes] = []

    async def scenario(api) -> None:
        own.append(await api.operator.authority.trust_anchor())
        transport = httpx2.ASGITransport(api.app)
        async with AsyncClient("http://service", api.token, transport=transport) as client:
            await client.run(sign(plain, signed, level=Level.B_LTA))
            done = await client.run(extend(signed, extended))
            assert isinstance(done, Extension)
            assert done.without_evidence == ()
        query = tsp.build_request(DIGEST, nonce=7)
        units = []
        for away in ((), ("second",)):
            outside.away = {*away}
            answer = await api.post("/tsa", query, **QUERY)
            units.append(tsp.parse_token(tsp.token_of_response(answer.content)).signing_certificate)
        assert units == [outside.unit("second"), outside.unit("first")]

    service(scenario)
    bundle = judgement.write_pem(own[0], tmp_path / "own.pem").read_bytes()
    for path, count in ((signed, 2), (extended, 3)):
        document = path.read_bytes()
        material = judgement.dss(document)
        roots = bundle + outside.roots["second"].pem.read_bytes()
        assert judgement.pyhanko(document, roots, material) == [True] * count
    assert judgement.pdfsig(extended) == [True]
