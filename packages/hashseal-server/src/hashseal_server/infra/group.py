"""Group commit: what arrives while a commit is under way shares the next one.

An item is answered only after the commit that holds it. How many items wait is bounded; one more is
refused at once. No timer is involved: an idle group commits a lone item immediately.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from hashseal_core.errors import HashsealError, Internal, Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")


class Group(Generic[Item, Result]):
    """One committer of one process.

    `commit` gets up to `limit` items and returns one outcome each, in order; an error it returns is
    that item's alone, an error it raises is everybody's.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Item]], Awaitable[Sequence[Result | HashsealError]]],
        *,
        limit: int = 128,
        waiting: int = 4096,
    ) -> None:
        self._commit = commit
        self._limit = limit
        self._waiting = waiting
        self._queue: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """The item's outcome, after its commit.

        A caller that goes away before its group begins takes its item with it; later the item is
        committed whether anybody still waits or not.

        Raises:
            Overloaded: too many wait already.
            HashsealError: this item was refused.
        """
        if len(self._queue) >= self._waiting:
            raise Overloaded("too many calls wait to be recorded")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await future

    @property
    def depth(self) -> int:
        """How many items wait."""
        return len(self._queue)

    async def _run(self) -> None:
        while self._queue:
            taken = [self._queue.popleft() for _ in range(min(self._limit, len(self._queue)))]
            taken = [(item, future) for item, future in taken if not future.done()]
            if not taken:
                continue
            outcomes: Sequence[Result | HashsealError]
            try:
                outcomes = await self._commit([item for item, _ in taken])
            except HashsealError as error:
                outcomes = [error] * len(taken)
            except Exception as error:  # noqa: BLE001 - the runner outlives whatever happens
                internal = Internal("the group could not be recorded")
                internal.__cause__ = error
                outcomes = [internal] * len(taken)
            for (_, future), outcome in zip(taken, outcomes, strict=True):
                if future.done():
                    continue
                if isinstance(outcome, HashsealError):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
