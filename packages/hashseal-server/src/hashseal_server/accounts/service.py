"""What operators and callers do with accounts."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from hashseal_core.errors import InvalidValue, TokenInvalid
from hashseal_server.accounts import tokens
from hashseal_server.accounts.model import (
    DOCUMENTS,
    ENTITLEMENTS,
    FREE_CALLS,
    Account,
    AccountId,
    Order,
    Principal,
    TokenId,
)
from hashseal_server.accounts.quota import unit_price

_MAX_NAME = 200


class Store(Protocol):
    """What is kept; see `hashseal_server.accounts.store`."""

    async def create(
        self, name: str, entitlements: frozenset[str], free_calls: int, at: datetime
    ) -> Account: ...
    async def find(self, account_id: str) -> Account: ...
    async def add_token(
        self, account_id: str, token_id: TokenId, keyed_hash: bytes, at: datetime
    ) -> None: ...
    async def revoke_token(self, token_id: str, at: datetime) -> None: ...
    async def principal(self, token_id: TokenId) -> tuple[bytes, Principal] | None: ...
    async def set_entitlements(
        self, account_id: str, entitlements: frozenset[str], at: datetime
    ) -> None: ...
    async def order(
        self, account_id: AccountId, calls: int, unit_price: Decimal, at: datetime
    ) -> Order: ...


class Accounts:
    """Accounts, tokens, orders; `pepper` keys the hashes of tokens."""

    def __init__(self, *, store: Store, pepper: bytes, now: Callable[[], datetime]) -> None:
        self._store = store
        self._pepper = pepper
        self._now = now

    async def create(self, name: str) -> Account:
        """A new account, entitled to sign documents, with 100 free calls.

        Raises:
            InvalidValue: the name is empty or too long.
        """
        if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
            raise InvalidValue("a name has 1 to 200 printable characters", field="name")
        return await self._store.create(name, frozenset({DOCUMENTS}), FREE_CALLS, self._now())

    async def create_token(self, account_id: str) -> tokens.NewToken:
        """A new token; its text is never shown again.

        Raises:
            AccountNotFound: no such account.
        """
        account = await self._store.find(account_id)
        made = tokens.make(self._pepper)
        await self._store.add_token(account.id, made.id, made.keyed_hash, self._now())
        return made

    async def authenticate(self, authorization: str | None) -> Principal:
        """The caller behind an Authorization header.

        Raises:
            TokenMissing, TokenInvalid: nobody we know.
        """
        token_id, text = tokens.read(authorization)
        return self.recognise(text, await self._store.principal(token_id))

    def recognise(self, text: str, found: tuple[bytes, Principal] | None) -> Principal:
        """The owner of a token, given what is kept under its id: keyed hash and owner.

        Raises:
            TokenInvalid: nothing is, or it is another token's.
        """
        if found is None or not hmac.compare_digest(
            found[0], tokens.keyed_hash(text, self._pepper)
        ):
            raise TokenInvalid("the token is not valid")
        return found[1]

    async def revoke_token(self, token_id: str) -> None:
        """Refuse a token from now on.

        Raises:
            TokenInvalid: there is none with that id.
        """
        await self._store.revoke_token(token_id, self._now())

    async def record_order(
        self, account_id: str, calls: int, price: Decimal | None = None
    ) -> Order:
        """Book calls that were paid for; without a price the list price of that volume.

        Raises:
            AccountNotFound, InvalidValue.
        """
        account = await self._store.find(account_id)
        agreed = unit_price(calls) if price is None else price
        if not agreed.is_finite() or agreed < 0:
            raise InvalidValue("a price is not negative", field="unit_price")
        return await self._store.order(account.id, calls, agreed, self._now())

    async def set_entitlement(self, account_id: str, entitlement: str, *, granted: bool) -> None:
        """Add or take away one entitlement.

        Raises:
            AccountNotFound, InvalidValue.
        """
        if entitlement not in ENTITLEMENTS:
            known = ", ".join(sorted(ENTITLEMENTS))
            raise InvalidValue(f"an entitlement is one of {known}", field="entitlement")
        account = await self._store.find(account_id)
        kept = account.entitlements - {entitlement}
        changed = kept | {entitlement} if granted else kept
        await self._store.set_entitlements(account_id, changed, self._now())
