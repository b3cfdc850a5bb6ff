"""The sandbox behind a port of the loopback interface, with everything that passes recorded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import leaking
import pytest
import uvicorn

from hashseal_server.sandbox import sandbox as open_sandbox


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the service listens, how to get in, and what it has been sent and has answered."""

    url: str
    token: str
    seals: Mapping[str, str]
    anchor_der: bytes
    folder: Path
    traffic: list[bytes] = field(default_factory=list)


def recorded(app: Any, traffic: list[bytes]) -> Any:
    """The same ASGI application; what goes in and comes out is also put into `traffic`."""

    async def recorder(scope: Any, receive: Any, send: Any) -> None:
        traffic.append(repr(scope.get("headers")).encode() + scope.get("raw_path", b""))
        traffic.append(scope.get("query_string", b""))

        async def receive_and_note() -> Any:
            message = await receive()
            traffic.append(message.get("body", b""))
            return message

        async def send_and_note(message: Any) -> None:
            traffic.append(message.get("body", b"") + repr(message.get("headers")).encode())
            await send(message)

        await app(scope, receive_and_note, send_and_note)

    return recorder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    opened: list[Listening] = []
    servers: list[uvicorn.Server] = []
    folder = tmp_path_factory.mktemp("service")

    async def serve() -> None:
        async with open_sandbox(folder) as sandbox:
            traffic: list[bytes] = []
            app = recorded(sandbox.app, traffic)
            server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off"))
            servers.append(server)
            running = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.02)
            port = server.servers[0].sockets[0].getsockname()[1]
            address = f"http://127.0.0.1:{port}"
            seals, anchor = dict(sandbox.seal_ids), bytes(sandbox.trust_anchor)
            opened.append(Listening(address, sandbox.token, seals, anchor, folder, traffic))
            await running

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not opened and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert opened, "the service did not start"
    yield opened[0]
    servers[0].should_exit = True
    thread.join(20)
    left = leaking.Watch().leaks({"files": leaking.files(folder)})
    assert not left, left
