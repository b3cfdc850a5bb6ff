"""How keys are named: references that the service keeps, labels that stand in a token.

A key in a token is a pair of objects with one CKA_ID. The private object can never be changed; its
label says purpose, owner, machine and time of making. The label of the public object says the
state, the only thing that changes:

```text
creating ── self-test passed ──► active ── destroyed ──► gone
    └────── self-test failed, or found after a crash ──► gone
```
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import KeystoreRefused
from hashseal_server.keystore.purpose import Purpose

NOBODY = "-"
"""The owner of a key that belongs to the operator."""
IDENTIFIER_OCTETS = 16
_PURPOSES = "|".join(Purpose)
_TOKEN_KEY = re.compile(rf"({_PURPOSES})\.([0-9a-f]{{32}})")
_LABEL = re.compile(
    rf"hashseal:({_PURPOSES}):(-|[0-9a-f]{{32}}):([0-9a-f]{{8}}):([0-9a-f]{{1,12}})"
)
_WRAPPED = "wrapped."
_MAC_OCTETS = 32


class State(StrEnum):
    """Where a key is in its life."""

    CREATING = "creating"
    ACTIVE = "active"
    GONE = "gone"


class Event(StrEnum):
    """What moves a key on."""

    PASSED = "self-test passed"
    FAILED = "self-test failed"
    FOUND = "found after a crash"
    DESTROYED = "destroyed"


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.CREATING, Event.PASSED): State.ACTIVE,
    (State.CREATING, Event.FAILED): State.GONE,
    (State.CREATING, Event.FOUND): State.GONE,
    (State.ACTIVE, Event.DESTROYED): State.GONE,
    (State.GONE, Event.FOUND): State.GONE,
}


def owner_of(account: str) -> str:
    """An account as a label names it: 128 bits of its SHA-256; `NOBODY` for the operator."""
    return hashlib.sha256(account.encode()).hexdigest()[:32] if account else NOBODY


def machine_of(name: str) -> str:
    """A host name as a label has it: 32 bits of its SHA-256."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Label:
    """Label of a private object; `made_at` in seconds since 1970."""

    purpose: Purpose
    owner: str
    machine: str
    made_at: int

    def text(self) -> str:
        """As it stands in the token."""
        return f"hashseal:{self.purpose}:{self.owner}:{self.machine}:{self.made_at:x}"


def read_label(text: str) -> Label | None:
    """The label of one of our private objects; None for everything else."""
    found = _LABEL.fullmatch(text)
    if found is None:
        return None
    return Label(Purpose(found[1]), found[2], found[3], int(found[4], 16))


def state_label(state: State, machine: str) -> str:
    """Label of a public object in that state; what is left of a crash is its own machine's."""
    return f"hashseal:{state}" if state is State.ACTIVE else f"hashseal:{state}:{machine}"


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key in a token, by its CKA_ID."""

    purpose: Purpose
    identifier: bytes

    def text(self) -> str:
        """The reference: at most 38 characters."""
        return f"{self.purpose}.{self.identifier.hex()}"


def read_state(text: str) -> State:
    """The state that a public object's label says; a label that says none is that of a new one."""
    parts = text.split(":")
    if len(parts) > 1 and parts[0] == "hashseal" and parts[1] in set(State):
        return State(parts[1])
    return State.CREATING


class WrappedKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A customer's key under the token's wrapping key, bound to its owner by a MAC of the token.

    Attributes:
        blob: CKM_AES_KEY_WRAP_PAD of the PKCS#8.
        spki: SubjectPublicKeyInfo, DER.
    """

    owner: str
    algorithm: KeyAlgorithm
    spki: bytes
    blob: bytes

    def bound(self) -> bytes:
        """What the MAC is over."""
        return b"hashseal wrapped key 1\n" + msgspec.msgpack.encode(self)

    def text(self, mac: bytes) -> str:
        """The reference: up to 4,000 characters."""
        content = msgspec.msgpack.encode(self) + mac
        return _WRAPPED + base64.urlsafe_b64encode(content).decode()


@dataclass(frozen=True, slots=True)
class BoundKey:
    """A wrapped key as it came from outside; the MAC has not been looked at."""

    key: WrappedKey
    mac: bytes


def read_reference(text: str) -> TokenKey | BoundKey:
    """The key that a reference names.

    Raises:
        KeystoreRefused: no key store of this kind made it.
    """
    if (found := _TOKEN_KEY.fullmatch(text)) is not None:
        return TokenKey(Purpose(found[1]), bytes.fromhex(found[2]))
    if text.startswith(_WRAPPED):
        try:
            content = base64.b64decode(text[len(_WRAPPED) :], altchars=b"-_", validate=True)
            key = msgspec.msgpack.decode(content[:-_MAC_OCTETS], type=WrappedKey)
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            pass
        else:
            return BoundKey(key, content[-_MAC_OCTETS:])
    raise KeystoreRefused("the key store has no such key")


def purpose_of(reference: str) -> Purpose:
    """What a key is for.

    Raises:
        KeystoreRefused: not a reference.
    """
    found = read_reference(reference)
    return found.purpose if isinstance(found, TokenKey) else Purpose.SEAL
