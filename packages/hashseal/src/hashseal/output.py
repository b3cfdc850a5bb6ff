"""Where a result goes: beside its target until it is whole, then there in one step.

Invariants: the input is never written; an existing file is replaced only when that was asked for; a
failure leaves neither a half-written target nor a draft.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hashseal_core.errors import ConfigurationInvalid, InputUnreadable, OutputRefused

_CHUNK = 1 << 20


def targets(sources: Sequence[Path], output: Path | None, ending: str) -> dict[Path, Path]:
    """The target of each source: beside it, in the folder `output`, or `output` itself.

    A folder is made when there are several sources.

    Raises:
        ConfigurationInvalid: two sources have the same target.
        OutputRefused: the folder cannot be made.
    """
    if output is None:
        found = {source: source.with_name(source.stem + ending) for source in sources}
    elif output.is_dir() or len(sources) > 1:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputRefused(
                f"{output} is not a folder, and there are several inputs"
            ) from error
        found = {source: output / (source.stem + ending) for source in sources}
    else:
        found = {sources[0]: output}
    if len(set(found.values())) < len(sources):
        raise ConfigurationInvalid("two inputs have the same name; take them one by one")
    return found


def copy(source: Path, draft: Path) -> None:
    """Fill the draft with the source.

    Raises:
        InputUnreadable: the source cannot be read.
        OutputRefused: the draft cannot be written.
    """
    try:
        reading = source.open("rb")
    except OSError as error:
        raise InputUnreadable(f"{source} cannot be read: {error.strerror}") from error
    try:
        with reading, draft.open("wb") as writing:
            shutil.copyfileobj(reading, writing, _CHUNK)
    except OSError as error:
        raise OutputRefused(f"{draft.parent} cannot be written: {error.strerror}") from error


def write_new(target: Path, text: str) -> None:
    """Write a small new file that only its owner may read.

    Raises:
        OutputRefused: it exists or cannot be written.
    """
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputRefused(f"{target} cannot be written: {error.strerror}") from error


@contextmanager
def unfinished(source: Path, target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A private draft that takes the target's place when the block ends well.

    Raises:
        InputUnreadable: the source is not there.
        OutputRefused: the target is the source, exists (without `overwrite`), or cannot be written.
    """
    if not source.is_file():
        raise InputUnreadable(f"{source} is not a file")
    if target.exists() and target.samefile(source):
        raise OutputRefused("the output is the input; the input is never changed")
    if os.path.lexists(target) and not overwrite:
        raise OutputRefused(f"{target} exists; say --force to replace it")
    draft = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        draft.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise OutputRefused(f"{target.parent} cannot be written: {error.strerror}") from error
    try:
        yield draft
        _place(source, draft, target, overwrite=overwrite)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _place(source: Path, draft: Path, target: Path, *, overwrite: bool) -> None:
    """Durable first, then visible, all at once."""
    try:
        draft.chmod(source.stat().st_mode & 0o777)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        if overwrite:
            draft.replace(target)
        else:
            _place_new(draft, target)
    except FileExistsError as error:
        raise OutputRefused(f"{target} exists; say --force to replace it") from error
    except OSError as error:
        raise OutputRefused(f"{target} cannot be written: {error.strerror}") from error


def _place_new(draft: Path, target: Path) -> None:
    """Take the name only if it is still free; some file systems have no hard links."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        draft.replace(target)
