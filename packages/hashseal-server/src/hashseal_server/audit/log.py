"""Records, their chain, and the sequencer between the two.

A transaction that appends records also leaves their ids in the sequencer's inbox; the sequencer
takes them out in the transaction that chains them. Every committed record is chained once, then,
in whatever order transactions end, and no scan over old records is needed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_server.audit.chain import GENESIS, Entry, link
from hashseal_server.audit.journal import Journal
from hashseal_server.infra.db import BigNumber, Database, UtcDateTime, metadata
from hashseal_server.infra.statements import NO_ROWS, Rows, Statement, Steps, as_time

records = Table(
    "audit_record",
    metadata,
    Column("id", BigNumber, primary_key=True),
    Column("event", String(64), nullable=False),
    Column("account_id", String(32)),
    Column("content", Text, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)
chain = Table(
    "audit_chain",
    metadata,
    Column("position", BigNumber, primary_key=True, autoincrement=False),
    Column("record_id", BigNumber, nullable=False, unique=True),
    Column("hash", LargeBinary(32), nullable=False),
)
pending = Table(
    "audit_pending",
    metadata,
    Column("first_id", BigNumber, primary_key=True, autoincrement=False),
    Column("record_ids", Text, nullable=False),
)
_APPEND = Statement(
    """INSERT INTO audit_record (event, account_id, content, recorded_at)
       SELECT r.event, r.account_id, r.content, r.recorded_at FROM {rows} RETURNING id""",
    {"event": "text", "account_id": "text", "content": "text", "recorded_at": "timestamptz"},
    answers=True,
)
_PUT = Statement(
    """INSERT INTO audit_pending (first_id, record_ids)
       SELECT r.first_id, r.record_ids FROM {rows}""",
    {"first_id": "bigint", "record_ids": "text"},
)
_ALONE = Statement(
    "SELECT pg_try_advisory_xact_lock(r.number) FROM {rows}",
    {"number": "bigint"},
    answers=True,
    on_sqlite="SELECT 1 FROM {rows}",  # one writer, so nobody else sequences
)
_TRANSACTIONS = 200
_WAITING = Statement(
    f"SELECT first_id, record_ids FROM audit_pending ORDER BY first_id LIMIT {_TRANSACTIONS}",  # noqa: S608
    {},
    answers=True,
)
_LAST = Statement(
    "SELECT position, hash FROM audit_chain ORDER BY position DESC LIMIT 1", {}, answers=True
)
_RECORDS = Statement(
    """SELECT a.id, a.event, a.account_id, a.content, a.recorded_at
       FROM {rows} JOIN audit_record a ON a.id = r.id""",
    {"id": "bigint"},
    answers=True,
)
_CHAIN = Statement(
    """INSERT INTO audit_chain (position, record_id, hash)
       SELECT r.position, r.record_id, r.hash FROM {rows}""",
    {"position": "bigint", "record_id": "bigint", "hash": "bytea"},
)
_TAKE = Statement(
    "DELETE FROM audit_pending WHERE first_id IN (SELECT r.first_id FROM {rows})",
    {"first_id": "bigint"},
)
_JSON = msgspec.json.Encoder(order="sorted")
_SEQUENCER_LOCK = 0x61756474  # one sequencer at a time; any number nobody else uses
_PAGE = 2_000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    name: str
    content: dict[str, object]
    at: datetime
    account_id: str | None = None


async def append(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Record events in the caller's transaction."""
    made = await connection.execute(
        records.insert().returning(records.c.id),
        [
            {
                "event": event.name,
                "account_id": event.account_id,
                "content": encoded(event),
                "recorded_at": event.at,
            }
            for event in events
        ],
    )
    ids = sorted(made.scalars())
    await connection.execute(pending.insert().values(first_id=ids[0], record_ids=json.dumps(ids)))


def append_steps(
    events: Sequence[Event], with_them: Sequence[tuple[Statement, Rows]] = ()
) -> Steps[None]:
    """The same as steps; what else is written `with_them` costs no round trip of its own."""
    kept = [(event.name, event.account_id, encoded(event), event.at) for event in events]
    ids = sorted(row[0] for row in (yield [*with_them, (_APPEND, kept)]))
    yield [(_PUT, [(ids[0], json.dumps(ids))])]


def encoded(event: Event) -> str:
    """The content of an event as it is kept and chained: JSON with sorted names."""
    return _JSON.encode(event.content).decode()


class AuditLog:
    """Sequencer, publisher and export."""

    def __init__(self, database: Database, journal: Journal) -> None:
        self._database = database
        self._lane = database.lane()
        self._journal = journal

    @property
    def journal(self) -> Journal:
        """Where checkpoints are published."""
        return self._journal

    async def sequence(self) -> int:
        """Chain what is not chained yet and publish it; how many records were chained.

        Raises:
            StorageUnavailable: later, then.
            OutputRefused, KeystoreUnavailable: chained, but not published; later, then.
        """
        count = 0
        while chained := await self._lane.write(_chain_some()):
            count += chained
        await self._publish()
        return count

    async def _publish(self) -> None:
        while True:
            first = self._journal.published() + 1
            statement = (
                select(chain.c.position, chain.c.hash)
                .where(chain.c.position >= first)
                .order_by(chain.c.position)
                .limit(_PAGE)
            )
            async with self._database.read() as connection:
                rows = (await connection.execute(statement)).all()
            if not rows:
                return
            self._journal.publish(first, [bytes(row.hash) for row in rows], datetime.now(UTC))

    async def export(self) -> AsyncIterator[Entry]:
        """The whole chain, in order, a page at a time."""
        after = 0
        while True:
            statement = (
                select(records, chain.c.position, chain.c.hash)
                .join(chain, chain.c.record_id == records.c.id)
                .where(chain.c.position > after)
                .order_by(chain.c.position)
                .limit(_PAGE)
            )
            async with self._database.read() as connection:
                rows = (await connection.execute(statement)).all()
            if not rows:
                return
            for row in rows:
                yield _entry(row.position, row, bytes(row.hash))
            after = rows[-1].position

    async def entries(self) -> list[Entry]:
        """The whole chain, in order, in memory."""
        return [entry async for entry in self.export()]

    async def ends(self) -> tuple[datetime | None, datetime | None]:
        """Times of the newest record, and of the oldest that is not chained yet."""
        newest = select(records.c.recorded_at).order_by(records.c.id.desc()).limit(1)
        waiting = (
            select(records.c.recorded_at)
            .join(pending, pending.c.first_id == records.c.id)
            .order_by(records.c.id)
            .limit(1)
        )
        async with self._database.read() as connection:
            return await connection.scalar(newest), await connection.scalar(waiting)

    async def overlooked(self, now: datetime) -> list[int]:
        """Ids of records older than a minute that no chain entry names: nobody appended them."""
        statement = (
            select(records.c.id)
            .join(chain, chain.c.record_id == records.c.id, isouter=True)
            .where(chain.c.position.is_(None), records.c.recorded_at < now - timedelta(minutes=1))
            .order_by(records.c.id)
        )
        async with self._database.read() as connection:
            return list((await connection.execute(statement)).scalars())


def _chain_some() -> Steps[int]:
    """Chain what waits, at most `_TRANSACTIONS` transactions of it; how many records."""
    if not (yield [(_ALONE, [(_SEQUENCER_LOCK,)])])[0][0]:
        return 0
    waiting = yield [(_WAITING, NO_ROWS)]
    if not waiting:
        return 0
    ids = sorted(number for row in waiting for number in json.loads(row[1]))
    last = yield [(_LAST, NO_ROWS)]
    position, previous = (last[0][0], last[0][1]) if last else (0, GENESIS)
    rows = yield [(_RECORDS, [(number,) for number in ids])]
    links = []
    for record_id, event, account_id, content, recorded_at in sorted(rows, key=itemgetter(0)):
        position += 1
        at = as_time(recorded_at).isoformat()
        entry = Entry(position, record_id, event, account_id, content, at, "")
        previous = link(previous, entry)
        links.append((position, record_id, previous))
    yield [(_CHAIN, links), (_TAKE, [(row[0],) for row in waiting])]
    return len(links)


def _entry(position: int, row: Row[Any], digest: bytes) -> Entry:
    at: datetime = row.recorded_at
    return Entry(
        position=position,
        record_id=row.id,
        event=row.event,
        account_id=row.account_id,
        content=row.content,
        recorded_at=at.astimezone(UTC).isoformat(),
        hash=digest.hex(),
    )
