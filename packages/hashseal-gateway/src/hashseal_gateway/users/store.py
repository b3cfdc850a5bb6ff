"""Keys and users in the database."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, and_, delete, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import InvalidValue, NotFound
from hashseal_gateway.infra.db import Database, Moment
from hashseal_gateway.users.model import ApiKey, Role, User
from hashseal_gateway.users.tables import api_keys, members, sessions

_SEEN_EVERY = timedelta(minutes=5)
_ENDING = ("password_hash", "disabled_at", "totp_secret")
"""Columns of which a new value ends every session of the user, in the same transaction."""


class UserStore:
    """Keys by id, users by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_key(self, key: ApiKey, keyed_hash: bytes) -> None:
        """Record a new key.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        values = {
            "id": key.id,
            "name": key.name,
            "keyed_hash": keyed_hash,
            "role": key.role,
            "seals": None if key.seals is None else json.dumps(sorted(key.seals)),
            "created_at": key.created_at,
            "expires_at": key.expires_at,
        }
        async with self._database.write() as connection:
            await connection.execute(insert(api_keys).values(**values))

    async def find_key(self, identity: str) -> tuple[ApiKey, bytes] | None:
        """A key and its keyed hash.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        async with self._database.read() as connection:
            found = await connection.execute(select(api_keys).where(api_keys.c.id == identity))
            row = found.mappings().first()
        return None if row is None else (_key(row), bytes(row["keyed_hash"]))

    async def all_keys(self, after: str | None = None, most: int | None = None) -> list[ApiKey]:
        """Keys, oldest first: every one, or so many after the one of this id.

        Raises:
            InvalidValue: no key has the id.
            StorageUnavailable: nobody can tell.
        """
        async with self._database.read() as connection:
            return [_key(row) for row in await _rows(connection, api_keys, after, most)]

    async def revoke_key(self, identity: str, at: datetime) -> None:
        """Nobody gets in with it any more.

        Raises:
            NotFound: there is no such key.
        """
        first = func.coalesce(api_keys.c.revoked_at, literal(at, Moment))
        async with self._database.write() as connection:
            done = await connection.execute(
                update(api_keys).where(api_keys.c.id == identity).values(revoked_at=first)
            )
        if done.rowcount == 0:
            raise NotFound("there is no such key")

    async def key_was_used(self, key: ApiKey, at: datetime) -> None:
        """Remember roughly when a key was last used: a write now and then, not with each call.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        if key.used_at is not None and at - key.used_at < _SEEN_EVERY:
            return
        async with self._database.write() as connection:
            await connection.execute(
                update(api_keys).where(api_keys.c.id == key.id).values(used_at=at)
            )

    async def add_user(self, user: User, password_hash: str, *, temporary: bool = False) -> None:
        """Record a new user; a `temporary` password is changed before anything else is done.

        Raises:
            InvalidValue: the name is taken.
        """
        values = {
            "id": user.id,
            "name": user.name,
            "role": user.role,
            "password_hash": password_hash,
            "password_temporary": temporary,
            "created_at": user.created_at,
        }
        async with self._database.write() as connection:
            try:
                await connection.execute(insert(members).values(**values))
            except IntegrityError as error:
                raise InvalidValue("there is a user of this name", field="name") from error

    async def find_user(self, name: str) -> tuple[User, str, bytes | None, int | None] | None:
        """A user with password hash, sealed TOTP secret and the last step that was used.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        async with self._database.read() as connection:
            found = await connection.execute(select(members).where(members.c.name == name))
            row = found.mappings().first()
        if row is None:
            return None
        secret = None if row["totp_secret"] is None else bytes(row["totp_secret"])
        return _user(row), row["password_hash"], secret, row["totp_last_step"]

    async def all_users(self, after: str | None = None, most: int | None = None) -> list[User]:
        """Users, oldest first: every one, or so many after the one of this id.

        Raises:
            InvalidValue: no user has the id.
            StorageUnavailable: nobody can tell.
        """
        async with self._database.read() as connection:
            return [_user(row) for row in await _rows(connection, members, after, most)]

    async def change_user(self, name: str, *, unless_last: bool = False, **values: Any) -> None:
        """Change columns of a user; another password or authenticator, or disabled, ends sessions.

        Who is disabled once more was disabled when it was said first.

        Raises:
            NotFound: there is no such user.
            InvalidValue: `unless_last`, and nobody else is an administrator who may log in.
        """
        if values.get("disabled_at") is not None:
            at = literal(values["disabled_at"], Moment)
            values["disabled_at"] = func.coalesce(members.c.disabled_at, at)
        async with self._database.write() as connection:
            if unless_last and await _administrators(connection) == [name]:
                raise InvalidValue("this is the last administrator; make another one first")
            done = await connection.execute(
                update(members).where(members.c.name == name).values(**values)
            )
            if any(values.get(one) is not None for one in _ENDING):
                mine = select(members.c.id).where(members.c.name == name)
                await connection.execute(delete(sessions).where(sessions.c.member_id.in_(mine)))
        if done.rowcount == 0:
            raise NotFound("there is no such user")

    async def use_step(self, name: str, step: int) -> bool:
        """Take a step of TOTP, once; False when it, or a later one, was taken.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        unused = (members.c.totp_last_step.is_(None)) | (members.c.totp_last_step < step)
        async with self._database.write() as connection:
            done = await connection.execute(
                update(members).where(members.c.name == name, unused).values(totp_last_step=step)
            )
        return bool(done.rowcount)


async def _rows(
    connection: AsyncConnection, table: Table, after: str | None, most: int | None
) -> list[Any]:
    """Rows in the order in which they were made, from behind the one whose id is `after` on."""
    made, identity = table.c.created_at, table.c.id
    wanted = select(table).order_by(made, identity)
    if after is not None:
        found = await connection.execute(select(made).where(identity == after))
        row = found.first()
        if row is None:
            raise InvalidValue("take what an answer had as `next`", field="after")
        later = and_(made == row[0], identity > after)
        wanted = wanted.where(or_(made > row[0], later))
    return list((await connection.execute(wanted.limit(most))).mappings())


async def _administrators(connection: AsyncConnection) -> list[str]:
    """The names of those who manage users now; none ceases to before the transaction ends."""
    statement = (
        select(members.c.name)
        .where(members.c.role == Role.ADMINISTRATOR, members.c.disabled_at.is_(None))
        .order_by(members.c.id)
        .with_for_update()
    )
    return list(await connection.scalars(statement))


def _key(row: Any) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        role=Role(row["role"]),
        seals=None if row["seals"] is None else frozenset(json.loads(row["seals"])),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        used_at=row["used_at"],
    )


def _user(row: Any) -> User:
    return User(
        id=row["id"],
        name=row["name"],
        role=Role(row["role"]),
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        has_totp=row["totp_secret"] is not None,
        password_temporary=bool(row["password_temporary"]),
    )
