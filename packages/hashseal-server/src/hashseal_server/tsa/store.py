"""Leases of timestamping units, and the highest time that was reserved with each.

A lease ends by the database's clock, one for all replicas. The mark is of the clock that tokens
state: no token of the unit is later than it, whoever made it, and whoever takes the unit begins
behind it. A second copy of each mark is a file in the data folder: it shows a database that was set
back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, Row, String, Table, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database, UtcDateTime, metadata, padded

_CLOCK = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}
"""Milliseconds from 1970, by the database's clock."""

leases = Table(
    "timestamping_unit_lease",
    metadata,
    Column("serial", String(40), primary_key=True),
    Column("owner", String(64)),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("high_water", BigInteger, nullable=False),
    Column("left_at", UtcDateTime),
)
_KNOWN = """
    INSERT INTO timestamping_unit_lease (serial, epoch, expires_at, high_water)
    VALUES (:serial, 0, 0, 0) ON CONFLICT (serial) DO NOTHING
"""
_TAKE = """
    UPDATE timestamping_unit_lease
    SET owner = :owner, epoch = epoch + 1, expires_at = {clock} + :lasting, high_water = :mark
    WHERE serial = :serial AND left_at IS NULL AND high_water <= :now
      AND (owner IS NULL OR expires_at <= {clock})
    RETURNING epoch
"""
_KEEP = """
    UPDATE timestamping_unit_lease
    SET expires_at = {clock} + :lasting,
        high_water = CASE WHEN high_water < :mark THEN :mark ELSE high_water END
    WHERE serial = :serial AND owner = :owner AND epoch = :epoch
    RETURNING left_at, high_water
"""
_GIVE_BACK = """
    UPDATE timestamping_unit_lease SET owner = NULL, expires_at = 0, high_water = :mark
    WHERE serial = :serial AND owner = :owner AND epoch = :epoch
    RETURNING epoch
"""
_WITHDRAW = """
    UPDATE timestamping_unit_lease
    SET epoch = epoch + 1, left_at = COALESCE(left_at, :at) WHERE serial = :serial
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """What is recorded of a unit; `mark` in Unix milliseconds, `remaining` in milliseconds.

    `left`: it shall not be taken any more, and its owner looks for another.
    """

    serial: int
    owner: str | None = None
    remaining: int = 0
    mark: int = 0
    left: bool = False

    @property
    def held(self) -> bool:
        """A process may be stating times with it."""
        return self.owner is not None and self.remaining > 0


@dataclass(frozen=True, slots=True)
class Claim:
    """One ownership: no other has this serial number and epoch."""

    serial: int
    owner: str
    epoch: int


class Marks:
    """The copies of the marks in the data folder, one small file for each unit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, serial: int) -> int:
        """The mark in Unix milliseconds; 0 when there is none that can be read."""
        try:
            return int((self._folder / f"{serial:x}").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def keep(self, serial: int, mark: int) -> None:
        """Replace the copy by a later mark; a data folder that cannot be written to has none."""
        if mark > self.of(serial):
            self.end(serial, mark)

    def end(self, serial: int, mark: int) -> None:
        """Replace the copy by the last time that was stated, before the unit is given back."""
        path = self._folder / f"{serial:x}"
        new = path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            new.write_text(str(mark), encoding="ascii")
            new.replace(path)


class LeaseStore:
    """Rows in, values out; every method raises `StorageUnavailable` when it cannot tell."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, serials: Iterable[int]) -> dict[int, Lease]:
        """What is recorded of these units; one that was never taken is free."""
        wanted = list(serials)
        if not wanted:
            return {}
        async with self._database.read() as connection:
            clock = text(_CLOCK[connection.dialect.name])
            at = int(await connection.scalar(select(clock)) or 0)
            rows = await connection.execute(
                select(leases).where(leases.c.serial.in_(padded(map(_key, wanted))))
            )
            found = {lease.serial: lease for lease in (_lease(row, at) for row in rows)}
        return {serial: found.get(serial, Lease(serial)) for serial in wanted}

    async def take(
        self, serial: int, owner: str, *, now: int, mark: int, lasting: int
    ) -> Claim | None:
        """Own a unit for `lasting` milliseconds, and reserve its times up to `mark`.

        None when somebody else has it, or it has stated times after `now`.
        """
        async with self._database.write() as connection:
            await connection.execute(text(_KNOWN), {"serial": _key(serial)})
            row = await _one(
                connection,
                _TAKE,
                serial=_key(serial),
                owner=owner,
                now=now,
                mark=mark,
                lasting=lasting,
            )
        return None if row is None else Claim(serial, owner, row.epoch)

    async def keep(self, claim: Claim, *, mark: int, lasting: int) -> Lease | None:
        """Own it for longer, and reserve more of its times; None when it is somebody else's now."""
        async with self._database.write() as connection:
            row = await _one(
                connection,
                _KEEP,
                serial=_key(claim.serial),
                owner=claim.owner,
                epoch=claim.epoch,
                mark=mark,
                lasting=lasting,
            )
        if row is None:
            return None
        left = row.left_at is not None
        return Lease(claim.serial, claim.owner, lasting, row.high_water, left)

    async def give_back(self, claim: Claim, *, mark: int) -> None:
        """Own it no more; `mark` is the last time that was stated."""
        async with self._database.write() as connection:
            await _one(
                connection,
                _GIVE_BACK,
                serial=_key(claim.serial),
                owner=claim.owner,
                epoch=claim.epoch,
                mark=mark,
            )

    async def leave(self, serial: int, at: datetime) -> bool:
        """Let nobody take the unit any more; False when that was said before."""
        statement = text(
            "UPDATE timestamping_unit_lease SET left_at = :at "
            "WHERE serial = :serial AND left_at IS NULL"
        ).bindparams(bindparam("at", type_=UtcDateTime))
        async with self._database.write() as connection:
            await connection.execute(text(_KNOWN), {"serial": _key(serial)})
            done = await connection.execute(statement, {"serial": _key(serial), "at": at})
            if done.rowcount != 1:
                return False
            content: dict[str, object] = {"serial": _key(serial)}
            await append(connection, [Event("timestamping-unit.left", content, at)])
        return True

    async def withdraw(self, serial: int, at: datetime) -> None:
        """Let nobody prolong or take the unit any more; its owner has the rest of the lease."""
        statement = text(_WITHDRAW).bindparams(bindparam("at", type_=UtcDateTime))
        async with self._database.write() as connection:
            await connection.execute(text(_KNOWN), {"serial": _key(serial)})
            await connection.execute(statement, {"serial": _key(serial), "at": at})
            content: dict[str, object] = {"serial": _key(serial)}
            await append(connection, [Event("timestamping-unit.withdrawn", content, at)])


async def _one(connection: AsyncConnection, statement: str, **values: object) -> Row[Any] | None:
    clock = _CLOCK[connection.dialect.name]
    numbers = [
        bindparam(name, type_=BigInteger)
        for name, value in values.items()
        if isinstance(value, int)
    ]
    prepared = text(statement.format(clock=clock)).bindparams(*numbers)
    return (await connection.execute(prepared, values)).first()


def _key(serial: int) -> str:
    return format(serial, "033x")


def _lease(row: Row[Any], at: int) -> Lease:
    return Lease(
        serial=int(row.serial, 16),
        owner=row.owner,
        remaining=max(0, row.expires_at - at),
        mark=row.high_water,
        left=row.left_at is not None,
    )
