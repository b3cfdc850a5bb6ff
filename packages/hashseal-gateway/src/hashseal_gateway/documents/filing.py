"""Files in folders of others: no link is followed, names fit, what is moved is moved whole."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO

from hashseal_core.errors import (
    DocumentTooLarge,
    InputUnreadable,
    OutputRefused,
    StorageUnavailable,
)
from hashseal_gateway.documents.attempts import flush
from hashseal_gateway.documents.model import Received

REPORT = ".json"
DRAFT = ".hashseal-"
"""What names of drafts begin with; the rest is as long for every file."""
_USUAL_NAME = 255
_MARK = 8
_PIECE = 1 << 20
_OF_ONE_FILE = frozenset({errno.ENAMETOOLONG, errno.EFBIG, errno.EINVAL, errno.EILSEQ, errno.EBUSY})
"""What a folder says of one file or its name; anything else it would say of the next one, too."""
_OF_ALL_FILES = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
    }
)
"""What is said when a file is read, and is not the file's fault."""


class FolderAway(OutputRefused):
    """A folder cannot be used now: all files wait until it can."""


def shown(name: str | Path) -> str:
    r"""A name or path as text: octets that are not UTF-8 become `\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Say of what the system refuses whether it concerns one file or the folder.

    Raises:
        FolderAway: the folder is full, is gone, or cannot be written.
        OutputRefused: it does not take this file.
    """
    try:
        yield
    except OSError as error:
        detail = f"{shown(folder)} does not take the file: {error.strerror}"
        if error.errno in _OF_ONE_FILE:
            raise OutputRefused(detail) from error
        raise FolderAway(detail) from error


def usable(folder: Path) -> None:
    """Make a folder that is not there; it must be one that can be written.

    Raises:
        FolderAway: it is not.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise FolderAway(f"{shown(folder)} cannot be made: {error.strerror}") from error
    changeable(folder)


def changeable(folder: Path) -> None:
    """Files can be put into this folder and taken out of it.

    Raises:
        FolderAway: they cannot.
    """
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise FolderAway(f"{shown(folder)} cannot be written")


def there(path: Path) -> os.stat_result | None:
    """What has this name, itself: no link is followed; None if nothing has.

    Raises:
        OSError: the system does not tell, or could not give this name.
    """
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def same(left: os.stat_result | None, right: os.stat_result | None) -> bool:
    """It is the same file, and has not changed."""
    if left is None or right is None:
        return False
    return (left.st_ino, left.st_size, left.st_mtime_ns) == (
        right.st_ino,
        right.st_size,
        right.st_mtime_ns,
    )


def opened(path: Path) -> BinaryIO:
    """A regular file, to be read; a link is not followed and a pipe not waited for.

    Raises:
        OSError: it is none, or cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(handle, "rb")


def copied(file: Path, seen: os.stat_result, target: Path, most: int) -> Received | None:
    """A copy that nobody else can change; None if the file is no longer the one that was seen.

    Raises:
        InputUnreadable: it cannot be read.
        DocumentTooLarge: it has more than `most` octets, or this disk takes no file of this size.
        FolderAway: no file of this folder can be read now.
        StorageUnavailable: this disk takes no file now.
    """
    if seen.st_size > most:
        raise DocumentTooLarge(f"a document has {most >> 20} MiB at most (max_upload_mib)")
    try:
        reading = opened(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unread(file, error) from error
    digest, size = hashlib.sha256(), 0
    with reading:
        try:
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as writing:
                while piece := _piece(reading, file):
                    writing.write(piece)
                    digest.update(piece)
                    size += len(piece)
                    if size > seen.st_size:
                        return None
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise DocumentTooLarge("the gateway's disk takes no file of this size") from error
            raise StorageUnavailable("the gateway's disk takes no document now") from error
        if not same(seen, os.fstat(reading.fileno())):
            return None
    return Received(target, size, digest.hexdigest())


def _piece(reading: BinaryIO, file: Path) -> bytes:
    try:
        return reading.read(_PIECE)
    except OSError as error:
        raise _unread(file, error) from error


def _unread(file: Path, error: OSError) -> InputUnreadable | FolderAway:
    if error.errno in _OF_ALL_FILES:
        return FolderAway(f"{shown(file.parent)} cannot be read: {error.strerror}")
    return InputUnreadable(f"the file cannot be read: {error.strerror}")


def elsewhere(folder: Path, seen: os.stat_result) -> bool:
    """The folder is on another file system than what was seen.

    Raises:
        OSError: the system does not tell.
    """
    return folder.stat().st_dev != seen.st_dev


def beside(target: Path) -> Path:
    """Where the report on a file stands."""
    return target.with_name(f"{target.name}{REPORT}")


def fitted(name: str, number: int, most: int) -> str:
    """This name, from 2 on with a number; shortened if its report's had more than `most` octets.

    A shortened one ends with `~` and the beginning of the SHA-256 of the whole name, so that
    different names stay different, and the same one stays the same.
    """
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    tail = suffix if number == 1 else f"-{number}{suffix}"
    if len(os.fsencode(f"{stem}{tail}{REPORT}")) <= most:
        return f"{stem}{tail}"
    mark = hashlib.sha256(os.fsencode(name)).hexdigest()[:_MARK]
    tail = f"~{mark}{tail}"
    room = max(0, most - len(os.fsencode(f"{tail}{REPORT}")))
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return f"{stem}{tail}"


def longest_name(folder: Path) -> int:
    """How many octets a name in this folder may have.

    Raises:
        OSError: the folder is not there.
    """
    most = os.pathconf(folder, "PC_NAME_MAX")
    return most if most > 0 else _USUAL_NAME


def write(target: Path, octets: bytes) -> None:
    """A file that appears whole.

    Raises:
        OSError: it does not.
    """
    with _draft_of(target) as draft:
        draft.write_bytes(octets)
        flush(draft)
        draft.replace(target)
    _keep(target.parent)


def move(source: Path, target: Path, seen: os.stat_result) -> None:
    """Whole or not at all, also from another file system, and nothing but what was seen.

    Raises:
        OSError: it is where it was.
        InputUnreadable: likewise, and it cannot be read.
        OutputRefused: it is another file now.
        FolderAway: none of its folder can be read now.
    """
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with _draft_of(target) as draft:
            _copy(source, draft, seen)
            flush(draft)
            draft.replace(target)
        if same(seen, there(source)):  # another that has its name since then stays
            source.unlink()
    _keep(target.parent)


def _copy(source: Path, draft: Path, seen: os.stat_result) -> None:
    try:
        reading = opened(source)
    except OSError as error:
        raise _unread(source, error) from error
    with reading:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as writing:
            while piece := _piece(reading, source):
                writing.write(piece)
            with suppress(OSError):  # of a file system that has no such modes
                os.fchmod(handle, stat.S_IMODE(seen.st_mode))
        if not same(seen, os.fstat(reading.fileno())):
            raise OutputRefused("the file changes while it is moved")


def _keep(folder: Path) -> None:
    """The names in a folder survive a crash, where the file system can promise that."""
    try:
        flush(folder)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise


@contextmanager
def _draft_of(target: Path) -> Iterator[Path]:
    draft = target.with_name(f"{DRAFT}{secrets.token_hex(8)}.part")
    try:
        yield draft
    finally:
        with suppress(OSError):  # the next start removes it
            draft.unlink(missing_ok=True)


def remove_drafts(folder: Path) -> None:
    """Those that a kill left behind.

    Raises:
        OSError: one stays.
    """
    for one in folder.iterdir():
        if one.name.startswith(DRAFT) and one.suffix == ".part" and not one.is_dir():
            one.unlink(missing_ok=True)
