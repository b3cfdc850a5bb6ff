"""Values of the account slice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NewType

from msgspec import Struct

from hashseal_core.errors import ScopeMissing

AccountId = NewType("AccountId", str)
TokenId = NewType("TokenId", str)
ClientId = NewType("ClientId", str)

DOCUMENTS = "documents"
CONTRACTS = "contracts"
IDENTITY = "identity"
ENTITLEMENTS = frozenset({DOCUMENTS, CONTRACTS, IDENTITY})
FREE_CALLS = 100

SIGN = "sign"
READ = "read"
MANAGE = "manage"
SCOPES = frozenset({SIGN, READ, MANAGE})
"""Sign and timestamp; read what is the account's; handle tokens, clients and whatever is set."""


class Principal(Struct, frozen=True):
    """Who is calling.

    `token_id` names the token that was sent; `client_id` the OAuth2 client whose access token it
    is, if it is one.
    """

    account_id: AccountId
    token_id: TokenId
    entitlements: frozenset[str]
    scopes: frozenset[str] = SCOPES
    client_id: ClientId | None = None

    @property
    def actor(self) -> TokenId:
        """What books and limits name: the token, or the client, whose access tokens come and go."""
        return self.token_id if self.client_id is None else TokenId(self.client_id)

    def require(self, scope: str) -> None:
        """Make sure that the caller may do what needs this scope.

        Raises:
            ScopeMissing: the token does not have it.
        """
        if scope not in self.scopes:
            raise ScopeMissing(f"this needs a token with the scope {scope}", scope=scope)


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
