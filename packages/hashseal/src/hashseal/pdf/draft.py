"""The files that signing reads and writes, and what their errors mean.

Small files are held whole, so that each is opened, read and written once; large ones are copied by
`copying` and then read through a memory map, of which only what is asked for is touched.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom, FileIO
from pathlib import Path

from hashseal.pdf.document import Document
from hashseal_core.errors import InputUnreadable, OutputRefused, PdfMalformed

WHOLE = 4 << 20
"""Octets of the largest file that is held in memory."""


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """What goes wrong inside is that the file cannot be read."""
    try:
        yield
    except OSError as error:
        raise InputUnreadable(f"{path.name} cannot be read: {error.strerror}") from None


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """What goes wrong inside is that the file cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputRefused(f"{path.name} cannot be written: {error.strerror}") from None


def source_of(path: Path, target: Path) -> FileIO:
    """The file to sign, open for reading.

    Raises:
        InputUnreadable: it cannot be read.
        OutputRefused: the target is the same file.
    """
    with unreadable(path):
        file = path.open("rb", buffering=0)
    try:
        same = os.path.samestat(os.fstat(file.fileno()), target.stat())
    except OSError:
        same = False  # there is no target yet, or writing it will say what is wrong
    if same:
        file.close()
        raise OutputRefused("source and target are the same file")
    return file


def changing(path: Path) -> FileIO:
    """A file that stands already, open for reading and writing.

    Raises:
        InputUnreadable: it cannot be read.
        OutputRefused: it can be read but not written.
    """
    try:
        return path.open("r+b", buffering=0)
    except OSError as error:
        with unreadable(path):
            path.open("rb").close()
        raise OutputRefused(f"{path.name} cannot be written: {error.strerror}") from None


def write_at(file: FileIO, position: int, octets: bytes) -> None:
    """Write all of it there.

    Raises:
        OSError: not all could be written.
    """
    file.seek(position)
    left = memoryview(octets)
    while left:
        left = left[file.write(left) :]


def whole(file: FileIO) -> bytes | None:
    """The octets of a small file, None for a large one or what is not a plain file.

    Raises:
        OSError: it cannot be read.
    """
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_size > WHOLE:
        return None
    return file.read()


def held(octets: bytes, password: str | None) -> Document:
    """The document in the octets of a whole file.

    Raises:
        PdfError: they are not a PDF that can be read.
    """
    if not octets:
        raise PdfMalformed("the file is empty")
    return Document(octets, password)


@contextmanager
def mapped(file: FileIO | BufferedRandom, path: Path, password: str | None) -> Iterator[Document]:
    """The document in a file that nobody changes while the block lasts.

    Raises:
        PdfError: it is not a PDF that can be read.
        InputUnreadable: the file cannot be read.
    """
    if os.fstat(file.fileno()).st_size == 0:
        raise PdfMalformed("the file is empty")
    with unreadable(path):
        buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with buffer:
        yield Document(buffer, password)


def discard(path: Path) -> None:
    """Nothing half-written stays."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
