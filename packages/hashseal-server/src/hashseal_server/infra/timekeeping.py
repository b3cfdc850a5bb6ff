"""The machine's clocks, and what the kernel knows of them: what an NTP daemon leaves there (Linux).

chrony, ntpd and systemd-timesyncd discipline the kernel's clock and write offset and error bound
into it; reading them needs no right and no network (adjtimex(2), ntp_adjtime(3)).
"""

from __future__ import annotations

import ctypes
import sys
import time
from dataclasses import dataclass
from enum import StrEnum

_STA_UNSYNC, _STA_NANO, _TIME_ERROR = 0x0040, 0x2000, 5
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine is suspended, where there is such a clock."""

_INTERRUPTED, _LOOKS = 5_000_000, 10


class Leap(StrEnum):
    """Whether a second is inserted or left out at the end of this day (UTC), or just now."""

    NONE = "none"
    INSERT = "insert"
    DELETE = "delete"
    NOW = "now"


_LEAPS = {1: Leap.INSERT, 2: Leap.DELETE, 3: Leap.NOW}


@dataclass(frozen=True, slots=True)
class Reading:
    """Both clocks at one moment, nanoseconds: Unix time, and time that nobody sets."""

    wall: int
    elapsed: int


def elapsed() -> int:
    """The clock that nobody sets, nanoseconds."""
    return time.clock_gettime_ns(_ELAPSED)


def reading() -> Reading:
    """The clocks of this machine, now: the wall clock between two looks at the other one.

    Whoever was interrupted in between looks again.
    """
    before = time.clock_gettime_ns(_ELAPSED)
    for _ in range(_LOOKS):
        wall = time.time_ns()
        elapsed = time.clock_gettime_ns(_ELAPSED)
        if elapsed - before < _INTERRUPTED:
            break
        before = elapsed
    return Reading(wall, elapsed)


class _Timex(ctypes.Structure):
    """`struct timex` of the Linux ABI, as far as it is read; the rest is reserved room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("reserved", ctypes.c_char * 256),
    )


@dataclass(frozen=True, slots=True)
class Discipline:
    """How far the clock may be off, seconds; `synchronised`: a daemon has disciplined it lately."""

    offset: float
    error_bound: float
    synchronised: bool
    leap: Leap = Leap.NONE


def discipline() -> Discipline | None:
    """The kernel's present account; None where there is none to be had."""
    if sys.platform != "linux":
        return None
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    timex = _Timex()
    state = adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    unit = 1e-9 if timex.status & _STA_NANO else 1e-6
    return Discipline(
        offset=timex.offset * unit,
        error_bound=timex.maxerror * 1e-6,
        synchronised=state != _TIME_ERROR and not timex.status & _STA_UNSYNC,
        leap=_LEAPS.get(state, Leap.NONE),
    )
