"""A service sandbox and a gateway in one process, joined by a wire that tests can listen to and cut.

Nothing in between is a stand-in: the gateway speaks HTTP to the service over ASGI, its durable jobs
run, and its files are read in processes of its own.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import leaking
import one_executor
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hashseal.sandbox import _Bridge
from hashseal_gateway.main import Gateway, gateway
from hashseal_gateway.settings import Settings
from hashseal_gateway.users.model import Role
from hashseal_gateway.web.observing import logger
from hashseal_server.sandbox import Sandbox, sandbox

Change = Callable[[httpx2.Request, bytes], tuple[int, bytes] | None]
SIGN = "/v1/documents/sign"


class Wire(httpx2.AsyncBaseTransport):
    """Between gateway and service: what passes is kept; `change` may give another answer."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner
        self.traffic: list[bytes] = []
        self.calls: list[tuple[str, bytes]] = []
        self.down = False
        self.delay = 0.0
        self.change: Change | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        line = f"{request.method} {request.url} {dict(request.headers)!r}".encode()
        self.traffic += [line, body]
        self.calls.append((request.url.path, body))
        if self.down:
            raise httpx2.ConnectError("nobody is there")
        if self.delay:
            await asyncio.sleep(self.delay)
        answer = await self._inner.handle_async_request(
            httpx2.Request(request.method, request.url, headers=request.headers, content=body)
        )
        octets = await answer.aread()
        self.traffic.append(octets)
        changed = self.change(request, octets) if self.change else None
        status, octets = changed or (answer.status_code, octets)
        headers = {"content-type": answer.headers.get("content-type", "")}
        return httpx2.Response(status, headers=headers, content=octets)

    def count(self, path: str = SIGN) -> int:
        return sum(one == path for one, _ in self.calls)


@dataclass
class Premises:
    """Both, running; `keys` by role."""

    folder: Path
    service: Sandbox
    gateway: Gateway
    wire: Wire
    anchor: Path
    keys: dict[str, str]
    log: io.StringIO
    app: Any
    loop: asyncio.AbstractEventLoop
    executor: Any = None
    clients: list[httpx2.Client] = field(default_factory=list)
    watch: leaking.Watch = field(default_factory=leaking.Watch)

    def client(self, role: str = "operator", key: str | None = None) -> httpx2.Client:
        """A caller of the gateway with the key of this role."""
        made = httpx2.Client(
            transport=_Bridge(self.app, self.loop),
            base_url="http://gateway",
            headers={"Authorization": f"Bearer {key or self.keys[role]}"},
            timeout=120,
            event_hooks={"response": [self.watch.heard]},
        )
        self.clients.append(made)
        return made

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Something on the loop of both."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    def left(self) -> int:
        """Calls that the account has left."""
        balance = self.do(self.gateway.service.account()).balance
        return int(balance.free + balance.paid)

    def leaks(self, watch: leaking.Watch) -> list[str]:
        """Secrets that were left where none may be (I20), on either side of the wire."""
        office, figures = self.gateway.office, self.app._figures.render()
        found = self.do(
            leaking.looked_at(
                office.folder.path, office.database, self.log.getvalue(), watch, figures=figures
            )
        )
        return watch.leaks({**found, "service": leaking.files(self.folder / "service")})

    def places(self) -> set[str]:
        """Folders of documents that are there now."""
        return {one.name for one in (self.folder / "gateway" / "documents").iterdir()}

    def strays(self) -> set[str]:
        """Folders of which no document that waits, or is kept, knows."""
        kept = self.do(self.gateway.document_store.with_files())
        return self.places() - {one.id for one in kept}


@contextmanager
def premises(folder: Path, **settings: Any) -> Iterator[Premises]:
    """Start both; stop them at the end. Those that last have made way for them."""
    one_executor.take()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="premises", daemon=True)
    thread.start()
    stack = AsyncExitStack()
    try:
        started = asyncio.run_coroutine_threadsafe(_start(folder, stack, settings, loop), loop)
        made = started.result(120)
        try:
            yield made
            left = made.leaks(made.watch)
            assert not left, left
        finally:
            for client in made.clients:
                client.close()
            asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(120)
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


_lasting: list[Premises] = []


def lasting(folder: Callable[[], Path]) -> Premises:
    """Those of this process; in a new folder, if they had to make way for others."""
    if not _lasting:
        stack = ExitStack()
        _lasting.append(stack.enter_context(premises(folder(), patience_hours=1)))
        stack.callback(_lasting.clear)
        one_executor.kept_by(stack.close)
    return _lasting[0]


async def _cancel_all() -> None:
    """As `asyncio.run` does at its end: an attempt under way would keep its thread waiting for ever."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _start(
    folder: Path, stack: AsyncExitStack, changes: dict[str, Any], loop: asyncio.AbstractEventLoop
) -> Premises:
    service = await stack.enter_async_context(sandbox(folder / "service"))
    wire = Wire(httpx2.ASGITransport(service.app))  # type: ignore[arg-type]
    token, anchor = folder / "token", folder / "anchor.pem"
    token.touch(mode=0o600)
    token.write_text(service.token)
    root = x509.load_der_x509_certificate(service.trust_anchor)
    anchor.write_bytes(root.public_bytes(Encoding.PEM))
    settings = Settings(
        **{
            "data_dir": folder / "gateway",
            "service_url": "http://127.0.0.1:1",
            "service_token_file": token,
            "trust_anchors": anchor,
            **changes,
        }
    )
    opened = await stack.enter_async_context(gateway(settings, transport=wire))
    log = io.StringIO()
    executor = await stack.enter_async_context(opened.working(logger("json", "info", log)))
    keys = {}
    for role in Role:
        _, keys[role.value] = await opened.office.users.create_key(f"test {role}", role=role)
    app = opened.app(logger("json", "info", log))
    return Premises(folder, service, opened, wire, anchor, keys, log, app, loop, executor)
