"""Serving on a port until a signal, with the work on documents that wait."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import uvicorn
import uvloop

from hashseal_gateway.infra.data_folder import alone
from hashseal_gateway.main import gateway
from hashseal_gateway.settings import Settings
from hashseal_gateway.web.observing import logger

_DRAIN_SECONDS = 30


class _Server(uvicorn.Server):
    """Ends on a signal without sending it to itself again, so that the rest is closed too."""

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


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; calls under way are finished first.

    Raises:
        ConfigurationInvalid: a setting is missing or wrong, or the data folder is in use.
        OutputRefused, StorageUnavailable: the gateway cannot begin.
    """
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    log = logger(settings.log_format, "info")
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(gateway(settings))
        stack.enter_context(alone(settings.data_dir, "run"))
        await stack.enter_async_context(opened.working(log))
        config = uvicorn.Config(
            opened.app(log),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        await _Server(config).serve()
