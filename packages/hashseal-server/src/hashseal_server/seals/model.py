"""A seal: a credential (key, chain, algorithm) under an id that belongs to one account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from hashseal_core.algorithms import KeyAlgorithm, SignatureScheme

SealId = NewType("SealId", str)
KINDS = frozenset(
    {"official", "authorised-signature", "contract", "hr", "finance", "invoice", "personal"}
)


@dataclass(frozen=True, slots=True)
class Seal:
    """`chain` is DER, signing certificate first, root last."""

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
    revoked: bool = False

    def status(self, at: datetime) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked:
            return "revoked"
        return "active" if at < self.not_after else "expired"
