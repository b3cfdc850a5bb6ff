"""Requests a minute of one token, counted in the shared database: exact over all replicas.

A replica takes permits in blocks, so that few requests touch the database. What it has not used
when the minute ends is lost; the limit is never exceeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import BigInteger, Column, Integer, String, Table, delete, select, text

from hashseal_core.errors import RateLimited
from hashseal_server.infra.db import Database, metadata

_MINUTE = 60
_BLOCKS = 64
_TAKE = text("""
    INSERT INTO rate_window (caller, minute, used) VALUES (:caller, :minute, :count)
    ON CONFLICT (caller) DO UPDATE SET
        used = CASE WHEN rate_window.minute < excluded.minute THEN excluded.used
               ELSE rate_window.used + excluded.used END,
        minute = CASE WHEN rate_window.minute < excluded.minute THEN excluded.minute
                 ELSE rate_window.minute END
    WHERE rate_window.minute < excluded.minute OR rate_window.used + excluded.used <= :most
    RETURNING used
""")

windows = Table(
    "rate_window",
    metadata,
    Column("caller", String(40), primary_key=True),
    Column("minute", BigInteger, nullable=False),
    Column("used", Integer, nullable=False),
)


class Rates:
    """The limit of each caller, as one replica sees it; 0 is no limit."""

    def __init__(self, database: Database, limit: int, now: Callable[[], datetime]) -> None:
        self._database = database
        self._limit = limit
        self._now = now
        self._minute = 0
        self._permits: dict[str, int] = {}
        self._taking: dict[str, asyncio.Lock] = {}

    async def spend(self, caller: str) -> None:
        """Count one request.

        Raises:
            RateLimited: the limit of this minute is reached.
        """
        if not self._limit:
            return
        seconds = int(self._now().timestamp())
        minute = seconds // _MINUTE
        if minute != self._minute:
            self._minute = minute
            self._permits.clear()
            self._taking.clear()
        if not self._permits.get(caller):
            async with self._taking.setdefault(caller, asyncio.Lock()):
                if not self._permits.get(caller):
                    await self._take_some(caller, minute, _MINUTE - seconds % _MINUTE)
        self._permits[caller] -= 1

    async def _take_some(self, caller: str, minute: int, rest: int) -> None:
        block = max(1, self._limit // _BLOCKS)
        taken = await self._take(caller, minute, block) or await self._take(caller, minute, 1)
        if not taken:
            raise RateLimited(
                f"more than {self._limit} requests in a minute", limit=self._limit, seconds=rest
            )
        self._permits[caller] = taken

    async def _take(self, caller: str, minute: int, count: int) -> int:
        values = {"caller": caller, "minute": minute, "count": count, "most": self._limit}
        async with self._database.write() as connection:
            row = (await connection.execute(_TAKE, values)).first()
        return count if row is not None else 0


async def forget(database: Database, *, before: datetime, limit: int) -> int:
    """Remove up to `limit` windows of minutes that have passed; how many there were.

    Raises:
        StorageUnavailable: nothing was removed.
    """
    passed = windows.c.minute < int(before.timestamp()) // _MINUTE
    old = select(windows.c.caller).where(passed).limit(limit)
    async with database.write() as connection:
        # Asked again for the row as it is now: its caller may just have come back.
        done = await connection.execute(delete(windows).where(windows.c.caller.in_(old), passed))
        return done.rowcount
