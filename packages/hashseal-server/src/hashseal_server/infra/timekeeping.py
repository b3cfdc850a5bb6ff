"""What the kernel knows of its clock: the evidence that an NTP daemon leaves there (Linux).

chrony, ntpd and systemd-timesyncd discipline the kernel's clock and write offset and error bound
into it; reading them needs no right and no network (adjtimex(2), ntp_adjtime(3)).
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

_STA_UNSYNC, _STA_NANO, _TIME_ERROR = 0x0040, 0x2000, 5


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
    )
