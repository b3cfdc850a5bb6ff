"""How much of something that is dear one process does in a second; the rest is refused at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from hashseal_core.errors import Overloaded

_BURST_SECONDS = 2


class Allowance:
    """`per_second` on average, and what was not used of two seconds at once.

    Args:
        per_second: at least 1.
        clock: seconds that never go back.
    """

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._most = float(_BURST_SECONDS * per_second)
        self._clock = clock
        self._left = self._most
        self._seen_at = clock()

    def spend(self) -> None:
        """Take one.

        Raises:
            Overloaded: nothing is left of this moment.
        """
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._seen_at) * self._rate)
        self._seen_at = now
        if self._left < 1:
            raise Overloaded("more than this process does in a second")
        self._left -= 1
