"""The data folder: its secret, and its lock."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashseal_core.errors import OutputRefused


def secret_in(folder: Path) -> bytes:
    """The secret of this data folder, made on first use, mode 0600."""
    path = folder / "secret"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(folder):
            if not path.exists():
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(secrets.token_hex(32).encode())
            return path.read_bytes()
    except OSError as error:
        raise OutputRefused(f"the data folder cannot be used: {error.strerror}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time initialises a data folder."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
