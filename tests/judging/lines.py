"""Connections that send octets as they are, to the application behind its own protocol."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import uvicorn

from hashseal_server.web.hot import Hot
from hashseal_server.web.observing import logger
from hashseal_server.web.protocol import HotProtocol


class Line:
    """One connection that sends octets as they are and reads answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split()[1]), headers, body

    async def ask(self, octets: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(octets)
        return await self.answer()

    async def ended(self) -> bool:
        return await self.reader.read() == b""


def post(path: str, body: bytes, headers: str = "", version: str = "1.1") -> bytes:
    head = f"POST {path} HTTP/{version}\r\nHost: x\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


@asynccontextmanager
async def listening(
    api,
) -> AsyncIterator[tuple[Callable[[], Awaitable[Line]], uvicorn.Server, Hot]]:
    """The application behind the protocol, on a port of its own."""
    app = await api.operator.app(logger("json", "info", api.log))
    config = uvicorn.Config(
        app.asgi, log_level="error", server_header=False, date_header=False,
        http=functools.partial(HotProtocol, app.hot), ws="none", lifespan="off",
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        task = asyncio.create_task(server._serve([listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)

        lines: list[Line] = []

        async def connect() -> Line:
            lines.append(Line(*await asyncio.open_connection("127.0.0.1", port)))
            return lines[-1]

        try:
            yield connect, server, app.hot
        finally:
            for line in lines:
                line.writer.close()
            server.should_exit = True
            await task
