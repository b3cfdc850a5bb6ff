"""Named points at which a test kills the process, as a power cut would.

`HASHSEAL_CRASH_POINT=name` or `name:n` arms one point: the n-th time it is passed the process gets
SIGKILL. It is not a setting: `check-config` calls the variable unknown, and nobody else reads it.
"""

from __future__ import annotations

import itertools
import os
import signal
from typing import Final, Literal

Point = Literal["asked", "signed", "locked", "recorded", "committed", "answered"]
POINTS: Final[tuple[Point, ...]] = (
    "asked",
    "signed",
    "locked",
    "recorded",
    "committed",
    "answered",
)
_name, _, _count = os.environ.get("HASHSEAL_CRASH_POINT", "").partition(":")
_remaining = itertools.count(int(_count or 1), -1)


def passing(point: Point) -> None:
    """Die here if this point is armed and its turn has come."""
    if point == _name and next(_remaining) <= 1:
        os.kill(os.getpid(), signal.SIGKILL)
