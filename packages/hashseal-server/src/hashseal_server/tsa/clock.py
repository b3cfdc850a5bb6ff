"""The time that tokens state.

The sandbox trusts the system clock, and its certificates say TEST.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from hashseal_core.errors import TimestampUnavailable
from hashseal_core.tsp import truncate

TOLERATED_STEP = timedelta(milliseconds=500)


class MonotonicClock:
    """System time that never goes back within this process; it refuses rather than lies."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._last: datetime | None = None
        self._turn = threading.Lock()

    def read(self) -> datetime:
        """UTC with whole milliseconds, never before an earlier answer.

        Raises:
            TimestampUnavailable: the system clock has been set back; it passes by itself.
        """
        with self._turn:
            moment = truncate(self._now())
            if self._last is not None and moment < self._last:
                if self._last - moment > TOLERATED_STEP:
                    raise TimestampUnavailable("the clock has gone back")
                moment = self._last
            self._last = moment
            return moment
