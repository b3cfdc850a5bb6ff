"""Messages over a stream: a kind, a length, octets. Pure."""

from __future__ import annotations

import struct

HEAD = struct.Struct(">cI")
MAXIMUM = 16 << 20
ORDER, ASK, REPLY, DONE = b"O", b"A", b"R", b"D"


class NotAMessage(Exception):
    """What came is no message of ours."""


def head(kind: bytes, octets: bytes) -> bytes:
    """What stands in front of the octets."""
    return HEAD.pack(kind, len(octets))


def read_head(octets: bytes) -> tuple[bytes, int]:
    """Kind and length.

    Raises:
        NotAMessage: too long, or of no kind.
    """
    kind, length = HEAD.unpack(octets)
    if kind not in {ORDER, ASK, REPLY, DONE} or length > MAXIMUM:
        raise NotAMessage
    return kind, length
