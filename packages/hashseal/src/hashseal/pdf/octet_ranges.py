"""Digests of a file that grows, and of the ranges of a file that a signature covers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import FileIO
from typing import Protocol, Self, TypeAlias

from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import PdfNotPrepared

PIECE = 1 << 20
"""Octets that are read at a time."""
Ranges: TypeAlias = tuple[int, int, int, int]
Octets: TypeAlias = bytes | memoryview


class _Hash(Protocol):
    def update(self, octets: Octets, /) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> Self: ...


class RunningDigest:
    """A digest that grows with the file."""

    __slots__ = ("_hash", "algorithm", "update")

    def __init__(self, algorithm: DigestAlgorithm) -> None:
        self.algorithm = algorithm
        self._hash: _Hash = hashlib.new(algorithm.hashlib_name)
        self.update = self._hash.update

    def digest(self, *more: Octets) -> bytes:
        """The digest up to here, or with these octets behind; updating goes on from here."""
        found = self._hash.copy()
        for octets in more:
            found.update(octets)
        return found.digest()


def feed(file: FileIO, start: int, length: int, *takers: Callable[[memoryview], None]) -> None:
    """Hand on a part of a file, at most `PIECE` octets at a time, each valid during the call only.

    Raises:
        PdfNotPrepared: the file is shorter.
        OSError: it cannot be read.
    """
    buffer = memoryview(bytearray(min(length, PIECE)))
    file.seek(start)
    while length > 0:
        count = file.readinto(buffer[: min(length, PIECE)])
        if not count:
            raise PdfNotPrepared("the file is shorter than the prepared one")
        for take in takers:
            take(buffer[:count])
        length -= count


def digest_of_ranges(file: FileIO, ranges: Ranges, algorithm: DigestAlgorithm) -> Digest:
    """The digest of two ranges of a file.

    Raises:
        PdfNotPrepared: the file is shorter.
        OSError: it cannot be read.
    """
    running = RunningDigest(algorithm)
    feed(file, ranges[0], ranges[1], running.update)
    feed(file, ranges[2], ranges[3], running.update)
    return Digest(algorithm, running.digest())
