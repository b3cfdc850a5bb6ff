"""Who may work now: how much is under way is bounded, and no account can keep the others out.

A call begins at once while there is room; else it waits in its account's own queue, and the queues
are served in turn. One account never fills all places. What does not fit is refused at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from hashseal_core.errors import Overloaded


class Admission:
    """Places of one process.

    Args:
        running: calls under way at once; `running_each` of one owner.
        waiting: calls that wait at once; `waiting_each` of one owner.
    """

    def __init__(
        self,
        *,
        running: int = 64,
        running_each: int = 48,
        waiting: int = 96,
        waiting_each: int = 64,
    ) -> None:
        self._places = running
        self._places_each = running_each
        self._waiting_limit = waiting
        self._waiting_each = waiting_each
        self._running: Counter[str] = Counter()
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def running(self) -> int:
        """Calls under way."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return sum(len(queue) for queue in self._queues.values())

    def admitted(self, owner: str) -> _Place:
        """A place for the block of an `async with`.

        Raises:
            Overloaded: too many wait already.
        """
        return _Place(self, owner)

    def require_chance(self, owner: str | None) -> None:
        """Make sure that a caller would not be refused now; `owner` None is somebody unknown.

        It spares a call that cannot be taken all that comes before it is admitted.

        Raises:
            Overloaded: too many wait already.
        """
        if owner is None:
            if self.waiting >= self._waiting_limit:
                raise Overloaded("too many calls wait already")
        elif owner in self._queues or not self._fits(owner):
            self._require_room(owner)

    def _require_room(self, owner: str) -> None:
        queued = len(self._queues.get(owner, ()))
        queues = len(self._queues) + (owner not in self._queues)
        if self.waiting >= self._waiting_limit or queued >= self._waiting_each:
            raise Overloaded("too many calls wait already")
        if queued * queues >= self._waiting_limit:
            # Queues are served in turn, so the last of a long one would wait far longer than all
            # that is before it in time: each has its share of the room.
            raise Overloaded("too many calls of this account wait already")

    async def enter(self, owner: str) -> None:
        """Take a place, or wait for one; see `admitted`."""
        # Whoever waits while there is room waits for a place of its own account.
        if owner not in self._queues and self._fits(owner):
            self._running[owner] += 1
            return
        self._require_room(owner)
        queue = self._queues.setdefault(owner, deque())
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._forget(owner, place)
            else:
                self.leave(owner)  # it was given a place just now
            raise

    def _fits(self, owner: str) -> bool:
        return self.running < self._places and self._running[owner] < self._places_each

    def leave(self, owner: str) -> None:
        """Give a place back."""
        self._running[owner] -= 1
        if not self._running[owner]:
            del self._running[owner]
        self._give()

    def _give(self) -> None:
        """Give free places to those who wait, one queue after the other."""
        while owner := next((one for one in self._queues if self._fits(one)), None):
            queue = self._queues.pop(owner)
            place = queue.popleft()
            if queue:
                self._queues[owner] = queue  # to the end: it is the others' turn
            if not place.done():  # else its caller has gone, and does not know it yet
                self._running[owner] += 1
                place.set_result(None)

    def _forget(self, owner: str, place: asyncio.Future[None]) -> None:
        queue = self._queues.get(owner, deque())
        if place in queue:
            queue.remove(place)
            if not queue:
                del self._queues[owner]


class _Place:
    __slots__ = ("_admission", "_owner")

    def __init__(self, admission: Admission, owner: str) -> None:
        self._admission, self._owner = admission, owner

    async def __aenter__(self) -> None:
        await self._admission.enter(self._owner)

    async def __aexit__(self, *_raised: object) -> None:
        self._admission.leave(self._owner)
