"""What a file may ask of the validator: counted before pyHanko works with it (I18).

A file that is extended a hundred times, with fresh status data each time, stays far within these
counts. Whatever gets past them is ended by the limits on CPU and memory.
"""

from __future__ import annotations

MEMORY_OCTETS = 512 << 20
CPU_SECONDS = 9
WALL_SECONDS = 30
"""Only for a machine that lets the process have less than a third of a core: CPU ends it first."""
USUAL_OCTETS, OCTETS_A_SECOND = 100 << 20, 16 << 20
"""A larger file has a second more for so many octets, as when it is signed."""

MAX_SIGNATURES = 256
MAX_REVISIONS = 1024
MAX_STATUS_OBJECTS = 2048
MAX_STORED_CERTIFICATES = 512
MAX_SIGNATURE_CERTIFICATES = 32
MAX_CHAIN_STEPS = 256


class LimitExceeded(Exception):
    """The file wants more than a file may have; the text says of what, and what to do."""


def more_seconds(octets: int) -> int:
    """How much longer than usual a file of this size may take."""
    return max(0, octets - USUAL_OCTETS) // OCTETS_A_SECOND


def require(count: int, limit: int, what: str, remedy: str) -> None:
    """`what` is a plural.

    Raises:
        LimitExceeded: there are more.
    """
    if count > limit:
        raise LimitExceeded(f"the file has {count} {what}; at most {limit} are verified: {remedy}")
