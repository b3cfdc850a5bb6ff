"""The audit log: append-only records, chained by a sequencer after their transactions.

`append` writes inside the caller's transaction. The sequencer gives positions and hashes: each
hash is SHA-256 over the hash before it and the canonical record, so that a change, deletion,
insertion or reorder breaks every hash behind it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, String, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_server.infra.db import Database, UtcDateTime, metadata

records = Table(
    "audit_record",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("event", String(64), nullable=False),
    Column("account_id", String(32)),
    Column("content", Text, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)
chain = Table(
    "audit_chain",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("record_id", Integer, ForeignKey("audit_record.id"), nullable=False, unique=True),
    Column("hash", LargeBinary(32), nullable=False),
)
GENESIS = bytes(32)
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One chained record; `hash` in hexadecimal."""

    position: int
    record_id: int
    event: str
    account_id: str | None
    content: str
    recorded_at: str
    hash: str


def link(previous: bytes, entry: Entry) -> bytes:
    """The hash of an entry, given the one before it."""
    fields = {name: value for name, value in asdict(entry).items() if name != "hash"}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(previous + canonical.encode()).digest()


def first_bad(entries: Iterable[Entry]) -> Entry | None:
    """The first entry whose position or hash is not what the ones before it make it."""
    previous = GENESIS
    for expected, entry in enumerate(entries, start=1):
        previous = link(previous, entry)
        if entry.position != expected or previous.hex() != entry.hash:
            return entry
    return None


async def append(
    connection: AsyncConnection,
    event: str,
    content: dict[str, object],
    at: datetime,
    account_id: str | None = None,
) -> None:
    """Record an event in the caller's transaction."""
    await connection.execute(
        records.insert().values(
            event=event,
            account_id=account_id,
            content=json.dumps(content, sort_keys=True),
            recorded_at=at,
        )
    )


class AuditLog:
    """Sequencer and export."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sequence(self) -> int:
        """Chain the records that are not chained yet; how many were."""
        async with self._database.write() as connection:
            last = (
                await connection.execute(select(chain).order_by(chain.c.position.desc()).limit(1))
            ).first()
            position, previous = (last.position, last.hash) if last else (0, GENESIS)
            rows = (
                await connection.execute(
                    select(records)
                    .where(records.c.id.not_in(select(chain.c.record_id)))
                    .order_by(records.c.id)
                    .limit(_BATCH)
                )
            ).all()
            for row in rows:
                position += 1
                entry = _entry(position, row, b"")
                previous = link(previous, entry)
                await connection.execute(
                    chain.insert().values(position=position, record_id=row.id, hash=previous)
                )
        return len(rows)

    async def entries(self) -> list[Entry]:
        """The whole chain, in order."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(records, chain.c.position, chain.c.hash)
                .join(chain, chain.c.record_id == records.c.id)
                .order_by(chain.c.position)
            )
            return [_entry(row.position, row, row.hash) for row in rows]


def _entry(position: int, row: object, digest: bytes) -> Entry:
    at: datetime = row.recorded_at  # type: ignore[attr-defined]
    return Entry(
        position=position,
        record_id=row.id,  # type: ignore[attr-defined]
        event=row.event,  # type: ignore[attr-defined]
        account_id=row.account_id,  # type: ignore[attr-defined]
        content=row.content,  # type: ignore[attr-defined]
        recorded_at=at.astimezone(UTC).isoformat(),
        hash=digest.hex(),
    )
