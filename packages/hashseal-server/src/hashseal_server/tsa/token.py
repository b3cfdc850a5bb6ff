"""One timestamp token (RFC 3161, EN 319 422), made from its parts. Pure: the signature comes in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from msgspec import Struct

from hashseal_core import cms, tsp
from hashseal_core.algorithms import (
    DigestAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)

ALGORITHM = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
ACCURACY_MS = 1000
SIZE_BOUND_SPARE = 256
Suitable: TypeAlias = Callable[[bytes], Awaitable[object]]
"""Raises `EvidenceUnavailable` when the status of a unit (certificate, DER) cannot be shown."""


class TokenParts(Struct, frozen=True):
    """From what a token of ours can be made again, octet by octet.

    `content_der` is the TSTInfo; `tsu` the serial number of the unit's certificate.
    """

    content_der: bytes
    signature_value: bytes
    tsu: int


class IssuedUnit(Protocol):
    """A unit as the authority knows it: its key, and its chain with the root."""

    @property
    def serial(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def chain(self) -> tuple[bytes, ...]: ...


@dataclass(frozen=True, slots=True)
class TimestampingUnit:
    """A unit, ready to be used: what surrounds its tokens, with certificates and `bare`.

    `chain` is without the root, which is the validator's own; the key may be used from `begins_at`
    to `ends_at`.
    """

    serial: int
    key: str
    chain: tuple[bytes, ...]
    begins_at: datetime
    ends_at: datetime
    frame: cms.Frame
    bare: cms.Frame


def unit_of(issued: IssuedUnit) -> TimestampingUnit:
    """Make a unit ready.

    Raises:
        TimestampInvalid: its certificate is not for timestamps.
    """
    chain = issued.chain[:-1]
    begins_at, ends_at = tsp.tsu_signing_period(chain[0])
    return TimestampingUnit(
        serial=issued.serial,
        key=issued.key,
        chain=chain,
        begins_at=begins_at,
        ends_at=ends_at,
        frame=frame(chain),
        bare=frame(chain, embed_certificates=False),
    )


def size_bound(units: Sequence[IssuedUnit]) -> int:
    """Octets that no token of these units exceeds, nor one of a unit that is made like them."""
    largest = max(sum(len(one) for one in unit.chain[:-1]) for unit in units)
    return largest + 2 * SIZE_BOUND_SPARE + 256


class MadeToken(Struct, frozen=True):
    """A token (`der`), what it says, and the certificate of its unit (DER).

    Another authority's token has no parts: it is kept whole.
    """

    der: bytes
    content: tsp.TokenContent
    tsu_certificate: bytes
    parts: TokenParts | None = None


def frame(certificates: Sequence[bytes], *, embed_certificates: bool = True) -> cms.Frame:
    """What surrounds every token of a unit; `certificates` begins with the TSU's.

    `frame(…).assemble(attributes, signature value, content)` is the token, DER; the attributes are
    those of `tsp.signed_attributes`.
    """
    return cms.frame(ALGORITHM, tuple(certificates), cms.CONTENT_TST_INFO, embed_certificates)
