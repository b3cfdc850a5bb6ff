"""Sessions and tries in the database, so that restarts and other processes know of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import TokenInvalid
from hashseal_gateway.infra.db import Database
from hashseal_gateway.users.guessing import Tries, after_wrong, waits
from hashseal_gateway.users.model import Caller, Role
from hashseal_gateway.users.tables import members, sessions, tries


@dataclass(frozen=True, slots=True)
class Kept:
    """A session as it is stored, with what its user is now."""

    caller: Caller
    seen_at: datetime
    ends_at: datetime
    password_temporary: bool


class SessionStore:
    """Sessions by the keyed hash of their secret, tries by bucket."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def password_of(self, name: str) -> str | None:
        """The hash of a user's password, as it is now.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        mine = select(members.c.password_hash).where(members.c.name == name)
        async with self._database.read() as connection:
            found: str | None = await connection.scalar(mine)
        return found

    async def add(
        self,
        keyed_hash: str,
        member_id: str,
        at: datetime,
        ends_at: datetime,
        password: str | None = None,
    ) -> None:
        """Record a new session of a user who is not disabled.

        `password` is the hash that was looked at; with another one by now, the session of before
        would have ended.

        Raises:
            TokenInvalid: the user is disabled, or has another password by now.
            StorageUnavailable: it was not recorded.
        """
        mine = select(members.c.id).where(
            members.c.id == member_id,
            members.c.disabled_at.is_(None),
            *([] if password is None else [members.c.password_hash == password]),
        )
        values = {
            "keyed_hash": keyed_hash,
            "member_id": member_id,
            "created_at": at,
            "seen_at": at,
            "ends_at": ends_at,
        }
        async with self._database.write() as connection:
            # Until the transaction ends nobody gives the user another password.
            if await connection.scalar(mine.with_for_update(read=True)) is None:
                raise TokenInvalid("name, password or code is wrong")
            await connection.execute(insert(sessions).values(**values))

    async def find(self, keyed_hash: str) -> Kept | None:
        """A session of a user who is not disabled.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        statement = (
            select(
                members.c.id, members.c.name, members.c.role, members.c.password_temporary,
                sessions.c.seen_at, sessions.c.ends_at,
            )
            .join(members, members.c.id == sessions.c.member_id)
            .where(sessions.c.keyed_hash == keyed_hash, members.c.disabled_at.is_(None))
        )  # fmt: skip
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).mappings().first()
        if row is None:
            return None
        caller = Caller("user", row["id"], row["name"], Role(row["role"]))
        return Kept(caller, row["seen_at"], row["ends_at"], bool(row["password_temporary"]))

    async def seen(self, keyed_hash: str, at: datetime) -> None:
        """The session is in use.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        mine = sessions.c.keyed_hash == keyed_hash
        async with self._database.write() as connection:
            await connection.execute(update(sessions).where(mine).values(seen_at=at))

    async def remove(self, keyed_hash: str) -> None:
        """End one session.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        async with self._database.write() as connection:
            await connection.execute(delete(sessions).where(sessions.c.keyed_hash == keyed_hash))

    async def forget(self, now: datetime, idle_since: datetime, tried_before: datetime) -> None:
        """Remove what has ended.

        Raises:
            StorageUnavailable: nothing was removed.
        """
        over = or_(sessions.c.ends_at <= now, sessions.c.seen_at <= idle_since)
        async with self._database.write() as connection:
            await connection.execute(delete(sessions).where(over))
            await connection.execute(delete(tries).where(tries.c.last_at < tried_before))

    async def count_try(self, buckets: Mapping[str, int], now: datetime) -> datetime | None:
        """Count a try in each bucket (to the tries it has for nothing), as if it were wrong.

        The answer is when to come again if a bucket takes none now; then nothing is counted.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        async with self._database.read() as connection:  # refusing costs no write
            mine = select(tries).where(tries.c.bucket.in_(list(buckets)))
            known = [_tries(row) for row in (await connection.execute(mine)).mappings()]
        if (again := _again(known, now)) is not None:
            return again
        async with self._database.write() as connection:
            found = {name: await _locked(connection, name, now) for name in sorted(buckets)}
            if (again := _again(found.values(), now)) is not None:
                return again
            for name, before in found.items():
                made = after_wrong(before, buckets[name], now)
                await _put(connection, name, made)
        return None

    async def forgive(self, name: str, address: str) -> None:
        """The last try was right: the name begins anew, the address has one failure less.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        removed = delete(tries).where(tries.c.bucket == name)
        one_less = (
            update(tries)
            .where(tries.c.bucket == address, tries.c.failures > 0)
            .values(failures=tries.c.failures - 1, until=None)
        )
        async with self._database.write() as connection:
            # In the order in which `count_try` locks them, or both could wait for each other.
            for _, statement in sorted([(name, removed), (address, one_less)], key=itemgetter(0)):
                await connection.execute(statement)


def _again(found: Iterable[Tries], now: datetime) -> datetime | None:
    """When a try is taken if one of these takes none now."""
    pending = [wait for one in found if (wait := waits(one, now)) is not None]
    return now + max(pending) if pending else None


def _tries(row: Any) -> Tries:
    return Tries(row["failures"], row["last_at"], row["until"])


async def _locked(connection: AsyncConnection, bucket: str, now: datetime) -> Tries:
    """The bucket, made if there is none; nobody else changes it until the transaction ends.

    It is one statement: between two of them whoever was right could remove the bucket.
    """
    make: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    empty = make(tries).values(bucket=bucket, failures=0, last_at=now)
    as_it_is = {"failures": tries.c.failures}
    locked = empty.on_conflict_do_update(index_elements=[tries.c.bucket], set_=as_it_is)
    columns = (tries.c.failures, tries.c.last_at, tries.c.until)
    return _tries((await connection.execute(locked.returning(*columns))).mappings().one())


async def _put(connection: AsyncConnection, bucket: str, made: Tries) -> None:
    values = {"failures": made.failures, "last_at": made.last_at, "until": made.until}
    await connection.execute(update(tries).where(tries.c.bucket == bucket).values(**values))
