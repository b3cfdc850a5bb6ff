"""The data folder: its secret, its name, and the folders of documents under way."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hashseal_core.errors import ConfigurationInvalid, OutputRefused, StorageUnavailable

_NONCE = 12


@dataclass(frozen=True, slots=True)
class Secret:
    """The installation's own secret, from which every other is derived."""

    octets: bytes

    def derived(self, purpose: str) -> bytes:
        """32 octets for one purpose (RFC 5869)."""
        return HKDF(hashes.SHA256(), 32, None, f"hashseal gateway {purpose}".encode()).derive(
            self.octets
        )

    def sealed(self, text: str, place: str) -> bytes:
        """A small secret as it is stored; it opens at this very place only."""
        nonce = secrets.token_bytes(_NONCE)
        key = AESGCM(self.derived("stored secrets"))
        return nonce + key.encrypt(nonce, text.encode(), place.encode())

    def opened(self, stored: bytes, place: str) -> str:
        """The secret again.

        Raises:
            ConfigurationInvalid: it was stored under another secret, or elsewhere.
        """
        key = AESGCM(self.derived("stored secrets"))
        try:
            return key.decrypt(stored[:_NONCE], stored[_NONCE:], place.encode()).decode()
        except InvalidTag as error:
            raise ConfigurationInvalid(
                "a stored secret does not belong to this data folder"
            ) from error


class DataFolder:
    """One folder of one gateway; documents under way are in `work` below it.

    Raises:
        OutputRefused: it cannot be used.
    """

    def __init__(self, path: Path, work: str = "documents") -> None:
        self.path = path
        self._work = path / work
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(path):
                self.secret = Secret(_kept(path / "secret", secrets.token_bytes(32)))
                self.name = _kept(
                    path / "name", f"gateway-{secrets.token_hex(6)}".encode()
                ).decode()
            self._work.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise OutputRefused(f"the data folder cannot be used: {error.strerror}") from error

    def place(self, identity: str) -> Path:
        """The folder of one document or batch."""
        return self._work / identity

    def new_place(self, identity: str) -> Path:
        """The same, made.

        Raises:
            StorageUnavailable: it cannot be made.
        """
        made = self.place(identity)
        try:
            made.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageUnavailable("the gateway's disk takes no document now") from error
        return made

    def discard(self, identity: str) -> None:
        """Nothing of it stays."""
        shutil.rmtree(self.place(identity), ignore_errors=True)

    def sweep(self, known: Iterable[str]) -> None:
        """Remove what is of no document of these: of calls whose process was killed."""
        wanted = set(known)
        for one in self._work.iterdir():
            if one.name not in wanted:
                shutil.rmtree(one, ignore_errors=True)


@contextmanager
def alone(path: Path, role: str) -> Iterator[None]:
    """One process of this role at a time works in the folder.

    Raises:
        ConfigurationInvalid: another one does.
    """
    with (path / f".{role}").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationInvalid(
                f"another process of hashseal-gateway ({role}) works in this data folder"
            ) from error
        yield


def read_secret(path: Path, field: str) -> str:
    """A secret that stands in a file of its own.

    Raises:
        ConfigurationInvalid: it cannot be read, is empty, or others can read it.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationInvalid(f"{path} cannot be read", field=field) from error
    if mode & 0o077:
        raise ConfigurationInvalid(f"{path} is open to others; run chmod 600 on it", field=field)
    if not text:
        raise ConfigurationInvalid(f"{path} is empty", field=field)
    return text


def _kept(path: Path, first: bytes) -> bytes:
    """What stands in a file of ours, made on first use."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(first)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    return path.read_bytes()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with (path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
