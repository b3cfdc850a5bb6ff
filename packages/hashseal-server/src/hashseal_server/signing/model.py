"""Values of the signing slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from hashseal_core.algorithms import Digest
from hashseal_server.accounts.model import AccountId
from hashseal_server.accounts.quota import Balance


@dataclass(frozen=True, slots=True)
class MadeSignature:
    """One signature, not yet released: `signed_data` is DER, the token too."""

    id: str
    digest: Digest
    signed_data: bytes
    token: bytes | None
    token_serial: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """Everything that one delivered call records."""

    id: str
    account_id: AccountId
    token_id: str
    seal_id: str
    serials: tuple[int, ...]
    level: str
    signatures: tuple[MadeSignature, ...]
    at: datetime
    render: Callable[[Balance], bytes]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A document timestamp that belongs to an earlier signature."""

    account_id: AccountId
    signature_id: str
    token_serial: str
    answer: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the account's signing log."""

    id: str
    call_id: str
    seal_id: str
    digest: Digest
    level: str
    signed_at: datetime
    token_serial: str | None
