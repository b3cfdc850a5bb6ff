"""Values of the signing slice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hashseal_core.algorithms import Digest
from hashseal_server.accounts.model import AccountId, Principal, TokenId
from hashseal_server.accounts.quota import NOTHING_LEFT, Balance
from hashseal_server.infra.commit import Delivered
from hashseal_server.tsa.token import MadeToken


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a call brings that the database must know: its token, its key, the seal it names."""

    token_id: TokenId
    key_hash: bytes
    seal_id: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the database knew when the call arrived.

    Attributes:
        owner: keyed hash and owner of the token; None when there is no such token.
        seal_state: `issued` or `revoked`; None when the account has no such seal.
        earlier: what this key was answered before.
    """

    owner: tuple[bytes, Principal] | None = None
    balance: Balance = NOTHING_LEFT
    seal_state: str | None = None
    earlier: Delivered | None = None


@dataclass(frozen=True, slots=True)
class MadeSignature:
    """One signature, not yet released; `signed_data` is DER, made from the other parts."""

    id: str
    digest: Digest
    signature_value: bytes
    token: MadeToken | None
    signed_data: bytes


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Validation material as it stands in answers (JSON), and the SHA-256 of that."""

    content: bytes
    digest: bytes
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """Everything that one delivered call records."""

    id: str
    account_id: AccountId
    token_id: TokenId
    seal_id: str
    serials: tuple[int, ...]
    level: str
    signatures: tuple[MadeSignature, ...]
    validation: ValidationSet | None
    at: datetime


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


@dataclass(frozen=True, slots=True)
class KeptSignature:
    """A signature as it is recorded.

    Rows of before schema 0005 have the whole CMS in `signed_data` and no parts; later ones the
    parts, and an empty CMS. `tsu` is the serial number of the unit's certificate.
    """

    record: Record
    signature_value: bytes
    token_content: bytes | None
    token_signature: bytes | None
    tsu: int | None


@dataclass(frozen=True, slots=True)
class KeptCall:
    """What an answer is made from again."""

    signatures: tuple[KeptSignature, ...]
    validation: bytes | None
