"""The signing log in the database; entries are added, and removed when they are old."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    String,
    Table,
    Text,
    and_,
    case,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_gateway.infra.db import Database, Moment, RowNumber, metadata
from hashseal_gateway.log.model import FAILED, SIGNED, Day, Entry, Search

log_entries = Table(
    "log_entry",
    metadata,
    Column("number", RowNumber, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("document_id", String(32), nullable=False),
    Column("caller_kind", String(16), nullable=False),
    Column("caller_id", String(64), nullable=False),
    Column("caller_name", Text, nullable=False),
    Column("way", String(16), nullable=False),
    Column("external_id", String(128)),
    Column("seal_id", String(64)),
    Column("level", String(8), nullable=False),
    Column("outcome", String(64), nullable=False),
    Column("digest_before", String(64), nullable=False),
    Column("digest_after", String(64)),
    Column("hash", String(128)),
    Column("signature_id", String(64)),
    Column("milliseconds", BigInteger, nullable=False),
)


async def add(connection: AsyncConnection, entry: Entry) -> None:
    """Record an entry, in the transaction of what it tells."""
    values = asdict(entry)
    del values["number"]
    await connection.execute(insert(log_entries).values(**values))


class LogStore:
    """Looks into the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, entry: Entry) -> None:
        """Record an entry by itself.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        async with self._database.write() as connection:
            await add(connection, entry)

    async def find(self, search: Search, limit: int) -> list[Entry]:
        """Entries like these, newest first.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        table = log_entries.c
        wanted = [
            *([table.at >= search.since] if search.since else []),
            *([table.at < search.until] if search.until else []),
            *([table.caller_id == search.caller_id] if search.caller_id else []),
            *([table.caller_name == search.caller_name] if search.caller_name else []),
            *([table.seal_id == search.seal_id] if search.seal_id else []),
            *([table.external_id == search.external_id] if search.external_id else []),
            *([table.digest_after == search.digest_after] if search.digest_after else []),
            *([_ended(search.outcome)] if search.outcome else []),
            *([table.number < search.before] if search.before is not None else []),
        ]
        if search.digest:
            wanted.append(
                or_(
                    table.digest_before == search.digest,
                    table.digest_after == search.digest,
                    table.hash == search.digest,
                )
            )
        statement = select(log_entries).where(*wanted).order_by(table.number.desc()).limit(limit)
        async with self._database.read() as connection:
            found = await connection.execute(statement)
            return [_entry(row) for row in found.mappings()]

    async def days(self, first: date, count: int, caller_id: str | None) -> list[Day]:
        """Attempts on each of these days, of one caller or of all; in one pass over them.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        table, at = log_entries.c, datetime.combine(first, time(), UTC)
        ends = [at + timedelta(days=number) for number in range(count + 1)]
        sums = [
            func.count(case((and_(table.at >= since, table.at < until, _ended(outcome)), 1)))
            for since, until in pairwise(ends)
            for outcome in (SIGNED, FAILED)
        ]
        mine = [table.caller_id == caller_id] if caller_id else []
        statement = select(*sums).where(table.at >= ends[0], table.at < ends[-1], *mine)
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).one()
        return [
            Day(since.date(), row[2 * number], row[2 * number + 1])
            for number, since in enumerate(ends[:-1])
        ]

    async def forget(self, before: datetime, limit: int) -> int:
        """Remove old entries; how many.

        Raises:
            StorageUnavailable: none was.
        """
        old = select(log_entries.c.number).where(log_entries.c.at < before).limit(limit)
        async with self._database.write() as connection:
            done = await connection.execute(
                delete(log_entries).where(log_entries.c.number.in_(old))
            )
        return done.rowcount


def _ended(outcome: str) -> ColumnElement[bool]:
    column = log_entries.c.outcome
    return column != SIGNED if outcome == FAILED else column == outcome


def _entry(row: Any) -> Entry:
    return Entry(**dict(row))
