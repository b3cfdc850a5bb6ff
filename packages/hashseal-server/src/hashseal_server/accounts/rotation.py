"""New secrets for tokens and OAuth2 clients, and their end: the same rules for both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from hashseal_core.errors import NotFound, ScopeMissing
from hashseal_server.accounts.model import AccountId, Principal
from hashseal_server.accounts.token_model import ApiToken, Client, read_overlap, require_id
from hashseal_server.accounts.tokens import NewToken

OPERATOR = "operator"
"""Who did it, in the audit log, when it was no token."""
Held = TypeVar("Held", ApiToken, Client)


class Store(Protocol[Held]):
    """What is kept; see `hashseal_server.accounts.secret_rows`."""

    async def find(self, account_id: AccountId | None, identity: str, /) -> Held: ...
    async def rotate(self, changed: Held, keyed_hash: bytes, by: str) -> None: ...
    async def revoke(
        self, account_id: AccountId | None, identity: str, /, at: datetime, by: str
    ) -> None: ...


class Rotation(Generic[Held]):
    """What is done with the secrets of one kind; `make` gives a new one for an id.

    `by` is the principal who asks, or None for the operator, who may do everything.
    """

    def __init__(self, name: str, *, store: Store[Held], make: Callable[[str], NewToken]) -> None:
        self._name = name
        self._store: Store[Held] = store
        self._make = make

    async def rotate(
        self,
        account_id: AccountId | None,
        identity: str,
        overlap: timedelta,
        by: Principal | None,
        at: datetime,
    ) -> tuple[Held, NewToken]:
        """A new secret; the one of before is good for the overlap, the one before that no more.

        Raises:
            NotFound: absent, revoked, or another account's; `account_id` None is any account.
            ScopeMissing: it may do more than whoever asks.
            InvalidValue: the overlap is too long.
        """
        read_overlap(overlap)
        require_id(identity, self._name)
        held = await self._store.find(account_id, identity)
        if held.revoked_at is not None:
            raise NotFound(f"no {self._name} with that id")
        require_scopes(by, held.scopes)
        made = self._make(held.id)
        changed = held.rotated(at, at + overlap if overlap else None)
        await self._store.rotate(changed, made.keyed_hash, name_of(by))
        return changed, made

    async def revoke(
        self, account_id: AccountId | None, identity: str, by: Principal | None, at: datetime
    ) -> Held:
        """Refuse it from now on, in every replica; what it was.

        Raises:
            NotFound: absent, or another account's; `account_id` None is any account.
        """
        require_id(identity, self._name)
        await self._store.revoke(account_id, identity, at, name_of(by))
        return await self._store.find(account_id, identity)


def require_scopes(by: Principal | None, wanted: frozenset[str]) -> None:
    """Make sure that somebody may do all that a new secret is good for.

    Raises:
        ScopeMissing: not all of it.
    """
    if by is not None and (lacking := sorted(wanted - by.scopes)):
        raise ScopeMissing(
            f"a token cannot give what it has not: the scope {lacking[0]}", scope=lacking[0]
        )


def name_of(by: Principal | None) -> str:
    """Who did it, in the audit log."""
    return OPERATOR if by is None else by.actor
