"""Making keys and users, and knowing callers again."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from hashseal_core import bearer
from hashseal_core.errors import ConfigurationInvalid, InvalidValue, NotFound, TokenInvalid
from hashseal_gateway.users import password, totp
from hashseal_gateway.users.model import (
    KEY_PREFIX,
    ApiKey,
    Caller,
    Role,
    User,
    is_id,
    key_name,
    login_name,
)

_PASSWORDS_AT_ONCE = 1
"""Others wait here, not in a thread each: a password takes 64 MiB and a tenth of a second."""
_RANDOM_OCTETS = bearer.ID_OCTETS + bearer.SECRET_OCTETS
_PROPOSED_SECONDS = 1800
_NOBODY = password.hashed("nobody has this password", bytes(password.SALT_OCTETS))
"""Who does not exist takes as long to refuse as who does."""


class Store(Protocol):
    """Where keys and users are."""

    async def add_key(self, key: ApiKey, keyed_hash: bytes) -> None: ...
    async def find_key(self, identity: str) -> tuple[ApiKey, bytes] | None: ...
    async def all_keys(self, after: str | None = None, most: int | None = None) -> list[ApiKey]: ...
    async def revoke_key(self, identity: str, at: datetime) -> None: ...
    async def key_was_used(self, key: ApiKey, at: datetime) -> None: ...
    async def add_user(
        self, user: User, password_hash: str, *, temporary: bool = False
    ) -> None: ...
    async def find_user(self, name: str) -> tuple[User, str, bytes | None, int | None] | None: ...
    async def all_users(self, after: str | None = None, most: int | None = None) -> list[User]: ...
    async def change_user(self, name: str, *, unless_last: bool = False, **values: Any) -> None: ...
    async def use_step(self, name: str, step: int) -> bool: ...


class Vault(Protocol):
    """Keeps small secrets."""

    def derived(self, purpose: str) -> bytes: ...
    def sealed(self, text: str, place: str) -> bytes: ...
    def opened(self, stored: bytes, place: str) -> str: ...


class Users:
    """Everybody who may do something here."""

    def __init__(self, store: Store, vault: Vault, now: Callable[[], datetime]) -> None:
        self._store = store
        self._vault = vault
        self._pepper = vault.derived("api keys")
        self._now = now
        self._places = asyncio.Semaphore(_PASSWORDS_AT_ONCE)

    async def create_key(
        self,
        name: str,
        *,
        role: Role = Role.OPERATOR,
        seals: frozenset[str] | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its text, which is shown once.

        Raises:
            InvalidValue: it has no name, or has expired already.
            StorageUnavailable: it was not recorded.
        """
        made, now = bearer.make(KEY_PREFIX, secrets.token_bytes(_RANDOM_OCTETS)), self._now()
        if expires_at is not None and expires_at <= now:
            raise InvalidValue("this is over already", field="expires_at")
        key = ApiKey(made.id, key_name(name), role, seals, now, expires_at, None, None)
        await self._store.add_key(key, bearer.keyed_hash(made.text, self._pepper))
        return key, made.text

    async def caller(self, authorization: str | None) -> Caller:
        """Who sends this Authorization header.

        Raises:
            TokenMissing, TokenInvalid: nobody that is known.
        """
        shown = bearer.read(KEY_PREFIX, authorization)
        found = await self._store.find_key(shown.id)
        if found is None:
            raise TokenInvalid("the key is not valid")
        key, stored = found
        if not hmac.compare_digest(bearer.keyed_hash(shown.text, self._pepper), stored):
            raise TokenInvalid("the key is not valid")
        now = self._now()
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
            raise TokenInvalid("the key was revoked or has expired")
        await self._store.key_was_used(key, now)
        return Caller("key", key.id, key.name, key.role, key.seals)

    async def keys(self, after: str | None = None, most: int | None = None) -> list[ApiKey]:
        """Every key, oldest first; or so many that were made after the one of an id.

        Raises:
            InvalidValue: no key has the id.
        """
        return await self._store.all_keys(_cursor(after), most)

    async def find_key(self, identity: str) -> ApiKey:
        """A key by id, revoked ones included.

        Raises:
            NotFound: there is no such key.
        """
        found = await self._store.find_key(identity) if is_id(identity) else None
        if found is None:
            raise NotFound("there is no such key")
        return found[0]

    async def revoke_key(self, identity: str) -> None:
        """Nobody gets in with it any more; since when, is said by the first time.

        Raises:
            NotFound: there is no such key.
        """
        if not is_id(identity):
            raise NotFound("there is no such key")
        await self._store.revoke_key(identity, self._now())

    async def create_user(
        self, name: str, role: Role, secret: str | None = None, *, temporary: bool = False
    ) -> tuple[User, str]:
        """A new user and the password, made here unless it is given.

        A `temporary` one is changed by the user before anything else is done.

        Raises:
            InvalidValue: the name is taken or no name, or the password too short.
        """
        chosen = secret or secrets.token_urlsafe(15)
        password.require_good(chosen)
        user = User(
            secrets.token_hex(8),
            login_name(name),
            role,
            self._now(),
            None,
            has_totp=False,
            password_temporary=temporary,
        )
        await self._store.add_user(user, await self._hashed(chosen), temporary=temporary)
        return user, chosen

    async def users(self, after: str | None = None, most: int | None = None) -> list[User]:
        """Every user, oldest first; or so many that were made after the one of an id.

        Raises:
            InvalidValue: no user has the id.
        """
        return await self._store.all_users(_cursor(after), most)

    async def set_password(
        self, name: str, secret: str | None = None, *, temporary: bool = False
    ) -> str:
        """Another password, made here unless it is given; every session of the user ends.

        Raises:
            NotFound: there is no such user.
            InvalidValue: it is too short.
        """
        chosen = secret or secrets.token_urlsafe(15)
        password.require_good(chosen)
        changes: dict[str, Any] = {
            "password_hash": await self._hashed(chosen),
            "password_temporary": temporary,
        }
        await self._store.change_user(login_name(name), **changes)
        return chosen

    async def find(self, name: str) -> User:
        """A user by name.

        Raises:
            NotFound: there is no such user.
        """
        try:
            found = await self._store.find_user(login_name(name))
        except InvalidValue as error:
            raise NotFound("there is no such user") from error
        if found is None:
            raise NotFound("there is no such user")
        return found[0]

    async def change(
        self, name: str, *, role: Role | None = None, disabled: bool | None = None
    ) -> None:
        """Another role, from the next page on; in no more, or in again with the password of before.

        Both are changed, or neither. Who is disabled has no session any more.

        Raises:
            NotFound: there is no such user.
            InvalidValue: nobody else manages users.
        """
        changes: dict[str, Any] = {}
        if role is not None:
            changes["role"] = role
        if disabled is not None:
            changes["disabled_at"] = self._now() if disabled else None
        leaves = disabled is True or (role is not None and role is not Role.ADMINISTRATOR)
        if changes:
            await self._store.change_user(login_name(name), unless_last=leaves, **changes)

    async def disable(self, name: str) -> None:
        """This user gets in no more, the last administrator included; every session ends.

        Raises:
            NotFound: there is no such user.
        """
        await self._store.change_user(login_name(name), disabled_at=self._now())

    async def enrol_totp(self, name: str) -> tuple[str, str]:
        """A new secret for an authenticator, and its address; needed at log-in from now on.

        Every session of the user ends.

        Raises:
            NotFound: there is no such user.
        """
        user = await self.find(name)
        secret = totp.secret_text(secrets.token_bytes(totp.SECRET_OCTETS))
        await self._keep_totp(user, secret, None)
        return secret, totp.address(secret, user.name)

    async def propose_totp(self, name: str) -> tuple[str, str, str]:
        """A secret that may become the user's, its address, and itself sealed for `confirm_totp`.

        It may for half an hour.

        Raises:
            NotFound: there is no such user.
        """
        user = await self.find(name)
        secret = totp.secret_text(secrets.token_bytes(totp.SECRET_OCTETS))
        proposal = f"{secret} {self._now().timestamp():.0f}"
        sealed = self._vault.sealed(proposal, f"totp proposed to {user.id}")
        return secret, totp.address(secret, user.name), sealed.hex()

    def proposed_totp(self, user: User, sealed: str) -> tuple[str, str]:
        """The secret that was proposed to this very user, and its address.

        Raises:
            InvalidValue: it was not, or too long ago.
        """
        try:
            octets = bytes.fromhex(sealed)
            proposal = self._vault.opened(octets, f"totp proposed to {user.id}")
            secret, _, made_at = proposal.partition(" ")
            age = self._now().timestamp() - float(made_at)
        except (ValueError, ConfigurationInvalid) as error:
            raise InvalidValue("begin again: this code was not made for you") from error
        if age > _PROPOSED_SECONDS:
            raise InvalidValue("begin again: this code was made more than half an hour ago")
        return secret, totp.address(secret, user.name)

    async def confirm_totp(self, name: str, sealed: str, code: str) -> None:
        """The authenticator has the proposed secret: it is needed at log-in from now on.

        Every session of the user ends.

        Raises:
            NotFound: there is no such user.
            InvalidValue: the code is not the authenticator's, or the proposal not the user's.
        """
        user = await self.find(name)
        secret, _ = self.proposed_totp(user, sealed)
        step = totp.step_of(secret, code, self._now().timestamp(), None)
        if step is None:
            raise InvalidValue(
                "the code is not right; take the one that is shown now", field="code"
            )
        await self._keep_totp(user, secret, step)

    async def remove_totp(self, name: str) -> None:
        """No code is asked for any more.

        Raises:
            NotFound: there is no such user.
        """
        changes: dict[str, Any] = {"totp_secret": None, "totp_last_step": None}
        await self._store.change_user(login_name(name), **changes)

    async def log_in(self, name: str, secret: str, code: str | None = None) -> Caller:
        """The user who says name, password and, if enrolled, the authenticator's code.

        How often somebody may try is limited by `Sessions`, not here.

        Raises:
            TokenInvalid: something of it is wrong; what, is not said.
        """
        found = await self._store.find_user(name.lower())
        stored = found[1] if found else _NOBODY
        async with self._places:
            right = await asyncio.to_thread(password.fits, secret[: password.MOST], stored)
        if found is None or not right or found[0].disabled_at is not None:
            raise TokenInvalid("name, password or code is wrong")
        user, _, sealed, used = found
        if sealed is not None:
            known = self._vault.opened(sealed, f"totp {user.id}")
            step = totp.step_of(known, code or "", self._now().timestamp(), used)
            if step is None or not await self._store.use_step(user.name, step):
                raise TokenInvalid("name, password or code is wrong")
        return Caller("user", user.id, user.name, user.role)

    async def _keep_totp(self, user: User, secret: str, step: int | None) -> None:
        stored = self._vault.sealed(secret, f"totp {user.id}")
        await self._store.change_user(user.name, totp_secret=stored, totp_last_step=step)

    async def _hashed(self, secret: str) -> str:
        salt = secrets.token_bytes(password.SALT_OCTETS)
        async with self._places:
            return await asyncio.to_thread(password.hashed, secret, salt)


def _cursor(after: str | None) -> str | None:
    if after is not None and not is_id(after):
        raise InvalidValue("take what an answer had as `next`", field="after")
    return after
