"""Copies a large file and makes digest and tag at the same time: each octet is read once.

Both are over the very buffers that are written. A thread makes the digest beside the copy, since
`hashlib` leaves the interpreter to others; a few pieces are all that is held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from itertools import cycle
from typing import BinaryIO

from hashseal_core.errors import InputUnreadable

PIECE = 2 << 20
_BUFFERS = 3
_STEP = 64 << 10
"""Octets of one read and one write: few enough to be still in the processor's cache in between, and
so few that the kernel need not look for large runs of free memory."""
_Take = Callable[[memoryview], None]


def copy(reading: FileIO, writing: BinaryIO, digest: _Take, tag: _Take) -> None:
    """Write what is left to read, and hand it to digest and tag.

    Raises:
        InputUnreadable: reading failed.
        OSError: writing failed.
    """
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as hashing:
        for buffer in cycle([memoryview(bytearray(PIECE)) for _ in range(_BUFFERS)]):
            if len(waiting) == _BUFFERS:
                waiting.popleft().result()
            filled = _fill(reading, writing, tag, buffer)
            waiting.append(hashing.submit(digest, buffer[:filled]))
            if filled < PIECE:
                break
        for one in waiting:
            one.result()


def _fill(reading: FileIO, writing: BinaryIO, tag: _Take, buffer: memoryview) -> int:
    """Read until the buffer is full or the file ends, writing on the way."""
    filled = 0
    while filled < len(buffer):
        room = buffer[filled : filled + _STEP]
        try:
            count = reading.readinto(room)
        except OSError as error:
            raise InputUnreadable(f"the file cannot be read: {error.strerror}") from None
        if not count:
            break
        writing.write(room[:count])
        tag(room[:count])
        filled += count
    return filled
