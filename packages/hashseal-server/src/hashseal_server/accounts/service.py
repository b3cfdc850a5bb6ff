"""What operators and callers do with accounts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from hashseal_core.errors import InvalidValue, TokenInvalid
from hashseal_server.accounts.guessing import Guesses
from hashseal_server.accounts.last_use import LastUse, Notes
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
from hashseal_server.accounts.networks import NOWHERE, Origin
from hashseal_server.accounts.quota import unit_price
from hashseal_server.accounts.recognition import KeptToken, matching, require_origin
from hashseal_server.accounts.token_model import Terms
from hashseal_server.accounts.token_service import Tokens
from hashseal_server.accounts.tokens import Keyring, NewToken, read

_MAX_NAME = 200


class Store(Protocol):
    """What is kept; see `hashseal_server.accounts.store`."""

    async def create(
        self, name: str, entitlements: frozenset[str], free_calls: int, at: datetime
    ) -> Account: ...
    async def find(self, account_id: str) -> Account: ...
    async def set_entitlements(
        self, account_id: str, entitlements: frozenset[str], at: datetime
    ) -> None: ...
    async def order(
        self, account_id: AccountId, calls: int, unit_price: Decimal, at: datetime
    ) -> Order: ...


class TokenBook(Protocol):
    """See `hashseal_server.accounts.token_store`."""

    async def kept(self, token_id: TokenId) -> KeptToken | None: ...
    async def note(self, notes: Notes) -> None: ...


class Accounts:
    """Accounts, orders, and who is calling."""

    def __init__(
        self,
        *,
        store: Store,
        book: TokenBook,
        tokens: Tokens,
        keys: Keyring,
        guesses: Guesses,
        now: Callable[[], datetime],
    ) -> None:
        self.tokens = tokens
        self._store = store
        self._book = book
        self._keys = keys
        self._guesses = guesses
        self._now = now
        self._last_use = LastUse()

    async def create(self, name: str) -> Account:
        """A new account, entitled to sign documents, with 100 free calls.

        Raises:
            InvalidValue: the name is empty or too long.
        """
        if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
            raise InvalidValue("a name has 1 to 200 printable characters", field="name")
        return await self._store.create(name, frozenset({DOCUMENTS}), FREE_CALLS, self._now())

    async def create_token(self, account_id: str, terms: Terms | None = None) -> NewToken:
        """A new token, made by the operator: to sign and read for a year, unless told otherwise.

        Its text is never shown again.

        Raises:
            AccountNotFound: no such account.
        """
        return (await self.tokens.create(AccountId(account_id), terms or Terms()))[1]

    async def authenticate(self, authorization: str | None, origin: Origin = NOWHERE) -> Principal:
        """The caller behind an Authorization header: an API token's, or an access token's.

        Raises:
            TokenMissing, TokenInvalid: nobody we know, or not any more.
            AddressNotAllowed: the token may not be used from there.
            RateLimited: too many wrong tokens came from there.
        """
        shown = read(authorization)
        self.require_chance(shown[0], origin)
        return self.recognise(shown, await self._book.kept(shown[0]), origin)

    def require_chance(self, token_id: TokenId, origin: Origin) -> None:
        """Make sure, before anything is looked up, that a caller may try.

        Raises:
            RateLimited: too many wrong tokens came from there.
        """
        self._guesses.require_chance(token_id, origin)

    def recognise(
        self, shown: tuple[TokenId, str], found: KeptToken | None, origin: Origin
    ) -> Principal:
        """The owner of a token, given what is kept under its id; `shown` are its id and its text.

        Raises:
            TokenInvalid: nothing is, or it is another token's, or it has ended.
            AddressNotAllowed: it may not be used from there.
        """
        token_id, text = shown
        at = self._now()
        known = None if found is None else matching(text, found.kept, self._keys, at)
        if found is None or known is None:
            self._guesses.failed(token_id, origin)
            raise TokenInvalid("the token is not valid")
        owner = found.owner
        self._guesses.succeeded(owner.token_id)
        require_origin(found.kept, origin)
        if owner.client_id is None:  # access tokens are gone before anybody looks
            self._last_use.seen(owner.token_id, at)
            if known == found.kept.keyed_hash and not self._keys.is_of_the_newest(text, known):
                self._last_use.outdated(owner.token_id, known, self._keys.keyed_hash(text))
        return owner

    async def note_uses(self) -> None:
        """Write when tokens were last used, as far as that is due.

        Raises:
            StorageUnavailable: nothing was written; the next time, then.
        """
        at = self._now()
        notes = self._last_use.due(at)
        if notes.uses or notes.hashes:
            await self._book.note(notes)
            self._last_use.written(notes, at)

    async def revoke_token(self, token_id: str) -> None:
        """Refuse a token from now on, whichever account's it is.

        Raises:
            NotFound: there is none with that id.
        """
        await self.tokens.revoke(None, token_id)

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
