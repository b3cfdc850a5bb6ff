"""Serving on a port until a signal, with the background work of this replica."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
import uvloop

from hashseal_server.callers import noting
from hashseal_server.main import operator
from hashseal_server.sequencing import sequencing
from hashseal_server.settings import Settings
from hashseal_server.web.observing import logger
from hashseal_server.web.protocol import HotProtocol

_DRAIN_SECONDS = 30
_COLLECT_AFTER = 20_000
"""Objects made and not yet freed until young ones are looked through; calls leave few cycles."""


class _Server(uvicorn.Server):
    """Ends on a signal without sending it to itself again, so that the rest is closed too.

    `release` lets those go who wait for something to happen: they would hold the end up.
    """

    def __init__(self, config: uvicorn.Config, release: Callable[[], None]) -> None:
        super().__init__(config)
        self._release = release

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`."""
        super().handle_exit(sig, frame)
        self._release()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def run(settings: Settings, host: str, port: int, listening: socket.socket | None = None) -> None:
    """`serve` on an event loop of libuv.

    Raises:
        ConfigurationInvalid: the service has not been initialised, or cannot serve rightly.
    """
    uvloop.run(serve(settings, host, port, listening))


async def serve(
    settings: Settings, host: str, port: int, listening: socket.socket | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; calls under way are finished first.

    `listening` is a socket that other processes may share; without it one is made.

    Raises:
        ConfigurationInvalid: the service has not been initialised, or cannot serve rightly.
    """
    async with operator(settings, migrate=settings.database_url is None) as opened:
        log = logger(settings.log_format, "info")
        for finding in await opened.check():
            log.error("start", finding=finding)
        app = await opened.app(log)
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER, 20, 20)
        protocol: Any = functools.partial(HotProtocol, app.hot)
        config = uvicorn.Config(
            app.asgi,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,  # `hashseal_server.accounts.networks` knows whom to trust
            http=protocol,
            ws="none",
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(noting(opened.accounts))
            if "worker" in settings.roles:
                await stack.enter_async_context(sequencing(opened.audit))
                await stack.enter_async_context(opened.upkeep(log))
            await _Server(config, opened.notifying.waiting.release).serve(
                [listening] if listening else None
            )
