"""What administrators and operators do with tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from hashseal_server.accounts import rotation, tokens
from hashseal_server.accounts.model import SCOPES, AccountId, Principal
from hashseal_server.accounts.rotation import Rotation, name_of, require_scopes
from hashseal_server.accounts.token_model import (
    OVERLAP,
    ApiToken,
    Kind,
    Terms,
    read_overlap,
)


class Store(rotation.Store[ApiToken], Protocol):
    """What is kept; see `hashseal_server.accounts.token_store`."""

    async def add(self, token: ApiToken, keyed_hash: bytes, by: str) -> bool: ...
    async def all(self, account_id: AccountId) -> list[ApiToken]: ...
    async def organisation(self, account_id: AccountId) -> ApiToken | None: ...


class Tokens:
    """Tokens of all accounts.

    `by` is the principal who asks, or None for the operator, who may do everything. Nobody is given
    the secret of a token that may do more than they may.
    """

    def __init__(self, *, store: Store, keys: tokens.Keyring, now: Callable[[], datetime]) -> None:
        self._store = store
        self._keys = keys
        self._now = now
        self._rotation = Rotation("token", store=store, make=lambda known: tokens.make(keys, known))

    async def create(
        self, account_id: AccountId, terms: Terms, by: Principal | None = None
    ) -> tuple[ApiToken, tokens.NewToken]:
        """A new personal token; its text is never shown again.

        Raises:
            ScopeMissing: it would have a scope that whoever asks has not.
            AccountNotFound, LimitReached.
        """
        require_scopes(by, terms.scopes)
        made, at = tokens.make(self._keys), self._now()
        token = ApiToken(
            id=made.id,
            account_id=account_id,
            kind=Kind.PERSONAL,
            label=terms.label,
            holder=terms.holder,
            scopes=terms.scopes,
            networks=terms.networks,
            created_at=at,
            expires_at=None if terms.lifetime is None else at + terms.lifetime,
        )
        await self._store.add(token, made.keyed_hash, name_of(by))
        return token, made

    async def all(self, account_id: AccountId) -> list[ApiToken]:
        """The account's tokens that were not revoked, oldest first."""
        return await self._store.all(account_id)

    async def rotate(
        self,
        account_id: AccountId | None,
        token_id: str,
        overlap: timedelta = OVERLAP,
        by: Principal | None = None,
    ) -> tuple[ApiToken, tokens.NewToken]:
        """A new secret for a token; it ends after as long as it was given last.

        The secret of before is good for the overlap; one that was still good from the rotation
        before is good no more.

        Raises:
            NotFound: absent, revoked, or another account's; `account_id` None is any account.
            ScopeMissing: the token may do more than whoever asks.
            InvalidValue: the overlap is too long.
        """
        return await self._rotation.rotate(account_id, token_id, overlap, by, self._now())

    async def regenerate(
        self,
        account_id: AccountId,
        overlap: timedelta = timedelta(),
        by: Principal | None = None,
    ) -> tuple[ApiToken, tokens.NewToken]:
        """A new secret for the account's own token, which is made when there is none.

        It may do everything and has no end. The secret of before stops at once, unless an overlap
        is asked for.

        Raises:
            ScopeMissing: whoever asks may not do everything.
            AccountNotFound, LimitReached, InvalidValue.
        """
        require_scopes(by, SCOPES)
        read_overlap(overlap)
        while True:
            known = await self._store.organisation(account_id)
            if known is not None:
                return await self.rotate(account_id, known.id, overlap, by)
            made = tokens.make(self._keys)
            token = ApiToken(
                id=made.id,
                account_id=account_id,
                kind=Kind.ORGANISATION,
                label=None,
                holder=None,
                scopes=SCOPES,
                networks=(),
                created_at=self._now(),
            )
            if await self._store.add(token, made.keyed_hash, name_of(by)):
                return token, made

    async def revoke(
        self, account_id: AccountId | None, token_id: str, by: Principal | None = None
    ) -> ApiToken:
        """Refuse a token from now on, in every replica; what it was.

        Raises:
            NotFound: absent, or another account's; `account_id` None is any account.
        """
        return await self._rotation.revoke(account_id, token_id, by, self._now())
