"""Sessions of people: begun with a password, known by a secret in a cookie, ended in time.

Of the secret only a keyed hash is stored, as of API keys. Every try to log in is counted before the
password is looked at, and forgiven if it was right, so many at once gain nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from hashseal_core.errors import RateLimited
from hashseal_gateway.users.guessing import FORGOTTEN_AFTER, FREE_FOR_ADDRESS, FREE_FOR_NAME
from hashseal_gateway.users.model import Caller

_SECRET_OCTETS = 32
_LONGEST_SECRET = 64
_SEEN_EVERY = timedelta(minutes=1)


class Kept(Protocol):
    """A session as it is stored."""

    @property
    def caller(self) -> Caller: ...
    @property
    def seen_at(self) -> datetime: ...
    @property
    def ends_at(self) -> datetime: ...
    @property
    def password_temporary(self) -> bool: ...


class Store(Protocol):
    """Where sessions and tries are."""

    async def password_of(self, name: str) -> str | None: ...
    async def add(
        self,
        keyed_hash: str,
        member_id: str,
        at: datetime,
        ends_at: datetime,
        password: str | None = None,
    ) -> None: ...
    async def find(self, keyed_hash: str) -> Kept | None: ...
    async def seen(self, keyed_hash: str, at: datetime) -> None: ...
    async def remove(self, keyed_hash: str) -> None: ...
    async def forget(self, now: datetime, idle_since: datetime, tried_before: datetime) -> None: ...
    async def count_try(self, buckets: Mapping[str, int], now: datetime) -> datetime | None: ...
    async def forgive(self, name: str, address: str) -> None: ...


class People(Protocol):
    """Who knows names and passwords."""

    async def log_in(self, name: str, secret: str, code: str | None = None) -> Caller: ...


class Vault(Protocol):
    """Keeps the installation's own secret."""

    def derived(self, purpose: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Ends:
    """When a session ends: unused for so long, and in any case."""

    idle: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has logged in; `secret` is what the cookie holds."""

    caller: Caller
    secret: str
    password_temporary: bool


class Sessions:
    """Who is logged in."""

    def __init__(
        self, store: Store, people: People, vault: Vault, now: Callable[[], datetime], ends: Ends
    ) -> None:
        self._store = store
        self._people = people
        self._pepper = vault.derived("sessions")
        self._bucket_key = vault.derived("tries to log in")
        self._form_key = vault.derived("forms")
        self._now = now
        self._ends = ends

    async def log_in(self, name: str, password: str, code: str | None, address: str) -> str:
        """Begin a session of whoever says name, password and code; its secret.

        `address` is where the try comes from.

        Raises:
            TokenInvalid: something of it is wrong; what, is not said.
            RateLimited: there were too many wrong ones; the detail says when to try again.
            StorageUnavailable: nobody can tell.
        """
        # A password that is changed while it is being looked at begins no session.
        stored = await self._store.password_of(name.lower())
        return await self.begin(await self.prove(name, password, code, address), stored)

    async def prove(self, name: str, password: str, code: str | None, address: str) -> Caller:
        """The user whose name and password these are; no session begins.

        Raises:
            TokenInvalid, RateLimited, StorageUnavailable: as `log_in` says.
        """
        of_name = self._bucket(f"name {name.lower()}")
        of_address = self._bucket(f"address {address}")
        now = self._now()
        free = {of_name: FREE_FOR_NAME, of_address: FREE_FOR_ADDRESS}
        until = await self._store.count_try(free, now)
        if until is not None:
            seconds = max(1, round((until - now).total_seconds()))
            raise RateLimited(
                f"there were too many wrong tries to log in; try again after {until:%H:%M:%S} UTC, "
                f"in {_span(seconds)}",
                seconds=seconds,
            )
        caller = await self._people.log_in(name, password, code)
        await self._store.forgive(of_name, of_address)
        return caller

    async def begin(self, caller: Caller, password: str | None = None) -> str:
        """A new session of a user who is known; its secret.

        `password` is the hash of the one that was said.

        Raises:
            TokenInvalid: the user has another password by now, or was disabled.
            StorageUnavailable: it was not recorded.
        """
        secret = secrets.token_urlsafe(_SECRET_OCTETS)
        now = self._now()
        ends_at = now + self._ends.longest
        await self._store.add(self._hash(secret), caller.id, now, ends_at, password)
        return secret

    async def find(self, secret: str | None) -> Session | None:
        """The session of this secret if it has not ended; from now on it was used.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        if secret is None or len(secret) > _LONGEST_SECRET:
            return None
        kept, now = await self._store.find(self._hash(secret)), self._now()
        if kept is None or kept.ends_at <= now or now - kept.seen_at >= self._ends.idle:
            return None
        if now - kept.seen_at >= min(_SEEN_EVERY, self._ends.idle / 4):
            await self._store.seen(self._hash(secret), now)
        return Session(kept.caller, secret, kept.password_temporary)

    async def end(self, secret: str) -> None:
        """Log out.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        await self._store.remove(self._hash(secret))

    async def allow(self, name: str) -> None:
        """Whoever waits because of wrong tries for this name need not any more.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        await self._store.forgive(self._bucket(f"name {name.lower()}"), "")

    async def forget(self) -> None:
        """Remove what has ended.

        Raises:
            StorageUnavailable: nothing was removed.
        """
        now = self._now()
        await self._store.forget(now, now - self._ends.idle, now - FORGOTTEN_AFTER)

    def form_token(self, secret: str) -> str:
        """What a form holds to show that it came from a page of this session."""
        return hmac.digest(self._form_key, secret.encode(), hashlib.sha256).hex()

    def fits(self, token: str, secret: str) -> bool:
        """The token is that of the session."""
        return hmac.compare_digest(token.encode(), self.form_token(secret).encode())

    def _hash(self, secret: str) -> str:
        return hmac.digest(self._pepper, secret.encode(), hashlib.sha256).hex()

    def _bucket(self, text: str) -> str:
        """Keyed, since people type passwords where names belong."""
        return hmac.digest(self._bucket_key, text.encode(), hashlib.sha256).hex()


def _span(seconds: int) -> str:
    if seconds < 90:  # noqa: PLR2004 - a minute and a half is plainer in seconds
        return f"{seconds} seconds"
    return f"{-(-seconds // 60)} minutes"
