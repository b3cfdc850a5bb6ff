"""The signing workflow against the sandbox, with a transport in between that tampers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from hashseal import sandbox, validation
from hashseal.client import http as client_http
from hashseal.client.extending import extend
from hashseal.client.http import AsyncClient, Client
from hashseal.client.signing import sign
from hashseal_core.algorithms import Level
from hashseal_core.errors import (
    HashsealError,
    InputUnreadable,
    OutputRefused,
    SealNotFound,
    ServiceUnreachable,
    TokenInvalid,
)


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
