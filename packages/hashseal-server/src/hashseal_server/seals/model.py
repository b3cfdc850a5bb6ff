"""A seal: a credential (key, chain, algorithm) under an id that belongs to one account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from hashseal_core.algorithms import KeyAlgorithm, Level, SignatureScheme
from hashseal_core.errors import InvalidValue, LevelUnavailable, SealExpired
from hashseal_server.pki.imported import RSA_2048_ENDS_AT

SealId = NewType("SealId", str)
KINDS = frozenset(
    {"official", "authorised-signature", "contract", "hr", "finance", "invoice", "personal"}
)


@dataclass(frozen=True, slots=True)
class Seal:
    """A key with a certificate for it.

    Attributes:
        serial: of the signing certificate; another authority's may equal one of ours.
        chain: DER, signing certificate first, root last.
        not_after: when the first certificate of the chain ends.
        imported: digest of a certificate that another authority issued; None for our own.
        provable: of each certificate of the chain but the root there is an address of status data
            that may be called, which B-LT needs; always so for our own.
        appearance_digest: SHA-256 of its picture, in hexadecimal; None until it is drawn.
    """

    id: SealId
    account_id: str
    kind: str
    subject: str
    key_algorithm: KeyAlgorithm
    scheme: SignatureScheme
    key: str
    serial: int
    chain: tuple[bytes, ...]
    not_after: datetime
    revoked_at: datetime | None = None
    imported: str | None = None
    provable: bool = True
    appearance_digest: str | None = None

    @property
    def revoked(self) -> bool:
        """It signs no more."""
        return self.revoked_at is not None

    @property
    def ends_at(self) -> datetime:
        """From when on it does not sign: its certificate is over, or its key too short by then."""
        if self.key_algorithm is KeyAlgorithm.RSA2048:
            return min(self.not_after, RSA_2048_ENDS_AT)
        return self.not_after

    @property
    def levels(self) -> tuple[Level, ...]:
        """At which it signs."""
        return tuple(one for one in Level if self.provable or not one.has_validation)

    def status(self, at: datetime) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked:
            return "revoked"
        return "active" if at < self.ends_at else "expired"

    def require_usable(self, level: Level, at: datetime, *, proven: bool = False) -> None:
        """The seal signs at this level and time, unless it is revoked.

        `proven`: validation material goes with the signatures, whatever the level.

        Raises:
            SealExpired, LevelUnavailable: it does not.
        """
        if at >= self.not_after:
            raise SealExpired("the seal's certificate has expired", field="seal_id")
        if at >= self.ends_at:
            raise SealExpired(
                "the seal's key is RSA-2048, which signs until the end of 2027 only (TS 119 312)",
                field="seal_id",
            )
        if level not in self.levels or (proven and not self.provable):
            raise LevelUnavailable(
                f"this seal signs at {' and '.join(self.levels)} only, without validation "
                "material: status data of its "
                "certificates cannot be fetched, or may not be until the operator confirms it",
                field="level",
            )


def require_kind(kind: str) -> None:
    """A kind that seals have.

    Raises:
        InvalidValue: there is no such kind.
    """
    if kind not in KINDS:
        raise InvalidValue(f"kind is one of {', '.join(sorted(KINDS))}", field="kind")


def scheme_of(algorithm: KeyAlgorithm, *, pss: bool) -> SignatureScheme:
    """How a seal with this key signs.

    Raises:
        InvalidValue: PSS was asked for with a key that is not RSA.
    """
    if pss and not algorithm.is_rsa:
        raise InvalidValue("PSS goes with RSA keys only", field="pss")
    if algorithm.is_rsa:
        return SignatureScheme.RSA_PSS if pss else SignatureScheme.RSA_PKCS1
    return SignatureScheme.ECDSA


@dataclass(frozen=True, slots=True)
class Request:
    """A CertificationRequest (DER) for a key of ours; `seal_id` is what came of it."""

    id: str
    account_id: str
    kind: str
    key_algorithm: KeyAlgorithm
    scheme: SignatureScheme
    key: str
    subject: str
    der: bytes
    made_at: datetime
    seal_id: str | None = None
