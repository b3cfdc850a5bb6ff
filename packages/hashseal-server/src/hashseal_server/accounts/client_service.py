"""OAuth2 clients: what they are given, and what administrators and operators do with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias, TypeVar

from hashseal_core.errors import ClientInvalid, HashsealError
from hashseal_server.accounts import oauth2, rotation, tokens
from hashseal_server.accounts.guessing import Guesses
from hashseal_server.accounts.model import AccountId, ClientId, Principal, TokenId
from hashseal_server.accounts.networks import NOWHERE, Origin
from hashseal_server.accounts.recognition import matching, require_origin
from hashseal_server.accounts.rotation import Rotation, name_of, require_scopes
from hashseal_server.accounts.token_model import (
    OVERLAP,
    ApiToken,
    Client,
    KeptClient,
    Kind,
    ShownSecret,
    Terms,
)

_Decision = TypeVar("_Decision")
_Decide: TypeAlias = Callable[[oauth2.Asked, Client | None, Callable[[str], bool]], _Decision]


class Store(rotation.Store[Client], Protocol):
    """What is kept; see `hashseal_server.accounts.client_store`."""

    async def kept(self, client_id: str) -> KeptClient | None: ...
    async def add(self, client: Client, keyed_hash: bytes, by: str) -> None: ...
    async def all(self, account_id: AccountId) -> list[Client]: ...
    async def grant(
        self, access: ApiToken, keyed_hash: bytes, client_id: ClientId, shown: ShownSecret
    ) -> None: ...
    async def withdraw(self, client_id: ClientId, token_id: TokenId, at: datetime) -> None: ...


class Limits(Protocol):
    """See `hashseal_server.infra.rates`."""

    async def spend(self, caller: str) -> None: ...


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a client was given; `text` is shown this once and good for `seconds`."""

    text: str
    seconds: int
    scopes: frozenset[str]
    account_id: AccountId


class Clients:
    """The OAuth2 clients of all accounts.

    `by` is the principal who asks, or None for the operator, who may do everything. Nobody is given
    the secret of a client that may do more than they may.
    """

    def __init__(
        self,
        *,
        store: Store,
        keys: tokens.Keyring,
        guesses: Guesses,
        limits: Limits,
        grants: Limits,
        lifetime: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._keys = keys
        self._guesses = guesses
        self._limits = limits
        self._grants = grants
        self._lifetime = lifetime
        self._now = now
        self._rotation = Rotation(
            "client", store=store, make=lambda known: tokens.make_client(keys, known)
        )

    async def token(self, asked: oauth2.Asked, origin: Origin = NOWHERE) -> AccessToken:
        """The token endpoint: an access token for a client (RFC 6749, 4.4).

        Raises:
            ClientInvalid: nobody we know, or a wrong secret; which of the two is not said.
            GrantUnsupported, ScopeInvalid, InvalidRequest: this cannot be had.
            AddressNotAllowed: the client may not be used from there.
            RateLimited: too many wrong secrets came from there, or too many requests of the client;
                or it was given too many tokens.
        """
        known, shown, scopes = await self._decided(asked, origin, oauth2.granted)
        client = known.client
        await self._grants.spend(f"grant.{client.id}")  # each is recorded and audited for good
        made, at = tokens.make(self._keys), self._now()
        access = ApiToken(
            id=made.id,
            account_id=client.account_id,
            kind=Kind.ACCESS,
            label=None,
            holder=None,
            scopes=scopes,
            networks=client.networks,
            created_at=at,
            expires_at=at + self._lifetime,
        )
        await self._store.grant(access, made.keyed_hash, client.id, shown)
        seconds = int(self._lifetime.total_seconds())
        return AccessToken(made.text, seconds, scopes, client.account_id)

    async def revoke_token(self, asked: oauth2.Asked, origin: Origin = NOWHERE) -> None:
        """The revocation endpoint: end an access token of the client that asks (RFC 7009).

        A token that is another's or nobody's is no error.

        Raises:
            ClientInvalid, InvalidRequest, AddressNotAllowed, RateLimited: as for `token`.
        """
        known, _, token_id = await self._decided(asked, origin, oauth2.to_be_revoked)
        if token_id is not None:
            await self._store.withdraw(known.client.id, token_id, self._now())

    async def create(
        self, account_id: AccountId, terms: Terms, by: Principal | None = None
    ) -> tuple[Client, tokens.NewToken]:
        """A new client; its secret is never shown again.

        Raises:
            ScopeMissing: it would have a scope that whoever asks has not.
            AccountNotFound, LimitReached.
        """
        require_scopes(by, terms.scopes)
        made = tokens.make_client(self._keys)
        client = Client(
            id=ClientId(made.id),
            account_id=account_id,
            label=terms.label,
            scopes=terms.scopes,
            networks=terms.networks,
            created_at=self._now(),
        )
        await self._store.add(client, made.keyed_hash, name_of(by))
        return client, made

    async def all(self, account_id: AccountId) -> list[Client]:
        """The account's clients that were not revoked, oldest first."""
        return await self._store.all(account_id)

    async def rotate(
        self,
        account_id: AccountId | None,
        client_id: str,
        overlap: timedelta = OVERLAP,
        by: Principal | None = None,
    ) -> tuple[Client, tokens.NewToken]:
        """A new secret for a client; the one of before is good for the overlap.

        Without an overlap its access tokens end too.

        Raises:
            NotFound: absent, revoked, or another account's; `account_id` None is any account.
            ScopeMissing: the client may do more than whoever asks.
            InvalidValue: the overlap is too long.
        """
        return await self._rotation.rotate(account_id, client_id, overlap, by, self._now())

    async def revoke(
        self, account_id: AccountId | None, client_id: str, by: Principal | None = None
    ) -> Client:
        """Refuse a client and its access tokens from now on, in every replica; what it was.

        Raises:
            NotFound: absent, or another account's; `account_id` None is any account.
        """
        return await self._rotation.revoke(account_id, client_id, by, self._now())

    async def _decided(
        self, asked: oauth2.Asked, origin: Origin, decide: _Decide[_Decision]
    ) -> tuple[KeptClient, ShownSecret, _Decision]:
        """The client that asks, the secret that it showed, and what is decided."""
        claimed = oauth2.claimed_client(asked)
        self._guesses.require_chance(claimed, origin)
        known = await self._store.kept(claimed)
        at = self._now()
        shown: list[ShownSecret] = []

        def is_secret(text: str) -> bool:
            found = None if known is None else matching(text, known.kept, self._keys, at)
            if found is not None:
                newest = self._keys.is_of_the_newest(text, found)
                shown.append(ShownSecret(found, None if newest else self._keys.keyed_hash(text)))
            return found is not None

        try:
            decision = decide(asked, None if known is None else known.client, is_secret)
        except HashsealError:
            if not shown:
                self._guesses.failed(claimed, origin)
            raise
        if known is None or not shown:
            raise ClientInvalid("the client has not shown its secret")
        self._guesses.succeeded(claimed)
        require_origin(known.kept, origin)
        await self._limits.spend(claimed)
        return known, shown[-1], decision
