"""The hash chain and its verifier: pure, and enough to verify an export on another machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import msgspec

from hashseal_core.algorithms import DigestAlgorithm, SignatureAlgorithm, SignatureScheme
from hashseal_core.cms import verify_signature_value
from hashseal_core.errors import Untrustworthy

GENESIS = bytes(32)
ALGORITHM = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
_JSON = msgspec.json.Encoder(order="sorted")
_CONTEXT = b"hashseal audit checkpoint 1\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """One chained record; `hash` in hexadecimal."""

    position: int
    record_id: int
    event: str
    account_id: str | None
    content: str
    recorded_at: str
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Published hashes of the entries from `first` on, signed; everything in hexadecimal."""

    first: int
    hashes: tuple[str, ...]
    published_at: str
    signature: str = ""

    @property
    def last(self) -> int:
        """Position of the newest entry that it covers."""
        return self.first + len(self.hashes) - 1

    @property
    def to_be_signed(self) -> bytes:
        """What the signature is over: everything else."""
        fields = {name: value for name, value in asdict(self).items() if name != "signature"}
        return _CONTEXT + _canonical(fields)


@dataclass(frozen=True, slots=True)
class Finding:
    """The first position that is not what it was, and why we think so."""

    position: int
    reason: str


def link(previous: bytes, entry: Entry) -> bytes:
    """The hash of an entry, given the one before it."""
    fields: dict[str, object] = {
        "account_id": entry.account_id,
        "content": entry.content,
        "event": entry.event,
        "position": entry.position,
        "record_id": entry.record_id,
        "recorded_at": entry.recorded_at,
    }
    return hashlib.sha256(previous + _canonical(fields)).digest()


def first_bad(entries: Iterable[Entry]) -> Entry | None:
    """The first entry whose position or hash is not what the ones before it make it."""
    previous = GENESIS
    for expected, entry in enumerate(entries, start=1):
        previous = link(previous, entry)
        if entry.position != expected or previous.hex() != entry.hash:
            return entry
    return None


def verify(
    entries: Iterable[Entry], checkpoints: Sequence[Checkpoint], public_key: bytes | None
) -> Finding | None:
    """The first entry that was changed, removed, inserted or moved; None for an intact log.

    Checkpoints are believed only if `public_key` (SubjectPublicKeyInfo, DER) signed them. Entries
    that no checkpoint covers yet are checked against each other alone.
    """
    published = _published(checkpoints, public_key)
    if isinstance(published, Finding):
        return published
    previous = GENESIS
    count = 0
    for count, entry in enumerate(entries, start=1):
        previous = link(previous, entry)
        if entry.position != count:
            return Finding(count, f"entry {entry.position} stands in its place")
        if published.get(count, previous.hex()) != previous.hex():
            return Finding(count, "the entry is not the one that was published")
        if entry.hash != previous.hex():
            return Finding(count, "the entry does not fit its hash")
    if published and max(published) > count:
        return Finding(count + 1, f"entries up to {max(published)} were published and are gone")
    return None


def _published(
    checkpoints: Sequence[Checkpoint], public_key: bytes | None
) -> dict[int, str] | Finding:
    """Hash of each published position; a finding when the checkpoints cannot be believed."""
    published: dict[int, str] = {}
    for checkpoint in checkpoints:
        if not _signed(checkpoint, public_key):
            return Finding(checkpoint.first, "the checkpoint is not signed by the key")
        for position, digest in enumerate(checkpoint.hashes, start=checkpoint.first):
            if published.setdefault(position, digest) != digest:
                return Finding(position, "two checkpoints publish different hashes")
    return published


def _signed(checkpoint: Checkpoint, public_key: bytes | None) -> bool:
    if public_key is None:
        return False
    try:
        verify_signature_value(
            public_key, ALGORITHM, checkpoint.to_be_signed, bytes.fromhex(checkpoint.signature)
        )
    except (Untrustworthy, ValueError):
        return False
    return True


def _canonical(fields: dict[str, object]) -> bytes:
    return _JSON.encode(fields)
