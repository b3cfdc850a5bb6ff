"""I18: hostile requests to the endpoints that sign: a typed refusal each, no charge, no signature."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hostile_bodies import CANARY, ENDPOINTS, Hostile, every
from lines import listening, post

from hashseal_core.problems import all_codes

pytestmark = pytest.mark.parametrize("other_settings", [{"requests_per_minute": 0}])
CODES = set(all_codes())


async def ids(api: Any) -> dict[str, str]:
    signed = (await api.sign("before", level="B-LTA")).json()
    return {"seal_id": api.seal, "signature_id": signed["signatures"][0]["id"]}


async def sent(api: Any, path: str, hostile: Hostile, number: int) -> Any:
    headers = {
        "authorization": f"Bearer {api.token}",
        "idempotency-key": f"hostile-{number}",
        "content-type": "application/json",
    }
    for name, value in hostile.headers.items():
        headers.pop(name, None)
        if value is not None:
            headers[name] = value
    # Octets, since a client refuses to send what is not ASCII.
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return await api.http.post(path, content=hostile.body, headers=raw)


def test_each_is_refused_with_a_type_and_nothing_is_signed(service) -> None:
    async def scenario(api) -> None:
        known = await ids(api)
        await api.operator.accounts.record_order(api.account, 5000)
        balance, log = await api.left(), (await api.get("/v1/signatures")).json()
        codes: Counter[str] = Counter()
        for endpoint in ENDPOINTS:
            base = {**endpoint.base, **{k: v for k, v in known.items() if k in endpoint.base}}
            for number, hostile in enumerate(every(endpoint, base)):
                answer = await sent(api, endpoint.path, hostile, number)
                said = f"{endpoint.path}: {hostile.label}: {answer.status_code} {answer.text[:200]}"
                assert 400 <= answer.status_code < 500, said
                assert answer.headers["content-type"] == "application/problem+json", said
                assert answer.json()["code"] in CODES, said
                assert CANARY not in answer.text, said
                codes[answer.json()["code"]] += 1
        assert codes.total() >= 500
        assert len(codes) >= 12, codes
        assert await api.left() == balance
        assert (await api.get("/v1/signatures")).json() == log
        assert CANARY not in api.log.getvalue()
        # What they were made from is accepted: they were refused for what was done to them.
        for number, endpoint in enumerate(ENDPOINTS, 100_000):
            base = {**endpoint.base, **{k: v for k, v in known.items() if k in endpoint.base}}
            good = Hostile("as it is", json.dumps(base).encode())
            answer = await sent(api, endpoint.path, good, number)
            assert answer.status_code == 200, answer.text

    service(scenario)


def framings(path: str, head: str, body: bytes) -> dict[str, bytes]:
    """Ways to say wrongly where a body ends, and bodies that end too early."""

    def with_head(more: str, rest: bytes, version: str = "1.1") -> bytes:
        return f"POST {path} HTTP/{version}\r\nHost: x\r\n{head}{more}\r\n".encode() + rest

    size, chunked = len(body), "Transfer-Encoding: chunked\r\n"
    chunk = b"%x\r\n%b\r\n" % (size, body)
    return {
        "cut": with_head(f"Content-Length: {size}\r\n", body[:-10]),
        "cut to nothing": with_head(f"Content-Length: {size}\r\n", b""),
        "too long a length": with_head("Content-Length: 99999999\r\n", body),
        "a length beyond numbers": with_head(f"Content-Length: {'9' * 40}\r\n", body),
        "a negative length": with_head("Content-Length: -1\r\n", body),
        "a length that is none": with_head("Content-Length: x\r\n", body),
        "a length in hexadecimal": with_head(f"Content-Length: 0x{size:x}\r\n", body),
        "two lengths": with_head(f"Content-Length: {size}\r\nContent-Length: 5\r\n", body),
        "a list of lengths": with_head(f"Content-Length: {size}, 5\r\n", body),
        "length and chunks": with_head(
            f"Content-Length: {size}\r\n{chunked}", chunk + b"0\r\n\r\n"
        ),
        "chunks and length": with_head(f"{chunked}Content-Length: 5\r\n", chunk + b"0\r\n\r\n"),
        "no last chunk": with_head(chunked, chunk),
        "a cut chunk": with_head(chunked, chunk[:-20]),
        "a negative chunk": with_head(chunked, b"-1\r\n" + body),
        "a chunk beyond numbers": with_head(chunked, b"f" * 40 + b"\r\n" + body),
        "a chunk that is none": with_head(chunked, b"zz\r\n" + body),
        "a long extension": with_head(chunked, b"%x;%b\r\n" % (size, b"a" * 100_000)),
        "an unknown coding": with_head("Transfer-Encoding: chunky\r\n", chunk),
        "chunked not last": with_head("Transfer-Encoding: chunked, gzip\r\n", chunk),
        "hidden coding": with_head("Transfer-Encoding : chunked\r\n", chunk + b"0\r\n\r\n"),
        "no length": with_head("", b""),
        "a folded header": with_head(f"Content-Length:\r\n {size}\r\n", b""),
        "a bare line feed": b"POST " + path.encode() + b" HTTP/1.1\nHost: x\n\n" + body,
        "NUL in a header": with_head(f"X-A: a\0b\r\nContent-Length: {size}\r\n", body),
        "HTTP/9.9": with_head(f"Content-Length: {size}\r\n", body, "9.9"),
        "no version": f"POST {path}\r\n\r\n".encode() + body,
        "octets": bytes(range(256)) * 8,
        "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
        "a huge header": with_head(f"X-A: {'a' * 200_000}\r\n", b""),
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    }


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_framing_tricks_sign_nothing(service) -> None:
    async def scenario(api) -> None:
        known = await ids(api)
        balance, log = await api.left(), (await api.get("/v1/signatures")).json()
        async with listening(api) as (connect, _server, _hot):
            for endpoint in ENDPOINTS:
                base = {**endpoint.base, **{k: v for k, v in known.items() if k in endpoint.base}}
                body = json.dumps(base).encode()
                head = (
                    f"Authorization: Bearer {api.token}\r\nIdempotency-Key: framing\r\n"
                    "Content-Type: application/json\r\n"
                )
                for label, octets in framings(endpoint.path, head, body).items():
                    line = await connect()
                    line.writer.write(octets)
                    line.writer.write_eof()
                    answer = await line.reader.read()
                    status = answer.split(b" ", 2)[1:2]
                    assert not status or status[0][:1] == b"4", (endpoint.path, label, answer[:300])
            line = await connect()
            whole = post("/healthz", b"").replace(b"POST", b"GET")
            assert (await line.ask(whole))[0] == 200  # the server is as well as before
        assert await api.left() == balance
        assert (await api.get("/v1/signatures")).json() == log

    service(scenario)
