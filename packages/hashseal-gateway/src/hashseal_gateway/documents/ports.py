"""What the work on documents needs from others, and what the administrator has decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from hashseal_core import protocol
from hashseal_core.algorithms import Level
from hashseal_gateway.documents import messages
from hashseal_gateway.documents.model import Document, Event
from hashseal_gateway.documents.options import SigningOptions
from hashseal_gateway.log.model import Entry
from hashseal_gateway.seals.model import SealOptions


class Store(Protocol):
    """Where documents are remembered."""

    async def open(self, document: Document, password: bytes | None) -> Document: ...
    async def find(self, identity: str, caller_id: str | None = None) -> Document: ...
    async def password(self, identity: str) -> bytes | None: ...
    async def settle(self, identity: str, seal_id: str, order: SigningOptions) -> None: ...
    async def record_prepared(
        self, identity: str, prepared: str, value: str, findings: tuple[str, ...]
    ) -> None: ...
    async def happened(
        self, document: Document, event: Event, entry: Entry | None, **values: Any
    ) -> bool: ...
    async def pending(self) -> list[Document]: ...


class Log(Protocol):
    """The signing log."""

    async def add(self, entry: Entry) -> None: ...


class Seals(Protocol):
    """Which seal is meant."""

    async def resolve(
        self, allowed: frozenset[str] | None, asked: str | None
    ) -> tuple[protocol.Seal, SealOptions]: ...
    async def picture_of(self, seal: protocol.Seal) -> str: ...


class Places(Protocol):
    """Folders of documents under way."""

    def place(self, identity: str) -> Path: ...
    def new_place(self, identity: str) -> Path: ...
    def discard(self, identity: str) -> None: ...


class Vault(Protocol):
    """Keeps small secrets."""

    def derived(self, purpose: str) -> bytes: ...
    def sealed(self, text: str, place: str) -> bytes: ...
    def opened(self, stored: bytes, place: str) -> str: ...


class Signer(Protocol):
    """Has orders done in confined processes."""

    async def signed(
        self,
        order: messages.Sign | messages.Resume,
        size: int,
        record: Callable[[messages.Record], Any] = ...,
    ) -> messages.Signed: ...
    async def prepared(self, order: messages.Prepare, size: int) -> messages.Prepared: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """What the administrator has decided."""

    level: Level
    refuse: Sequence[str]
    patience: timedelta
    kept: timedelta
    kept_after_delivery: timedelta
