"""The service on a port of the loopback interface, as an operator runs it, in a thread of the test.

Its certificates name this very address, so that clients find OCSP, lists and issuers by themselves.
"""

from __future__ import annotations

import asyncio
import functools
import io
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import leaking
import uvicorn

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.accounts.token_model import read_terms
from hashseal_server.main import Operator, operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.sequencing import sequencing
from hashseal_server.settings import Settings
from hashseal_server.web.observing import logger
from hashseal_server.web.protocol import HotProtocol

SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
CALLS = 200_000
"""Bought in advance, so that no test runs dry."""


@dataclass(slots=True)
class Loopback:
    """Where it listens, and one account with a token, an order and a seal for each algorithm."""

    url: str
    folder: Path
    account: str
    token: str
    order: str
    seals: Mapping[str, str]
    anchor_der: bytes
    operator: Operator
    loop: asyncio.AbstractEventLoop
    log: io.StringIO = field(default_factory=io.StringIO)

    def run(self, coroutine: Any, seconds: float = 60) -> Any:
        """What an operator's coroutine gives, run where the service runs."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)


@contextmanager
def loopback(
    folder: Path, algorithms: tuple[KeyAlgorithm, ...] = (KeyAlgorithm.P256,), **changes: Any
) -> Iterator[Loopback]:
    """The service while the block runs; `changes` are settings."""
    opened: list[Loopback] = []
    failed: list[BaseException] = []
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = Settings(
        **{"data_dir": folder, "public_url": url, "requests_per_minute": 0, **changes}
    )
    ends = threading.Event()

    async def serve() -> None:
        async with operator(settings) as found:
            made = await _prepared(found, url, folder, algorithms)
            app = await found.app(logger("json", "info", made.log))
            config = uvicorn.Config(
                app.asgi,
                log_level="error",
                access_log=False,
                server_header=False,
                http=functools.partial(HotProtocol, app.hot),
                ws="none",
                lifespan="off",
            )
            server = uvicorn.Server(config)
            async with sequencing(found.audit):
                running = asyncio.create_task(server._serve([listener]))
                while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.02)
                opened.append(made)
                await asyncio.to_thread(ends.wait)
                server.should_exit = True
                await running
            seen = leaking.Watch({made.token.encode(): "the token"})
            found_secrets = seen.leaks(await leaking.places(found, made.log.getvalue(), seen))
            assert not found_secrets, found_secrets

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not opened and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert opened, f"the service did not start: {failed}"
    try:
        yield opened[0]
    finally:
        ends.set()
        thread.join(60)
        listener.close()
    assert not failed, failed


async def _prepared(
    found: Operator, url: str, folder: Path, algorithms: tuple[KeyAlgorithm, ...]
) -> Loopback:
    await found.initialise()
    account = await found.accounts.create("Test Organisation")
    everything = read_terms(scopes=["sign", "read", "manage"])
    token = await found.accounts.create_token(account.id, everything)
    order = await found.accounts.record_order(account.id, CALLS)
    book = await found.seals()
    seals = {
        one.value: (await book.create(account.id, SUBJECT, kind="official", algorithm=one)).id
        for one in algorithms
    }
    return Loopback(
        url=url,
        folder=folder,
        account=account.id,
        token=token.text,
        order=order.id,
        seals=seals,
        anchor_der=await found.authority.trust_anchor(),
        operator=found,
        loop=asyncio.get_running_loop(),
    )
