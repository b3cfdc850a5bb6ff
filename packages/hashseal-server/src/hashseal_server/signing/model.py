"""Values of the signing slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from msgspec import Struct

from hashseal_core.algorithms import Digest, Level
from hashseal_server.accounts.model import AccountId, TokenId
from hashseal_server.accounts.quota import NOTHING_LEFT, Balance
from hashseal_server.accounts.recognition import KeptToken
from hashseal_server.infra.commit import Delivered
from hashseal_server.infra.statements import Rows, Statement
from hashseal_server.tsa.token import MadeToken

RAW = "RAW"
"""What stands in the place of a level where digests themselves were signed."""
Written: TypeAlias = tuple[Statement, Rows]
Alongside: TypeAlias = Callable[[str], tuple[Written, ...]]
Complete: TypeAlias = "Callable[[Sequence[MadeSignature], bytes | None], None]"


def nothing_else(_call_id: str) -> tuple[Written, ...]:
    """What most calls write besides their record."""
    return ()


class Arrival(Struct, frozen=True):
    """What a call brings that the database must know: its token, its key, the seal it names."""

    token_id: TokenId
    key_hash: bytes
    seal_id: str


class Found(Struct, frozen=True):
    """What the database knew when the call arrived.

    Attributes:
        token: what is kept of the token; None when there is none, or it was revoked.
        seal_state: `issued` or `usable`, or `revoked`; None when the account has no such seal.
        seal_serial: which certificate of ours the seal has now; None for another authority's,
            which stays.
        earlier: what this key was answered before.
    """

    token: KeptToken | None = None
    balance: Balance = NOTHING_LEFT
    seal_state: str | None = None
    seal_serial: int | None = None
    earlier: Delivered | None = None


class MadeSignature(Struct, frozen=True):
    """One signature, not yet released; `signed_data` is DER, made from the other parts.

    `signing_time` stands in it (CAdES) or not (PAdES). Of a digest that was signed itself there is
    the value alone.
    """

    id: str
    digest: Digest
    signature_value: bytes
    token: MadeToken | None
    signed_data: bytes
    signing_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Validation material as it stands in answers (JSON), and the SHA-256 of that.

    `certificates` are the digests of those in it, hexadecimal; `serials` the numbers of our own
    authorities and responders that vouch in it.
    """

    content: bytes
    digest: bytes
    valid_until: datetime
    certificates: tuple[str, ...] = ()
    serials: tuple[int, ...] = ()


def as_it_is(_made: Sequence[MadeSignature], _validation: bytes | None) -> None:
    """What most calls do with their signatures before they are recorded."""


class Wanted(Struct, frozen=True):
    """What is to be signed, all of it or nothing.

    Attributes:
        dated: with the time of signing among the attributes, as CAdES wants it.
        validation: with validation material, at levels too that have none.
        alongside: given the call's id, what else is written in the transaction that records it.
        complete: given the signatures and their validation material, make of them what is answered:
            it may fail as long as nothing is charged.
    """

    seal_id: str
    digests: list[Digest]
    level: Level
    dated: bool = False
    validation: bool = False
    alongside: Alongside = nothing_else
    complete: Complete = as_it_is


class Delivery(Struct, frozen=True):
    """What a call is answered; `validation` is JSON, `left` what was left after it."""

    call_id: str
    seal_id: str
    signatures: tuple[MadeSignature, ...]
    validation: bytes | None
    left: Balance
    appearance_digest: str | None = None


class Call(Struct, frozen=True):
    """Everything that one delivered call records.

    `serials` are of certificates of ours whose keys signed, the seal's first unless it is another
    authority's, then the units'; `imported` the digest of the seal's if it is another authority's.
    `stamped` are the digests of other authorities' units whose status was shown to the call.
    """

    id: str
    account_id: AccountId
    token_id: TokenId
    seal_id: str
    serials: tuple[int, ...]
    level: str
    signatures: tuple[MadeSignature, ...]
    validation: ValidationSet | None
    at: datetime
    imported: tuple[str, ...] = ()
    stamped: tuple[str, ...] = ()
    appearance_digest: str | None = None
    alongside: tuple[Written, ...] = ()

    @property
    def vouchers(self) -> tuple[int, ...]:
        """Serial numbers of ours without which the validation material is of no use."""
        return self.validation.serials if self.validation else ()

    @property
    def vouching(self) -> tuple[str, ...]:
        """The digests of certificates that `stamped` may stand below."""
        return self.validation.certificates if self.stamped and self.validation else ()


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A document timestamp that belongs to an earlier signature.

    `units` of ours that made it, `stamped` the digests of other authorities'. `vouchers` and
    `vouching` as those of a call.
    """

    account_id: AccountId
    signature_id: str
    token_serial: str
    answer: bytes
    at: datetime
    units: tuple[int, ...] = ()
    alongside: tuple[Written, ...] = ()
    stamped: tuple[str, ...] = ()
    vouchers: tuple[int, ...] = ()
    vouching: tuple[str, ...] = ()


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
    parts, and an empty CMS. `tsu` is the serial number of the unit's certificate, `certificate`
    that of the seal's when it signed; rows of before schema 0010 do not say it, nor those of seals
    that were imported. A token of another authority is kept whole: `token_content` is all of it,
    `token_signature` and `tsu` are None. `appearance_digest` is that of the seal's picture, if it
    had one then.
    """

    record: Record
    signature_value: bytes
    token_content: bytes | None
    token_signature: bytes | None
    tsu: int | None
    certificate: int | None = None
    appearance_digest: str | None = None
    signing_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeptCall:
    """What an answer is made from again."""

    signatures: tuple[KeptSignature, ...]
    validation: bytes | None
