"""HTTP/1.1 for the hot endpoints: from uvicorn's parser to their handlers and back.

Everything that is not an ordinary POST to one of them takes uvicorn's own way to the ASGI
application, which has the same endpoints. Head and body of an answer are one write in both ways: a
system call and a packet less for each request.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hashseal_server.web.hot import LIMIT, Asked, Hot, Reply, headers_of
from hashseal_server.web.problems import Scope

_END_OF_HEAD = b"\r\n\r\n"
_STATUS = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus}


class _Joining:
    """A transport that holds a head back until its body comes, or the loop's next turn."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held = b""

    def write(self, octets: bytes) -> None:
        """See `asyncio.Transport.write`."""
        if self._held:
            octets, self._held = self._held + octets, b""
        elif octets.endswith(_END_OF_HEAD):
            self._held = octets
            self._loop.call_soon(self._release)
            return
        self._transport.write(octets)

    def close(self) -> None:
        """See `asyncio.Transport.close`; what was written is sent first."""
        self._release()
        self._transport.close()

    def _release(self) -> None:
        if self._held:
            octets, self._held = self._held, b""
            self._transport.write(octets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Unheard:
    """Stands for the event by which uvicorn wakes a reader of the body."""

    def set(self) -> None:
        """Nobody waits: the body is there before anybody is asked."""


class _Exchange:
    """One request to a hot endpoint; what uvicorn's protocol looks at has the names it knows."""

    __slots__ = ("body", "disconnected", "keep_alive", "path", "response_complete")
    message_event = _Unheard()

    def __init__(self, path: str, *, keep_alive: bool) -> None:
        self.path = path
        self.body = b""
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False


class HotProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with a short way to the hot endpoints."""

    def __init__(self, hot: Hot, **given: Any) -> None:
        super().__init__(**given)
        self._hot = hot
        self._paths = {path.encode(): path for path in hot.handlers}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol.connection_made`."""
        super().connection_made(_Joining(transport))  # type: ignore[arg-type]
        self._plain_transport = transport

    def on_message_begin(self) -> None:
        """A request comes; its scope is made when it is known to need one."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Its head is there."""
        path = self._paths.get(self.url)
        if path is not None and self._is_ordinary():
            self.cycle = _Exchange(path, keep_alive=self.parser.should_keep_alive())  # type: ignore[assignment]
            return
        url, headers, expected = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expected
        self.headers.extend(headers)
        super().on_headers_complete()

    def _is_ordinary(self) -> bool:
        """Nothing is under way on the connection, and nothing unusual is asked for."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
        )

    def on_body(self, body: bytes) -> None:
        """A piece of the body; of one that is too long no more than it takes to say so."""
        exchange: Any = self.cycle
        if type(exchange) is not _Exchange:
            super().on_body(body)
        elif len(exchange.body) <= LIMIT:
            exchange.body = exchange.body + body if exchange.body else body

    def on_message_complete(self) -> None:
        """The request is there: it is answered."""
        exchange: Any = self.cycle
        if type(exchange) is not _Exchange:
            super().on_message_complete()
            return
        scope: Scope = {"state": {}, "client": self.client}
        asked = Asked(exchange.path, "POST", headers_of(self.headers), exchange.body, scope)
        task = self.loop.create_task(self._answer(exchange, asked))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)  # a server that ends waits for these

    async def _answer(self, exchange: _Exchange, asked: Asked) -> None:
        try:
            reply = await self._hot.observed(asked)
            if self.flow.write_paused and not exchange.disconnected:
                await self.flow.drain()
        except BaseException:
            self._plain_transport.close()
            raise
        if exchange.disconnected:
            return
        self._plain_transport.write(_encoded(reply, keep_alive=exchange.keep_alive))
        exchange.response_complete = True
        if not exchange.keep_alive:
            self._plain_transport.close()
        self.on_response_complete()


def _encoded(reply: Reply, *, keep_alive: bool) -> bytes:
    head = b"%bcontent-type: %b\r\ncontent-length: %d\r\n" % (
        _STATUS[reply.status],
        reply.media_type.encode(),
        len(reply.body),
    )
    lines = [b"%b: %b\r\n" % header for header in reply.headers]
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    return b"".join((head, *lines, b"\r\n", reply.body))
