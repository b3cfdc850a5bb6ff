"""The signing workflow against the sandbox, with a transport in between that tampers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pikepdf
import pytest

from hashseal import sandbox, validation
from hashseal.client import http as client_http
from hashseal.client.http import AsyncClient, Client
from hashseal.client.extending import extend
from hashseal.client.signing import sign
from hashseal_core.algorithms import Level
from hashseal_core.errors import (
    AnswerMismatch,
    HashsealError,
    InputUnreadable,
    OutputRefused,
    SealNotFound,
    ServiceUnreachable,
    TokenInvalid,
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sandbox.Sandbox]:
    with sandbox.running(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "plain.pdf"
    with pikepdf.new() as made:
        made.add_blank_page()
        made.save(path)
    return path


class Tampering(httpx2.BaseTransport):
    """Changes the JSON of the signing answer on its way back."""

    def __init__(
        self, inner: httpx2.BaseTransport, change: Callable[[dict[str, Any]], Any]
    ) -> None:
        self._inner = inner
        self._change = change

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._inner.handle_request(request)
        if request.url.path != "/v1/documents/sign":
            return answer
        changed = self._change(json.loads(answer.read()))
        return httpx2.Response(200, content=json.dumps(changed).encode())


def flipped(text: str) -> str:
    octets = bytearray(base64.b64decode(text))
    octets[len(octets) // 2] ^= 1
    return base64.b64encode(octets).decode()


def other_hash(answer: dict[str, Any]) -> dict[str, Any]:
    answer["signatures"][0]["hash"] = flipped(answer["signatures"][0]["hash"])
    return answer


def broken_signature(answer: dict[str, Any]) -> dict[str, Any]:
    answer["signatures"][0]["signature"] = flipped(answer["signatures"][0]["signature"])
    return answer


def truncated_signature(answer: dict[str, Any]) -> dict[str, Any]:
    whole = base64.b64decode(answer["signatures"][0]["signature"])
    answer["signatures"][0]["signature"] = base64.b64encode(whole[:-9]).decode()
    return answer


def no_timestamp(answer: dict[str, Any]) -> dict[str, Any]:
    answer["signatures"][0]["timestamp"] = None
    return answer


def no_validation(answer: dict[str, Any]) -> dict[str, Any]:
    answer["validation"] = None
    return answer


def no_revocation(answer: dict[str, Any]) -> dict[str, Any]:
    answer["validation"] |= {"ocsp_responses": [], "crls": []}
    return answer


def twice(answer: dict[str, Any]) -> dict[str, Any]:
    answer["signatures"] *= 2
    return answer


def nothing(_: dict[str, Any]) -> list[int]:
    return []


TAMPERINGS = (
    other_hash,
    broken_signature,
    truncated_signature,
    no_timestamp,
    no_validation,
    no_revocation,
    twice,
    nothing,
)


@pytest.mark.parametrize("change", TAMPERINGS)
def test_i17_a_tampered_answer_never_reaches_a_file(opened, source: Path, change) -> None:
    transport = Tampering(opened.client._http._transport, change)
    before = source.read_bytes()
    output = source.with_name("out.pdf")
    client = Client(sandbox.URL, opened.token, transport=transport)
    with pytest.raises(AnswerMismatch):
        client.run(sign(source, output))
    assert source.read_bytes() == before
    assert [path.name for path in source.parent.iterdir()] == ["plain.pdf"]


@pytest.mark.parametrize("level", Level)
def test_every_level_validates(opened, source: Path, level: Level) -> None:
    output = source.with_name("out.pdf")
    result = opened.client.run(sign(source, output, level=level))
    assert output.read_bytes().startswith(source.read_bytes())
    assert result.charged == 1
    report = validation.validate(output, [opened.trust_anchor])
    assert report.verdict == "valid"
    assert report.signatures[0].level == level.value
    assert report.next_level
    assert validation.validate(output, []).verdict == "untrusted"


def test_a_changed_file_and_a_plain_file(opened, source: Path) -> None:
    output = source.with_name("out.pdf")
    opened.client.run(sign(source, output))
    octets = bytearray(output.read_bytes())
    octets[octets.index(b"MediaBox") + 12] ^= 1
    output.write_bytes(octets)
    assert validation.validate(output, [opened.trust_anchor]).verdict == "invalid"
    assert validation.validate(source, []).verdict == "no-signature"
    source.write_bytes(b"no PDF at all")
    with pytest.raises(HashsealError):
        validation.validate(source, [])
    with pytest.raises(InputUnreadable):
        validation.validate(source.with_name("absent"), [])


def test_extend_adds_a_document_timestamp(opened, source: Path) -> None:
    output, longer = source.with_name("out.pdf"), source.with_name("longer.pdf")
    opened.client.run(sign(source, output))
    opened.client.run(extend(output, longer))
    report = validation.validate(longer, [opened.trust_anchor])
    assert (report.verdict, report.signatures[0].level) == ("valid", "B-LTA")


def test_paths_that_are_refused(opened, source: Path) -> None:
    output = source.with_name("out.pdf")
    output.write_text("mine")
    for target, error in (
        (output, OutputRefused),
        (source, OutputRefused),
        (source.parent / "none" / "out.pdf", OutputRefused),
    ):
        with pytest.raises(error):
            opened.client.run(sign(source, target))
    with pytest.raises(InputUnreadable):
        opened.client.run(sign(source.with_name("absent"), source.with_name("new.pdf")))
    assert output.read_text() == "mine"
    opened.client.run(sign(source, output, overwrite=True))
    with pytest.raises(SealNotFound):
        opened.client.run(sign(source, source.with_name("new.pdf"), seal_id="0" * 16))


class Away(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """A service that is there for seals, then gone."""

    def __init__(self, inner: httpx2.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/v1/seals":
            return self._inner.handle_request(request)
        raise httpx2.ConnectError("gone")

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await asyncio.to_thread(self.handle_request, request)
        return httpx2.Response(answer.status_code, content=answer.read())


def test_a_service_that_goes_away_leaves_nothing(opened, source: Path, monkeypatch) -> None:
    monkeypatch.setattr(client_http, "pause", lambda *_: 0.0)
    away = Away(opened.client._http._transport)
    output = source.with_name("out.pdf")
    with pytest.raises(ServiceUnreachable) as held:
        Client(sandbox.URL, opened.token, transport=away).run(sign(source, output))
    assert held.value.code == "service-unreachable"
    assert [path.name for path in source.parent.iterdir()] == ["plain.pdf"]

    async def scenario() -> None:
        async with AsyncClient(sandbox.URL, opened.token, transport=away) as client:
            await client.run(sign(source, output))

    with pytest.raises(ServiceUnreachable):
        asyncio.run(scenario())
    assert [path.name for path in source.parent.iterdir()] == ["plain.pdf"]


class Bridged(Away):
    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._inner.handle_request(request)


def test_the_asynchronous_client_does_the_same(opened, source: Path) -> None:
    async def scenario() -> None:
        bridge = Bridged(opened.client._http._transport)
        async with AsyncClient(sandbox.URL, opened.token, transport=bridge) as client:
            await client.run(sign(source, source.with_name("out.pdf")))

    asyncio.run(scenario())
    assert (
        validation.validate(source.with_name("out.pdf"), [opened.trust_anchor]).verdict == "valid"
    )
    stranger = Client(sandbox.URL, "hs_x", transport=opened.client._http._transport)
    with pytest.raises(TokenInvalid):
        stranger.run(sign(source, source.with_name("new.pdf")))
