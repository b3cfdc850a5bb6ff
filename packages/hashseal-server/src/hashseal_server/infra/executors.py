"""Which processes that do background work are alive: heartbeats by the database's clock.

An executor is one start of one process; its name is never used again. Whoever has not been heard of
for `STALE_SECONDS` counts as dead, and others resume its work. If it was only stopped and wakes up,
what it still does to that work is not recorded (see `hashseal_server.infra.jobs`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    String,
    Table,
    delete,
    literal_column,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import HashsealError
from hashseal_server.infra.db import Database, metadata

BEAT_SECONDS = 5.0
STALE_SECONDS = 30
_FORGOTTEN_SECONDS = 3600
# One clock for all: replicas' own clocks need not agree.
_CLOCK = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)",
    "sqlite": "CAST(strftime('%s', 'now') AS INTEGER)",
}

executors = Table(
    "executor",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("beat_at", BigInteger, nullable=False),
)


class Heart:
    """The heartbeat of this executor, and what it knows of the others'."""

    def __init__(
        self,
        database: Database,
        replica: str,
        *,
        every: float = BEAT_SECONDS,
        stale: int = STALE_SECONDS,
    ) -> None:
        self._database = database
        self._every = every
        self._stale = stale
        self._heard_at = self._steady_since = time.monotonic()
        self.executor = f"{replica}.{secrets.token_hex(6)}"

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Be alive during the block; at its end the others know at once that this one has gone.

        Raises:
            StorageUnavailable: the first beat was not recorded.
        """
        await self._beat()
        task = asyncio.create_task(self._beat_on())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            with contextlib.suppress(HashsealError):  # they will know when the beat is stale
                async with self._database.write() as connection:
                    await connection.execute(
                        delete(executors).where(executors.c.id == self.executor)
                    )

    async def others_alive(self) -> frozenset[str] | None:
        """Every executor heard of in time, this one included; None when it cannot tell.

        Who was out of touch itself calls nobody dead: after an outage of the database all are
        silent, and come back within a beat.

        Raises:
            StorageUnavailable: likewise, it cannot tell.
        """
        now = time.monotonic()
        if self._interrupted(now) or now - self._steady_since <= self._stale:
            return None
        return await alive(self._database, self._stale) | {self.executor}

    async def forget(self) -> None:
        """Remove executors that ended without a word long ago.

        Raises:
            StorageUnavailable: later, then.
        """
        async with self._database.write() as connection:
            silent = executors.c.beat_at < _ago(connection, _FORGOTTEN_SECONDS)
            await connection.execute(delete(executors).where(silent))

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            with contextlib.suppress(HashsealError):  # the gap tells
                await self._beat()

    async def _beat(self) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                text(
                    f"INSERT INTO executor (id, beat_at) VALUES (:id, {_clock(connection)}) "  # noqa: S608 - one of two constants
                    "ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at"
                ),
                {"id": self.executor},
            )
        now = time.monotonic()
        if self._interrupted(now):
            self._steady_since = now
        self._heard_at = now

    def _interrupted(self, now: float) -> bool:
        return now - self._heard_at > 2 * self._every


async def alive(database: Database, stale: int = STALE_SECONDS) -> frozenset[str]:
    """Every executor heard of within so many seconds.

    Raises:
        StorageUnavailable: nobody can tell.
    """
    async with database.read() as connection:
        heard = executors.c.beat_at >= _ago(connection, stale)
        found = await connection.execute(select(executors.c.id).where(heard))
        return frozenset(found.scalars())


def _ago(connection: AsyncConnection, seconds: int) -> ColumnElement[int]:
    return literal_column(f"{_clock(connection)} - {seconds}")


def _clock(connection: AsyncConnection) -> str:
    return _CLOCK[connection.dialect.name]
