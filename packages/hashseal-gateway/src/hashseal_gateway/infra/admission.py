"""How many documents are under way: more than that are refused, not queued (I22)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hashseal_core.errors import Overloaded


class Admission:
    """Places for documents, and a short queue in front of them."""

    def __init__(self, places: int, waiting: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._most = places + waiting
        self._all_places = places
        self.inside = 0

    @property
    def load(self) -> tuple[int, int]:
        """Documents under way, and documents that wait."""
        return min(self.inside, self._all_places), max(0, self.inside - self._all_places)

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """A place while the block lasts.

        Raises:
            Overloaded: all places and the queue are taken.
        """
        if self.inside >= self._most:
            raise Overloaded("the gateway has as many documents under way as it takes")
        self.inside += 1
        try:
            async with self._places:
                yield
        finally:
            self.inside -= 1
