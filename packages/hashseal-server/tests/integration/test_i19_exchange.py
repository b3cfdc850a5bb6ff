"""I19: what is taken from a configured address, and how long it may take."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from pathlib import Path

import pytest
from canary import WATCH
from fetching import LOOPBACK, fetch
from serving import say, served
from tls import Authority

from hashseal_core.errors import ConfigurationInvalid, OutboundFailed, OutboundRefused
from hashseal_server.infra.outbound import Answer, Outbound


@pytest.mark.parametrize("status", [201, 204, 206, 400, 401, 404, 429, 500, 503])
def test_only_200_is_an_answer(status: int) -> None:
    with served(lambda handler: say(handler, status, b"")) as port:  # noqa: SIM117
        with pytest.raises(OutboundFailed, match=str(status)):
            fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK)


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, str, dict[str, str], bytes]] = []

    def hear(handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("Content-Length", "0"))
        heard.append(
            (handler.command, handler.path, dict(handler.headers), handler.rfile.read(size))
        )
        say(handler, 200, b"answer", Content_Type="Text/Plain; charset=utf-8")

    async def run(port: int) -> None:
        outbound = Outbound(allowed=LOOPBACK)
        url = f"http://localhost:{port}/a%20b/?x=1"
        got = await outbound.get(url, largest=6, accept="text/plain", headers={"X-More": "1"})
        sent = await outbound.post(url, b"body", media_type="application/x", largest=6)
        await outbound.close()
        assert got == sent == Answer(200, "text/plain", b"answer")

    with served(hear) as port:
        asyncio.run(run(port))
    plain = {"Host": f"localhost:{port}", "User-Agent": "hashseal", "Accept-Encoding": "identity"}
    assert heard == [
        ("GET", "/a%20b/?x=1", {**plain, "Accept": "text/plain", "X-More": "1"}, b""),
        (
            "POST",
            "/a%20b/?x=1",
            {**plain, "Accept": "*/*", "Content-Type": "application/x", "Content-Length": "4"},
            b"body",
        ),
    ]


def test_a_body_is_taken_up_to_its_limit() -> None:
    with served(lambda handler: say(handler, 200, b"x" * 100)) as port:
        url = f"http://127.0.0.1:{port}/"
        assert fetch(url, allowed=LOOPBACK, largest=100).body == b"x" * 100
        with pytest.raises(OutboundFailed, match="more than 99 octets"):
            fetch(url, allowed=LOOPBACK, largest=99)


def test_a_body_without_end_is_cut_off() -> None:
    sent = threading.Event()

    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(10_000):
                handler.wfile.write(bytes(65_536))
        except OSError:
            sent.set()

    with served(pour) as port:
        with pytest.raises(OutboundFailed, match="more than 1000 octets"):
            fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK)
        assert sent.wait(10), "the server could pour all of it out"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "br", "zstd", "identity, gzip"])
def test_a_compressed_body_is_not_unpacked(encoding: str) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    with served(lambda handler: say(handler, 200, bomb, Content_Encoding=encoding)) as port:  # noqa: SIM117
        with pytest.raises(OutboundFailed, match="compressed"):
            fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK, largest=100_000)


@pytest.mark.parametrize("where", ["headers", "body"])
def test_the_time_counts_to_the_last_octet(where: str) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        if where == "body":
            handler.send_response(200)
            handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    with served(drip) as port:
        begin = time.monotonic()
        with pytest.raises(OutboundFailed, match="in time"):
            fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK, total_seconds=0.3)
        assert time.monotonic() - begin < 3


def test_a_slow_resolver_counts_too() -> None:
    def slow(_host: str) -> Sequence[str]:
        time.sleep(1)
        return ["127.0.0.1"]

    with pytest.raises(OutboundFailed, match="in time"):
        fetch("http://tsa.example.com/", resolve=slow, connect_seconds=0.1)


@contextmanager
def hanging(port: int, *hosts: str) -> Iterator[None]:
    """At this port of these addresses connections are neither made nor refused."""
    with ExitStack() as stack:
        for host in hosts:
            listening = stack.enter_context(socket.socket())
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(0)
            for _ in range(4):  # its queue is full: the kernel drops what comes after
                caller = stack.enter_context(socket.socket())
                caller.setblocking(False)
                caller.connect_ex((host, port))
        yield


def test_an_address_that_hangs_is_passed_over_soon() -> None:
    """The next one is tried beside it, checked and pinned like it, within the same limit (I19)."""
    hosts = ("127.0.0.3", "127.0.0.4")
    with served(lambda handler: say(handler, 200, b"here")) as port, hanging(port, *hosts):
        url, names = f"http://tsa.example.com:{port}/", [*hosts, "127.0.0.1"]
        begin = time.monotonic()
        with WATCH.watching() as seen:
            answer = fetch(url, allowed=LOOPBACK, resolve=lambda _host: names)
            assert seen.connections == [(one, port) for one in names]
            assert seen.names == []
        assert answer.body == b"here"
        assert 0.45 < time.monotonic() - begin < 6
        # Whoever answers at once is not asked beside others.
        with WATCH.watching() as seen:
            fetch(url, allowed=LOOPBACK, resolve=lambda _host: names[::-1])
            assert seen.connections == [("127.0.0.1", port)]
        # One address that may not be called: none is, however long the others take.
        with WATCH.watching() as seen:
            with pytest.raises(OutboundRefused, match=r"10\.0\.0\.1"):
                fetch(url, allowed=LOOPBACK, resolve=lambda _host: [*names, "10.0.0.1"])
            assert seen.connections == []
        begin = time.monotonic()
        with pytest.raises(OutboundFailed, match="in time"):
            fetch(url, allowed=LOOPBACK, resolve=lambda _host: hosts, connect_seconds=0.6)
        assert 0.5 < time.monotonic() - begin < 6


def test_versions_of_ip_take_turns() -> None:
    """A network whose IPv6 leads nowhere does not use up the addresses that are tried."""
    lost = [f"fd00::{number}" for number in range(1, 6)]
    with WATCH.watching() as seen:
        with pytest.raises(OutboundFailed):
            fetch(
                "http://tsa.example.com:1/",
                allowed=(*LOOPBACK, ip_network("fd00::/8")),
                resolve=lambda _host: [*lost, "127.0.0.3", "127.0.0.4"],
                connect_seconds=1,
            )
        tried = [where[0] for where in seen.connections]
    assert tried == ["fd00::1", "127.0.0.3", "fd00::2", "127.0.0.4"]


@pytest.mark.parametrize(
    "said", [b"", b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
def test_what_is_not_http_fails(said: bytes) -> None:
    with served(lambda handler: handler.connection.sendall(said)) as port:  # noqa: SIM117
        with pytest.raises(OutboundFailed, match=f"127.0.0.1:{port}"):
            fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK)


def test_tls_checks_the_name_though_the_address_is_pinned(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pinned = {"allowed": LOOPBACK, "resolve": lambda _host: ["127.0.0.1"]}
    with served(
        lambda handler: say(handler, 200, b"ok"), authority.serving("tsa.example.com")
    ) as port:
        good, other = f"https://tsa.example.com:{port}/", f"https://other.example.com:{port}/"
        assert fetch(good, **pinned, roots=authority.root).body == b"ok"
        with pytest.raises(OutboundFailed, match="not trusted: Hostname mismatch"):
            fetch(other, **pinned, roots=authority.root)
        with pytest.raises(OutboundFailed, match="not trusted: IP address mismatch"):
            fetch(f"https://127.0.0.1:{port}/", **pinned, roots=authority.root)
        with pytest.raises(OutboundFailed, match="not trusted"):  # the system does not know it
            fetch(good, **pinned)


def test_roots_that_cannot_be_read_are_a_fault_of_configuration(tmp_path: Path) -> None:
    for content in (None, b"junk"):
        if content is not None:
            (tmp_path / "roots.pem").write_bytes(content)
        with pytest.raises(ConfigurationInvalid):
            Outbound(roots=tmp_path / "roots.pem")


def test_what_authenticates_the_service_is_not_in_errors_or_logs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    with served(lambda handler: say(handler, 403, b"secret-0815")) as port:  # noqa: SIM117
        with pytest.raises(OutboundFailed) as raised:
            asyncio.run(
                Outbound(allowed=LOOPBACK).get(
                    f"http://127.0.0.1:{port}/secret-0815?secret-0815",
                    largest=10,
                    headers={"Authorization": "Bearer secret-0815"},
                )
            )
    assert "secret-0815" not in str(raised.value) + caplog.text
