"""The audit log is chained each second, by each worker for its own data folder."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hashseal_core.errors import HashsealError
from hashseal_server.audit import AuditLog

_SEQUENCE_SECONDS = 1.0


@asynccontextmanager
async def sequencing(audit: AuditLog) -> AsyncIterator[None]:
    """Chain audit records each second while the block runs, and once at its end."""

    async def each_second() -> None:
        while True:
            await asyncio.sleep(_SEQUENCE_SECONDS)
            with contextlib.suppress(HashsealError):  # the next round comes in a second
                await audit.sequence()

    task = asyncio.create_task(each_second())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await audit.sequence()
