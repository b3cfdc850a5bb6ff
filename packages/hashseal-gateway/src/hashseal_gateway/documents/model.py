"""Documents under way: their states, and what is remembered of each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from hashseal_core.errors import HashsealError
from hashseal_core.problems import problem_of
from hashseal_gateway.documents.options import DocumentOptions, SigningOptions
from hashseal_gateway.log.model import SIGNED, Entry
from hashseal_gateway.users.model import Caller


class Way(StrEnum):
    """How a document came."""

    CALL = "call"
    ASYNC = "async"
    BATCH = "batch"
    FOLDER = "folder"

    @property
    def waits(self) -> bool:
        """The file is kept here until it is signed, and fetched."""
        return self in {Way.ASYNC, Way.BATCH}


class State(StrEnum):
    """Where a document is."""

    OPEN = "open"
    """Of a call or a folder: not answered yet, or answered with an error; nothing is kept."""
    ANSWERED = "answered"
    ACCEPTED = "accepted"
    WAITING = "waiting"
    SIGNED = "signed"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


class Event(StrEnum):
    """What may happen to it."""

    SIGN = "sign"
    POSTPONE = "postpone"
    REFUSE = "refuse"
    FETCH = "fetch"
    OFFER = "offer"
    """Again, after it was fetched."""
    FORGET = "forget"
    ACCEPT = "accept"
    """Again, after it failed."""


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.OPEN, Event.SIGN): State.ANSWERED,
    (State.OPEN, Event.REFUSE): State.OPEN,
    (State.ACCEPTED, Event.SIGN): State.SIGNED,
    (State.ACCEPTED, Event.POSTPONE): State.WAITING,
    (State.ACCEPTED, Event.REFUSE): State.FAILED,
    (State.WAITING, Event.SIGN): State.SIGNED,
    (State.WAITING, Event.POSTPONE): State.WAITING,
    (State.WAITING, Event.REFUSE): State.FAILED,
    (State.SIGNED, Event.FETCH): State.DELIVERED,
    (State.SIGNED, Event.OFFER): State.SIGNED,
    (State.DELIVERED, Event.FETCH): State.DELIVERED,
    (State.DELIVERED, Event.OFFER): State.SIGNED,
    (State.SIGNED, Event.FORGET): State.EXPIRED,
    (State.DELIVERED, Event.FORGET): State.EXPIRED,
    (State.FAILED, Event.ACCEPT): State.ACCEPTED,
}
PENDING = frozenset({State.ACCEPTED, State.WAITING})
KEPT = frozenset({*PENDING, State.SIGNED, State.DELIVERED})
"""States in which there is a file."""


def sources(event: Event) -> frozenset[State]:
    """The states in which this may happen."""
    return frozenset(state for state, possible in TRANSITIONS if possible == event)


@dataclass(frozen=True, slots=True)
class Received:
    """A document that has come in whole; `digest` is SHA-256, hexadecimal."""

    path: Path
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants done with a document; `name` is the file's, in a batch.

    `id` is new, and becomes the document's unless the same request made one before.
    """

    id: str
    caller: Caller
    way: Way
    options: DocumentOptions
    request_key: str
    batch_id: str | None = None
    position: int | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as it is kept."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Document:
    """What is remembered. `order` is known when the seal is; `hash` when the file is prepared.

    Attributes:
        request_digest: of document and options, to tell a repetition from another request.
        service_key: the idempotency key of the call to the service.
        signing_time: the claimed time; stays the same over all attempts.
        runs: how often it was accepted.
    """

    id: str
    caller: Caller
    way: Way
    batch_id: str | None
    position: int | None
    name: str | None
    external_id: str | None
    request_key: str
    request_digest: str
    service_key: str
    signing_time: datetime
    asked: DocumentOptions
    order: SigningOptions | None
    seal_id: str | None
    state: State
    problem: Problem | None
    prepared: str | None
    hash: str | None
    digest_before: str
    digest_after: str | None
    size_before: int
    size_after: int | None
    signature_id: str | None
    findings: tuple[str, ...]
    runs: int
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None

    @property
    def level(self) -> str:
        """The level that is asked for, as far as it is known."""
        if self.order is not None:
            return self.order.level
        return self.asked.level or ""


def digest_of_request(received: Received, asked: Asked) -> str:
    """SHA-256 over document and options; the password is left out, it changes no octet."""
    options = msgspec.structs.replace(asked.options, password=None)
    parts = [asked.way.encode(), received.digest.encode(), msgspec.json.encode(options)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def entry(
    document: Document,
    outcome: HashsealError | None,
    *,
    at: datetime,
    milliseconds: int,
    digest_after: str | None = None,
    signature_id: str | None = None,
) -> Entry:
    """What the log says of an attempt."""
    return Entry(
        number=0,
        at=at,
        document_id=document.id,
        caller_kind=document.caller.kind,
        caller_id=document.caller.id,
        caller_name=document.caller.name,
        way=document.way,
        external_id=document.external_id,
        seal_id=document.seal_id,
        level=document.level,
        outcome=SIGNED if outcome is None else problem_of(outcome).code,
        digest_before=document.digest_before,
        digest_after=digest_after,
        hash=document.hash,
        signature_id=signature_id,
        milliseconds=milliseconds,
    )
