"""An HTTP proxy of a test's own between gateway and service, on loopback: real sockets, real octets.

It keeps what passes, and may hold, change, cut or mix up answers, or not be there at all.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from ports import free_port

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Message:
    """A request or an answer as it came; `head` with the empty line behind it."""

    head: bytes
    body: bytes

    @property
    def path(self) -> str:
        """Of a request."""
        return self.head.split(b" ", 2)[1].decode()

    @property
    def octets(self) -> bytes:
        return self.head + self.body

    def with_body(self, body: bytes) -> bytes:
        """The same with another body, and the length that it has."""
        return _LENGTH.sub(b"\r\ncontent-length: %d" % len(body), self.head) + body


Change = Callable[[Message, Message], Awaitable[bytes]]
"""Of request and answer: the octets that are sent instead; the connection ends behind them if they
are fewer than they say."""


class GoBetween:
    """What stands between; `token` is the service's, so that it looks like the service."""

    def __init__(self, url: str, token: str) -> None:
        place = urlsplit(url)
        self._there = str(place.hostname), int(place.port or 80)
        self.token = token
        self.traffic: list[bytes] = []
        self.change: Change | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = free_port()
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listen, at the same port as before."""

        async def listen() -> None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result(20)

    def down(self) -> None:
        """Nobody listens, and open connections end."""

        async def close() -> None:
            if self._server is not None:
                self._server.close()
            for writer in list(self._open):
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(20)

    def close(self) -> None:
        """For good."""
        self.down()
        tasks = asyncio.run_coroutine_threadsafe(_ended(), self._loop)
        tasks.result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                request = await _message(reader)
                answer = await self._ask(request)
                octets = answer.octets
                if self.change is not None:
                    octets = await self.change(request, answer)
                writer.write(octets)
                await writer.drain()
                if not _whole(octets):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass  # one of the two has gone
        finally:
            self._open.discard(writer)
            writer.close()

    async def _ask(self, request: Message) -> Message:
        reader, writer = await asyncio.open_connection(*self._there, limit=1 << 20)
        try:
            self.traffic.append(request.octets)
            writer.write(request.octets)
            answer = await _message(reader)
            self.traffic.append(answer.octets)
        finally:
            writer.close()
        return answer


async def _ended() -> None:
    """Whatever is still under way on this loop ends."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for one in others:
        one.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _message(reader: asyncio.StreamReader) -> Message:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return Message(head, await reader.readexactly(int(length[1])) if length else b"")


def _whole(octets: bytes) -> bool:
    head, _, body = octets.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return len(body) >= (int(length[1]) if length else 0)


@contextmanager
def between(url: str, token: str) -> Iterator[GoBetween]:
    """One for the length of a block."""
    made = GoBetween(url, token)
    try:
        yield made
    finally:
        made.close()
