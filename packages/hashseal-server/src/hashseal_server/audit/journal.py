"""Signed checkpoints in a file outside the database, appended and synced, never rewritten.

One journal lives in each data folder and is complete by itself: it publishes the hash of every
entry, whichever replica chained it. Copy it to where the database's administrators cannot write.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from hashseal_core.algorithms import KeyAlgorithm, SignatureAlgorithm
from hashseal_core.cms import verify_signature_value
from hashseal_core.errors import InputUnreadable, OutputRefused
from hashseal_server.audit.chain import ALGORITHM, Checkpoint

_TAIL = 1 << 20


class Signer(Protocol):
    """The key store, as far as checkpoints need it."""

    def generate(self, algorithm: KeyAlgorithm) -> str: ...
    def public_key(self, key: str) -> bytes: ...
    def sign(self, key: str, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes: ...


class Journal:
    """`checkpoints.jsonl` in `folder`, with the public key beside it."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        self._folder = folder
        self._signer = signer

    @property
    def path(self) -> Path:
        """Where the checkpoints are."""
        return self._folder / "checkpoints.jsonl"

    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo of the key that signs, DER; the key is made on first use.

        Raises:
            OutputRefused: the folder cannot be written.
            KeystoreUnavailable: the key cannot be made or loaded.
        """
        with self._locked():
            return self._signer.public_key(self._key())

    def published(self) -> int:
        """The position up to which entries are published.

        Raises:
            OutputRefused, InputUnreadable: the journal cannot be used.
        """
        with self._locked():
            return self._last()

    def publish(self, first: int, hashes: Sequence[bytes], at: datetime) -> None:
        """Append a checkpoint over entries that follow the ones published; durable on return.

        What another process has published meanwhile is not published again.

        Raises:
            OutputRefused: the journal cannot be written.
            KeystoreUnavailable, FaultySignature: the key does not sign.
        """
        with self._locked():
            done = self._last() + 1 - first
            if done < 0 or done >= len(hashes):
                return
            unsigned = Checkpoint(
                first=first + done,
                hashes=tuple(digest.hex() for digest in hashes[done:]),
                published_at=at.isoformat(),
            )
            key = self._key()
            value = self._signer.sign(key, unsigned.to_be_signed, ALGORITHM)
            public = self._signer.public_key(key)
            verify_signature_value(public, ALGORITHM, unsigned.to_be_signed, value)
            line = json.dumps(asdict(replace(unsigned, signature=value.hex()))) + "\n"
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            with os.fdopen(handle, "ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / ".lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise OutputRefused(f"the audit journal cannot be used: {error.strerror}") from error

    def _key(self) -> str:
        reference = self._folder / "key"
        if not reference.exists():
            key = self._signer.generate(KeyAlgorithm.P256)
            public = load_der_public_key(self._signer.public_key(key))
            (self._folder / "audit-key.pem").write_bytes(
                public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            )
            draft = self._folder / ".key"
            draft.write_text(key)
            draft.replace(reference)
        return reference.read_text()

    def _last(self) -> int:
        if not self.path.exists():
            return 0
        with self.path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
            whole, newline, torn = tail.rpartition(b"\n")
            if torn:  # a process died while it wrote: that checkpoint was never published
                file.truncate(size - len(torn))
        lines = whole.splitlines()
        return _parsed(lines[-1]).last if newline and lines else 0


def read(path: Path) -> list[Checkpoint]:
    """The checkpoints of a journal, not verified.

    Raises:
        InputUnreadable: it is not a journal.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputUnreadable(f"{path} cannot be read") from error
    return [_parsed(line) for line in lines]


def _parsed(line: bytes) -> Checkpoint:
    try:
        fields = json.loads(line)
        return Checkpoint(**{**fields, "hashes": tuple(fields["hashes"])})
    except (ValueError, TypeError, KeyError) as error:
        raise InputUnreadable("this is not a journal of checkpoints") from error
