"""The short way to the hot endpoints answers as the long one does, over real connections."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from lines import listening, post

from hashseal_core import protocol as shapes
from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
HASH = base64.b64encode(bytes(range(32))).decode()
QUERY = tsp.build_request(Digest(DigestAlgorithm.SHA256, bytes(range(32))), nonce=7)


def order(api, key: str, **changes: object) -> bytes:
    body = {"seal_id": api.seal, "hash_algorithm": "SHA-256", "level": "B-LT", "hashes": [HASH]}
    return post(
        "/v1/documents/sign",
        json.dumps(body | changes).encode(),
        f"Authorization: Bearer {api.token}\r\nIdempotency-Key: {key}\r\n"
        "Content-Type: application/json\r\n",
    )


def run(service, scenario: Callable[..., Awaitable[None]]) -> None:
    async def inside(api) -> None:
        async with listening(api) as (connect, server, hot):
            await scenario(api, connect, server, hot)

    service(inside)


def test_both_ways_answer_alike(service) -> None:
    async def scenario(api, connect, _server, _hot) -> None:
        line = await connect()
        status, headers, body = await line.ask(order(api, "one"))
        assert status == 200
        sent = order(api, "one").partition(b"\r\n\r\n")[2]
        again = await api.post(
            "/v1/documents/sign", sent, key="one", content_type="application/json"
        )
        assert again.content == body
        usual = {"content-type", "cache-control", "x-content-type-options", "x-request-id"}
        assert set(headers) == usual | {"content-length"} == set(again.headers.keys())
        for name in ("content-type", "cache-control", "x-content-type-options"):
            assert headers[name] == again.headers[name]
        assert re.fullmatch("[0-9a-f]{16}", headers["x-request-id"])
        # The same connection goes on, with whatever comes next.
        status, _, body = await line.ask(b"GET /v1/seals HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, json.loads(body)["code"]) == (401, "token-missing")
        status, _, body = await line.ask(order(api, "two", level="B-X"))
        problem = json.loads(body)
        assert (status, problem["code"], problem["field"]) == (400, "invalid-value", "level")
        status, headers, _ = await line.ask(
            post("/tsa", QUERY, "Content-Type: application/timestamp-query\r\n")
        )
        assert (status, headers["content-type"]) == (200, "application/timestamp-reply")
        lines = [json.loads(text) for text in api.log.getvalue().splitlines()]
        told = [line for line in lines if line["event"] == "request"]
        assert [(one["route"], one["status"], one["code"]) for one in told] == [
            ("/v1/documents/sign", 200, None),
            ("/v1/documents/sign", 200, None),
            ("/v1/seals", 401, "token-missing"),
            ("/v1/documents/sign", 400, "invalid-value"),
            ("/tsa", 200, None),
        ]
        assert told[0].keys() == told[1].keys() == told[4].keys()
        assert datetime.fromisoformat(told[0]["timestamp"]) <= datetime.now(UTC)

    run(service, scenario)


@pytest.mark.parametrize(
    ("octets", "status", "code"),
    [
        (b"GET /tsa HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method-not-allowed"),
        (post("/tsa", QUERY), 415, "unsupported-media-type"),
        (post("/v1/documents/sign", b"{}"), 401, "token-missing"),
        (post("/v1/documents/sign", b" " * (shapes.MAX_BODY + 1)), 401, "token-missing"),
        (post("/v1/documents/sign?x=1", b"{}"), 401, "token-missing"),
        (post("/v1/documents%2Fsign", b"{}"), 401, "token-missing"),
        (post("/v1/documents/sign", b"{}", "Expect: 100-continue\r\n"), 100, None),
        (post("/v1/documents/sign", b"{}", "Upgrade: h2c\r\nConnection: upgrade\r\n"), 401, None),
        (b"\x16\x03\x01 nonsense\r\n\r\n", 400, None),
    ],
)
def test_unusual_requests(service, octets: bytes, status: int, code: str | None) -> None:
    async def scenario(_api, connect, _server, _hot) -> None:
        got, _, body = await (await connect()).ask(octets)
        assert got == status
        if code is not None:
            assert json.loads(body)["code"] == code

    run(service, scenario)


def test_a_body_that_is_too_long_is_refused_and_not_kept(service) -> None:
    async def scenario(api, connect, _server, _hot) -> None:
        line = await connect()
        long = order(api, "one").replace(b"Content-Length", b"X-Was") + b" " * shapes.MAX_BODY * 4
        head, _, body = long.partition(b"\r\n\r\n")
        sized = head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        status, _, answer = await line.ask(sized)
        assert (status, json.loads(answer)["code"]) == (413, "body-too-large")
        assert (await line.ask(order(api, "one")))[0] == 200

    run(service, scenario)


def test_a_body_in_pieces(service) -> None:
    async def scenario(api, connect, _server, _hot) -> None:
        whole = (await (await connect()).ask(order(api, "one")))[2]
        line = await connect()
        for octet in order(api, "one"):
            line.writer.write(bytes((octet,)))
            await line.writer.drain()
        assert (await line.answer())[2] == whole
        head, _, body = order(api, "one").partition(b"\r\n\r\n")
        head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
        chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[n : n + 1]) for n in range(len(body)))
        assert (await line.ask(head + b"\r\n\r\n" + chunks + b"0\r\n\r\n"))[2] == whole

    run(service, scenario)


def test_requests_behind_each_other_are_answered_in_order(service) -> None:
    async def scenario(api, connect, _server, _hot) -> None:
        line = await connect()
        keys = [f"key-{number}" for number in range(8)]
        get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        line.writer.write(b"".join(order(api, key) + get for key in keys))
        bodies = []
        for _ in keys:
            status, _, body = await line.answer()
            assert status == 200
            bodies.append(body)
            assert (await line.answer())[0] == 200
        for key, body in zip(keys, bodies, strict=True):
            assert (await line.ask(order(api, key)))[2] == body

    run(service, scenario)


def test_closing(service) -> None:
    async def scenario(api, connect, _server, _hot) -> None:
        for octets in (
            order(api, "one").replace(b"Host: x", b"Host: x\r\nConnection: close"),
            order(api, "one").replace(b"HTTP/1.1", b"HTTP/1.0"),
        ):
            line = await connect()
            status, headers, _ = await line.ask(octets)
            assert (status, headers["connection"]) == (200, "close")
            assert await line.ended()

    run(service, scenario)


def test_a_caller_who_goes_away_leaves_a_call_that_can_be_asked_for(service) -> None:
    async def scenario(api, connect, server, _hot) -> None:
        for number in range(10):
            line = await connect()
            line.writer.write(order(api, f"gone-{number}"))
            await line.writer.drain()
            line.writer.close()
            half = await connect()
            half.writer.write(order(api, f"half-{number}")[:-20])
            await half.writer.drain()
            half.writer.close()
        state = server.server_state
        while state.tasks or state.connections:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
        line = await connect()
        for number in range(10):
            assert (await line.ask(order(api, f"gone-{number}")))[0] == 200
        usage = (await api.get("/v1/account")).json()["balance"]
        assert (
            usage["free"] == 90
        )  # what was cut off was not signed, what was asked twice not charged twice

    run(service, scenario)


def test_a_server_that_ends_finishes_what_is_under_way(service) -> None:
    async def scenario(api, connect, server, hot) -> None:
        waits = asyncio.Event()
        inner = hot.handlers["/v1/documents/sign"]

        async def late(asked):
            waits.set()
            await asyncio.sleep(0.3)
            return await inner(asked)

        hot.handlers["/v1/documents/sign"] = late
        line = await connect()
        line.writer.write(order(api, "one"))
        await waits.wait()
        server.should_exit = True
        status, headers, _ = await line.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await line.ended()

    run(service, scenario)
