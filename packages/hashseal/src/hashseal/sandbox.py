"""The whole signing service in this process: SQLite, test authority, no port, no network.

The client speaks HTTP to it over ASGI, exactly as it would to a service far away.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hashseal.client.http import Client
from hashseal.folders import sandbox_anchor, sandbox_folder
from hashseal_server import sandbox as service

URL = "http://sandbox"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox; `seal_ids` by key algorithm, `trust_anchor` PEM."""

    client: Client
    token: str
    seal_ids: Mapping[str, str]
    trust_anchor: bytes


ASGIApp = Callable[..., Coroutine[Any, Any, None]]


class _Bridge(httpx2.BaseTransport):
    """Hands synchronous requests to the ASGI application in its loop."""

    def __init__(self, app: ASGIApp, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = httpx2.ASGITransport(app)
        self._loop = loop

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request, there and back."""
        return asyncio.run_coroutine_threadsafe(self._handle(request), self._loop).result()

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        asked = httpx2.Request(
            request.method, request.url, headers=request.headers, content=request.read()
        )
        answer = await self._inner.handle_async_request(asked)
        return httpx2.Response(
            answer.status_code, headers=answer.headers, content=await answer.aread()
        )


@contextmanager
def running(folder: Path | None = None) -> Iterator[Sandbox]:
    """Start the sandbox; stop it at the end of the block.

    Raises:
        OutputRefused: the data folder cannot be used.
    """
    place = folder or sandbox_folder()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
    thread.start()
    opened = service.sandbox(place)
    try:
        inside = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result()
        root = x509.load_der_x509_certificate(inside.trust_anchor).public_bytes(Encoding.PEM)
        sandbox_anchor(place).write_bytes(root)
        try:
            with Client(URL, inside.token, transport=_Bridge(inside.app, loop)) as client:
                yield Sandbox(client, inside.token, inside.seal_ids, root)
        finally:
            asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
