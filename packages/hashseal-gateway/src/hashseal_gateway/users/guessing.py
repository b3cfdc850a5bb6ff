"""How often somebody may try to log in; arithmetic only.

A bucket (a name, or an address that tries come from) has some tries for nothing. From then on each
wrong one makes the next wait twice as long, up to a quarter of an hour: guessing becomes hopeless,
and nobody is kept out for ever. A day without a wrong try, and it begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FREE_FOR_NAME, FREE_FOR_ADDRESS = 5, 30
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(minutes=15)
FORGOTTEN_AFTER = timedelta(days=1)
_MOST_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class Tries:
    """Wrong ones in a row, when the last was, and until when none is taken."""

    failures: int
    last_at: datetime
    until: datetime | None


def waits(before: Tries | None, now: datetime) -> timedelta | None:
    """How long until a try is taken; None if one is now."""
    if before is None or before.until is None or before.until <= now:
        return None
    return min(before.until - now, LONGEST_WAIT)  # a clock that was set back locks nobody out


def after_wrong(before: Tries | None, free: int, now: datetime) -> Tries:
    """The bucket after one more wrong try."""
    failures = 0
    if before is not None and now - before.last_at < FORGOTTEN_AFTER:
        failures = before.failures
    failures += 1
    if failures < free:
        return Tries(failures, now, None)
    wait = FIRST_WAIT * 2 ** min(failures - free, _MOST_DOUBLINGS)
    return Tries(failures, now, now + min(wait, LONGEST_WAIT))
