"""The events of each account, in an order that no reader can miss a part of.

An account's positions have no gaps and are given by its row of `event_position`, which the
transaction that records an event locks until it ends. Whoever sees a position sees every one below
it, therefore: a cursor never skips an event that was committed late. See decision 30.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import EventsForgotten, InvalidValue
from hashseal_server.events.model import Event, Recorded, State
from hashseal_server.events.tables import deliveries, endpoints, events, positions
from hashseal_server.infra.db import Database, padded

_TAKE = text("""
    INSERT INTO event_position (account_id, last, forgotten) VALUES (:account_id, :count, 0)
    ON CONFLICT (account_id) DO UPDATE SET last = event_position.last + excluded.last
    RETURNING last
""")
_JSON = msgspec.json.Encoder(order="sorted")


async def append(
    connection: AsyncConnection, happened: Sequence[Event], *, only: str | None = None
) -> list[Recorded]:
    """Record events in the caller's transaction, with a delivery for each webhook that wants one.

    Call it once in a transaction, near its end: from now on no other can record an event of these
    accounts. `only` is the one webhook that is told.
    """
    counts = Counter(one.account_id for one in happened)
    following: dict[str, int] = {}
    for account_id in sorted(counts):  # in one order: two transactions never wait for each other
        last = await take(connection, account_id, counts[account_id])
        following[account_id] = last - counts[account_id] + 1
    recorded = []
    for one in happened:
        position = following[one.account_id]
        following[one.account_id] += 1
        data = _JSON.encode(one.data).decode()
        recorded.append(Recorded(_new_id("evt_"), one.account_id, position, one.type, one.at, data))
    if not recorded:
        return []
    await connection.execute(
        events.insert(),
        [
            {
                "id": one.id,
                "account_id": one.account_id,
                "position": one.position,
                "type": one.type,
                "at": one.at,
                "data": one.data,
            }
            for one in recorded
        ],
    )
    if outgoing := await _outgoing(connection, recorded, only):
        await connection.execute(deliveries.insert(), outgoing)
    return recorded


async def take(connection: AsyncConnection, account_id: str, count: int) -> int:
    """The account's next positions, the last of them; others wait until the transaction ends."""
    taken = await connection.execute(_TAKE, {"account_id": account_id, "count": count})
    last: int = taken.scalar_one()
    return last


async def _outgoing(
    connection: AsyncConnection, recorded: Sequence[Recorded], only: str | None
) -> list[dict[str, object]]:
    """Rows of deliveries, due at once."""
    accounts = padded(one.account_id for one in recorded)
    statement = select(endpoints.c.id, endpoints.c.account_id, endpoints.c.types).where(
        endpoints.c.account_id.in_(accounts), endpoints.c.disabled.is_(None)
    )
    wanting: dict[str, list[tuple[str, Collection[str]]]] = defaultdict(list)
    for row in await connection.execute(statement):
        if only is None:
            wanting[row.account_id].append((row.id, json.loads(row.types)))
        elif row.id == only:
            wanting[row.account_id].append((row.id, ()))
    return [
        {
            "id": _new_id("dlv_"),
            "account_id": one.account_id,
            "webhook_id": webhook_id,
            "event_id": one.id,
            "state": State.PENDING.value,
            "attempts": 0,
            "tries": 0,
            "due_at": one.at,
            "created_at": one.at,
        }
        for one in recorded
        for webhook_id, types in wanting[one.account_id]
        if not types or one.type in types
    ]


class EventLog:
    """What happened, for readers; every query takes the account."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, account_id: str, after: int | None, limit: int
    ) -> tuple[list[Recorded], int]:
        """Events behind a position, oldest first, and the position to go on from.

        Without a position from the oldest that is kept.

        Raises:
            EventsForgotten: events behind the position were removed.
            InvalidValue: there never was such a position.
        """
        statement = (
            select(events)
            .where(events.c.account_id == account_id, events.c.position > (after or 0))
            .order_by(events.c.position)
            .limit(limit)
        )
        standing = select(positions).where(positions.c.account_id == account_id)
        async with self._database.read() as connection:
            found = [recorded(row) for row in await connection.execute(statement)]
            # Looked at last: what was removed before it was read is known to have been.
            row = (await connection.execute(standing)).first()
        last, forgotten = (row.last, row.forgotten) if row else (0, 0)
        if after is not None and after < forgotten:
            raise EventsForgotten("events behind this cursor are no longer kept", field="after")
        if after is not None and after > last:
            raise InvalidValue("use the cursor of the page before", field="after")
        if found:
            return found, found[-1].position
        return [], forgotten if after is None else after

    async def ends(self, account_ids: Collection[str]) -> Mapping[str, int]:
        """The newest positions of these accounts; who has no event is missing."""
        statement = select(positions.c.account_id, positions.c.last).where(
            positions.c.account_id.in_(padded(account_ids))
        )
        async with self._database.read() as connection:
            return {row.account_id: row.last for row in await connection.execute(statement)}


async def forget(database: Database, *, before: datetime, limit: int) -> int:
    """Remove up to `limit` older events with their deliveries, oldest first; how many there were.

    A reader whose cursor is behind is told so.

    Raises:
        StorageUnavailable: nothing was removed.
    """
    old = (
        select(events.c.id, events.c.account_id, events.c.position)
        .where(events.c.at < before)
        .order_by(events.c.at, events.c.position)
        .limit(limit)
    )
    async with database.write() as connection:
        rows = (await connection.execute(old)).all()
        newest: dict[str, int] = {}
        for row in rows:
            newest[row.account_id] = max(row.position, newest.get(row.account_id, 0))
        for account_id in sorted(newest):
            await connection.execute(
                update(positions)
                .where(
                    positions.c.account_id == account_id,
                    positions.c.forgotten < newest[account_id],
                )
                .values(forgotten=newest[account_id])
            )
            # By position: what was recorded out of the order of times goes together.
            await connection.execute(
                delete(events).where(
                    events.c.account_id == account_id, events.c.position <= newest[account_id]
                )
            )
    return len(rows)


def recorded(row: Row[Any]) -> Recorded:
    """From a row of `event`."""
    return Recorded(row.id, row.account_id, row.position, row.type, row.at, row.data)


def _new_id(prefix: str) -> str:
    return prefix + secrets.token_hex(12)
