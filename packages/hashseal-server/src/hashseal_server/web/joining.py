"""One write for head and body of an answer: a system call and a packet less for each request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_END_OF_HEAD = b"\r\n\r\n"


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


class JoiningProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 on such a transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol.connection_made`."""
        super().connection_made(_Joining(transport))  # type: ignore[arg-type]
