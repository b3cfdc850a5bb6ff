"""Readers that wait for the next event of their account: one look a second for all of a process.

Nobody who waits holds a database connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeAlias

from hashseal_core.errors import HashsealError, Overloaded

Ends: TypeAlias = Callable[[Collection[str]], Awaitable[Mapping[str, int]]]
"""The newest positions of accounts."""
EVERY = 1.0
_EACH, _ALL = 16, 2000


class Waiting:
    """Who waits in this process.

    Args:
        ends: the newest positions of accounts.
        every: seconds between two looks.
    """

    def __init__(self, ends: Ends, *, every: float = EVERY) -> None:
        self._ends = ends
        self._every = every
        self._readers: dict[str, dict[asyncio.Future[None], int]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._released = False

    async def beyond(self, account_id: str, position: int, seconds: float) -> None:
        """Return when the account has an event behind this position, or the time is over.

        Raises:
            Overloaded: too many wait already.
        """
        if self._released or seconds <= 0:
            return
        if len(self._readers.get(account_id, ())) >= _EACH or (
            sum(map(len, self._readers.values())) >= _ALL
        ):
            raise Overloaded("too many readers wait for events")
        own = self._readers.setdefault(account_id, {})
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        own[future] = position
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait([future], timeout=seconds)
        finally:
            own.pop(future, None)
            if not own:
                self._readers.pop(account_id, None)

    def release(self) -> None:
        """Let everybody go, and let nobody wait from now on: the process is to end."""
        self._released = True
        for waiting in self._readers.values():
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def _look(self) -> None:
        while self._readers:
            await asyncio.sleep(self._every)
            try:
                ends = await self._ends(list(self._readers))
            except HashsealError:
                continue  # the next look comes in a second; those who wait ask again themselves
            for account_id, waiting in list(self._readers.items()):
                for future, position in waiting.items():
                    if ends.get(account_id, 0) > position and not future.done():
                        future.set_result(None)
