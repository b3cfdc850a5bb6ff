"""Deliveries that are due, and what became of them.

Claiming is moving a delivery's time forward: whoever claims and dies leaves it due again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_server import audit
from hashseal_server.events.log import append, recorded
from hashseal_server.events.model import (
    WEBHOOK_DISABLED,
    Due,
    Endpoint,
    Event,
    Outcome,
    Verdict,
)
from hashseal_server.events.schedule import accepted
from hashseal_server.events.store import endpoint_of, give_up
from hashseal_server.events.tables import attempts, deliveries, endpoints, events
from hashseal_server.infra.db import Database, padded


class Outbox:
    """The deliveries of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, now: datetime, until: datetime, *, most: int, each: int) -> Sequence[Due]:
        """Up to `most` deliveries that are due, which nobody else gets before `until`.

        Accounts take turns, and one gets `each` at most: who has many does not delay the others.

        Raises:
            StorageUnavailable: nothing was claimed.
        """
        turn = func.row_number().over(
            partition_by=deliveries.c.account_id,
            order_by=(deliveries.c.due_at, deliveries.c.number),
        )
        ranked = (
            select(deliveries.c.number, deliveries.c.due_at, turn.label("turn"))
            .where(deliveries.c.due_at <= now)
            .subquery()
        )
        wanted = (
            select(ranked.c.number)
            .where(ranked.c.turn <= each)
            .order_by(ranked.c.turn, ranked.c.due_at)
            .limit(most)
        )
        async with self._database.read() as connection:
            numbers = list(await connection.scalars(wanted))
        if not numbers:
            return []
        free = (
            select(deliveries.c.number)
            .where(deliveries.c.number.in_(padded(numbers)), deliveries.c.due_at <= now)
            .order_by(deliveries.c.number)
            .with_for_update(skip_locked=True)
        )
        async with self._database.write() as connection:
            claimed = list(await connection.scalars(free))
            await connection.execute(
                update(deliveries)
                .where(deliveries.c.number.in_(padded(claimed)))
                .values(due_at=until)
            )
            return await _due(connection, claimed)

    async def record(self, due: Due, at: datetime, outcome: Outcome, verdict: Verdict) -> bool:
        """Keep an attempt and what follows from it; False if another has been recorded meanwhile.

        Raises:
            StorageUnavailable: nothing is kept.
        """
        called = outcome.status is not None or outcome.error is not None
        number = due.attempts + called
        async with self._database.write() as connection:
            endpoint = await _lock(connection, due.endpoint)
            done = await connection.execute(
                update(deliveries)
                .where(
                    deliveries.c.number == due.number,
                    deliveries.c.attempts == due.attempts,
                    deliveries.c.tries == due.tries,
                    deliveries.c.due_at.is_not(None),
                )
                .values(
                    state=verdict.state.value,
                    due_at=verdict.due_at,
                    attempts=number,
                    tries=due.tries + 1,
                )
            )
            if done.rowcount != 1:
                return False
            if not called:
                return True
            await connection.execute(
                attempts.insert().values(
                    delivery=due.number,
                    number=number,
                    at=at,
                    milliseconds=outcome.milliseconds,
                    status=outcome.status,
                    error=outcome.error,
                )
            )
            if endpoint is not None:
                await _stand(connection, endpoint, at, outcome, verdict)
        return True


async def _due(connection: AsyncConnection, numbers: Sequence[int]) -> list[Due]:
    waiting = (
        select(
            deliveries.c.number, deliveries.c.attempts, deliveries.c.tries, deliveries.c.webhook_id,
            events,
        )
        .join(events, events.c.id == deliveries.c.event_id)
        .where(deliveries.c.number.in_(padded(numbers)))
        .order_by(deliveries.c.number)
    )  # fmt: skip
    rows = (await connection.execute(waiting)).all()
    called = select(endpoints).where(endpoints.c.id.in_(padded(row.webhook_id for row in rows)))
    known = {row.id: endpoint_of(row) for row in await connection.execute(called)}
    return [
        Due(row.number, row.attempts, row.tries, recorded(row), known.get(row.webhook_id))
        for row in rows
    ]


async def _lock(connection: AsyncConnection, endpoint: Endpoint | None) -> Endpoint | None:
    """The endpoint as it is now; None if it was removed."""
    if endpoint is None:
        return None
    statement = (
        select(endpoints).where(endpoints.c.id == endpoint.id).with_for_update(key_share=True)
    )
    row = (await connection.execute(statement)).first()
    return endpoint_of(row) if row else None


async def _stand(
    connection: AsyncConnection,
    endpoint: Endpoint,
    at: datetime,
    outcome: Outcome,
    verdict: Verdict,
) -> None:
    """How the endpoint stands after an attempt; it is locked."""
    own = update(endpoints).where(endpoints.c.id == endpoint.id)
    if accepted(outcome):
        if endpoint.failing_since is not None:
            await connection.execute(own.values(failing_since=None))
        return
    if endpoint.failing_since is None:
        await connection.execute(own.values(failing_since=at))
    if verdict.disable is None or endpoint.disabled is not None:
        return
    await connection.execute(own.values(disabled=verdict.disable))
    await give_up(connection, endpoint.id)
    data = {"webhook_id": endpoint.id, "reason": verdict.disable}
    content: dict[str, object] = {"webhook": endpoint.id, "reason": verdict.disable}
    account = endpoint.account_id
    await append(connection, [Event(account, WEBHOOK_DISABLED, at, data)])
    await audit.append(connection, [audit.Event("webhook.disabled", content, at, account)])
