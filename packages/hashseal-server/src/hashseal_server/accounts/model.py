"""Values of the account slice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NewType

AccountId = NewType("AccountId", str)
TokenId = NewType("TokenId", str)

DOCUMENTS = "documents"
CONTRACTS = "contracts"
IDENTITY = "identity"
ENTITLEMENTS = frozenset({DOCUMENTS, CONTRACTS, IDENTITY})
FREE_CALLS = 100


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling."""

    account_id: AccountId
    token_id: TokenId
    entitlements: frozenset[str]


@dataclass(frozen=True, slots=True)
class Account:
    """An organisation."""

    id: AccountId
    name: str
    entitlements: frozenset[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Order:
    """Calls bought; the price was fixed when it was recorded."""

    id: str
    account_id: AccountId
    calls: int
    unit_price: Decimal
    recorded_at: datetime

    @property
    def amount(self) -> Decimal:
        """What was paid, US dollars."""
        return self.unit_price * self.calls
