"""Webhooks of accounts in the database; every query takes the account.

What changes a webhook or its deliveries locks its row first, so that nobody waits in a circle.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import InvalidValue, NotFound, WebhookRefused
from hashseal_server import audit
from hashseal_server.events.log import append, take
from hashseal_server.events.model import (
    Attempt,
    Delivery,
    Endpoint,
    Event,
    Outcome,
    Recorded,
    State,
)
from hashseal_server.events.tables import attempts, deliveries, endpoints, events
from hashseal_server.infra.db import Database, padded

MOST = 20
"""Webhooks of one account."""
MOST_ATTEMPTS = 100
"""After so many attempts a delivery is not begun again."""
SHOWN_ATTEMPTS = 20
"""Of a delivery the newest attempts are shown."""
_ID = re.compile(r"[a-z0-9_]{1,32}", re.ASCII)


class WebhookStore:
    """Rows in, values out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, endpoint: Endpoint) -> None:
        """Keep a new webhook.

        Raises:
            WebhookRefused: the account has as many as it may have.
            InvalidValue: it has one with this address.
        """
        async with self._database.write() as connection:
            known = await _urls(connection, endpoint.account_id)
            if len(known) >= MOST:
                raise WebhookRefused(f"an account has {MOST} webhooks at most; remove one first")
            _require_new(endpoint.url, known)
            await connection.execute(endpoints.insert().values(_row(endpoint)))
            await _audit(connection, "webhook.created", endpoint, endpoint.created_at)

    async def change(
        self,
        account_id: str,
        webhook_id: str,
        change: Callable[[Endpoint], Endpoint],
        *,
        name: str,
        at: datetime,
    ) -> Endpoint:
        """Change a webhook; `name` is what is audited. Deliveries of one that is disabled end.

        Raises:
            NotFound: absent, or another account's.
            InvalidValue: another of the account has this address.
        """
        async with self._database.write() as connection:
            before = await _locked(connection, account_id, webhook_id)
            endpoint = change(before)
            if endpoint.url != before.url:
                _require_new(endpoint.url, await _urls(connection, account_id))
            await connection.execute(
                update(endpoints).where(endpoints.c.id == webhook_id).values(_row(endpoint))
            )
            if endpoint.disabled is not None:
                await give_up(connection, webhook_id)
            await _audit(connection, name, endpoint, at)
        return endpoint

    async def remove(self, account_id: str, webhook_id: str, at: datetime) -> None:
        """Remove a webhook and what is known of its deliveries.

        Raises:
            NotFound: absent, or another account's.
        """
        async with self._database.write() as connection:
            endpoint = await _locked(connection, account_id, webhook_id)
            await connection.execute(
                delete(deliveries).where(deliveries.c.webhook_id == webhook_id)
            )
            await connection.execute(delete(endpoints).where(endpoints.c.id == webhook_id))
            await _audit(connection, "webhook.removed", endpoint, at)

    async def find(self, account_id: str, webhook_id: str) -> Endpoint:
        """One webhook.

        Raises:
            NotFound: absent, or another account's.
        """
        async with self._database.read() as connection:
            row = (await connection.execute(_one(account_id, webhook_id))).first()
        if row is None:
            raise _absent()
        return endpoint_of(row)

    async def all(self, account_id: str) -> list[Endpoint]:
        """The account's webhooks, oldest first."""
        statement = (
            select(endpoints)
            .where(endpoints.c.account_id == account_id)
            .order_by(endpoints.c.created_at, endpoints.c.id)
        )
        async with self._database.read() as connection:
            return [endpoint_of(row) for row in await connection.execute(statement)]

    async def tell(self, event: Event, webhook_id: str, most: int) -> Recorded:
        """Record an event for one webhook alone.

        Raises:
            NotFound: absent, or another account's.
            WebhookRefused: it is disabled, or so many deliveries wait already.
        """
        async with self._database.write() as connection:
            endpoint = await _locked(connection, event.account_id, webhook_id)
            await _require_room(connection, endpoint, most)
            (recorded,) = await append(connection, [event], only=webhook_id)
        return recorded

    async def deliveries(
        self, account_id: str, webhook_id: str, before: int | None, limit: int
    ) -> tuple[list[Delivery], int | None]:
        """Deliveries of a webhook, newest first, and where the next page begins.

        Raises:
            NotFound: absent, or another account's.
        """
        statement = (
            _deliveries(account_id, webhook_id)
            .order_by(deliveries.c.number.desc())
            .limit(limit + 1)
        )
        if before is not None:
            statement = statement.where(deliveries.c.number < before)
        async with self._database.read() as connection:
            if (await connection.execute(_one(account_id, webhook_id))).first() is None:
                raise _absent()
            rows = (await connection.execute(statement)).all()
            known = await _attempts(connection, [row.number for row in rows[:limit]])
        found = [_delivery(row, known) for row in rows[:limit]]
        return found, found[-1].number if len(rows) > limit else None

    async def redeliver(
        self, account_id: str, webhook_id: str, delivery_id: str, at: datetime, most: int
    ) -> Delivery:
        """Begin a delivery again, from its first try, under the same id of the message.

        Nothing changes when it is about to be attempted for the first time anyway.

        Raises:
            NotFound: absent, or another account's.
            WebhookRefused: the webhook is disabled, so many deliveries wait already, or it was
                attempted `MOST_ATTEMPTS` times.
        """
        wanted = _deliveries(account_id, webhook_id).where(deliveries.c.id == _sound(delivery_id))
        async with self._database.write() as connection:
            endpoint = await _locked(connection, account_id, webhook_id)
            row = (await connection.execute(wanted)).first()
            if row is None:
                raise NotFound("this webhook has no delivery with that id")
            if row.state != State.PENDING:
                await _require_room(connection, endpoint, most)
            if row.attempts >= MOST_ATTEMPTS:
                raise WebhookRefused(
                    f"the delivery was attempted {MOST_ATTEMPTS} times and is not begun again"
                )
            if row.due_at is None or row.tries or row.due_at > at:
                await connection.execute(
                    update(deliveries)
                    .where(deliveries.c.number == row.number)
                    .values(state=State.PENDING.value, tries=0, due_at=at)
                )
                await _audit(connection, "webhook.redelivery", endpoint, at)
                row = (await connection.execute(wanted)).one()
            return _delivery(row, await _attempts(connection, [row.number]))


async def give_up(connection: AsyncConnection, webhook_id: str) -> None:
    """No delivery to this webhook is attempted any more; its row is locked."""
    await connection.execute(
        update(deliveries)
        .where(deliveries.c.webhook_id == webhook_id, deliveries.c.due_at.is_not(None))
        .values(state=State.FAILED.value, due_at=None)
    )


def endpoint_of(row: Row[Any]) -> Endpoint:
    """From a row of `webhook`."""
    return Endpoint(
        id=row.id,
        account_id=row.account_id,
        url=row.url,
        types=frozenset(json.loads(row.types)),
        description=row.description,
        created_at=row.created_at,
        secret=row.secret,
        previous=row.previous,
        previous_until=row.previous_until,
        disabled=row.disabled,
        failing_since=row.failing_since,
    )


def _row(endpoint: Endpoint) -> dict[str, object]:
    return {
        "id": endpoint.id,
        "account_id": endpoint.account_id,
        "url": endpoint.url,
        "types": json.dumps(sorted(endpoint.types)),
        "description": endpoint.description,
        "created_at": endpoint.created_at,
        "secret": endpoint.secret,
        "previous": endpoint.previous,
        "previous_until": endpoint.previous_until,
        "disabled": endpoint.disabled,
        "failing_since": endpoint.failing_since,
    }


def _one(account_id: str, webhook_id: str) -> Select[Any]:
    return select(endpoints).where(
        endpoints.c.account_id == account_id, endpoints.c.id == _sound(webhook_id)
    )


def _sound(text: str) -> str:
    """An id as it was sent; empty if it cannot be one: not every text may reach the database."""
    return text if _ID.fullmatch(text) else ""


async def _locked(connection: AsyncConnection, account_id: str, webhook_id: str) -> Endpoint:
    """The webhook; until the transaction ends nobody else changes it. Events are recorded still."""
    locking = _one(account_id, webhook_id).with_for_update(key_share=True)
    row = (await connection.execute(locking)).first()
    if row is None:
        raise _absent()
    return endpoint_of(row)


async def _urls(connection: AsyncConnection, account_id: str) -> list[str]:
    """Addresses of the account's webhooks; nobody adds one until the transaction ends."""
    await take(connection, account_id, 0)
    return list(
        await connection.scalars(
            select(endpoints.c.url).where(endpoints.c.account_id == account_id)
        )
    )


def _require_new(url: str, known: Sequence[str]) -> None:
    if url in known:
        raise InvalidValue("the account has a webhook with this address already", field="url")


async def _require_room(connection: AsyncConnection, endpoint: Endpoint, most: int) -> None:
    if endpoint.disabled is not None:
        raise WebhookRefused("the webhook is disabled; enable it first")
    waiting = await connection.scalar(
        select(func.count()).where(
            deliveries.c.webhook_id == endpoint.id, deliveries.c.due_at.is_not(None)
        )
    )
    if (waiting or 0) >= most:
        raise WebhookRefused(f"{most} deliveries to the webhook wait already")


def _deliveries(account_id: str, webhook_id: str) -> Select[Any]:
    return (
        select(deliveries, events.c.type)
        .join(events, events.c.id == deliveries.c.event_id)
        .where(deliveries.c.account_id == account_id, deliveries.c.webhook_id == webhook_id)
    )


async def _attempts(
    connection: AsyncConnection, numbers: Sequence[int]
) -> Mapping[int, list[Attempt]]:
    """The newest of each delivery; they are numbered without gaps."""
    statement = (
        select(attempts)
        .join(deliveries, deliveries.c.number == attempts.c.delivery)
        .where(
            attempts.c.delivery.in_(padded(numbers)),
            attempts.c.number > deliveries.c.attempts - SHOWN_ATTEMPTS,
        )
        .order_by(attempts.c.delivery, attempts.c.number)
    )
    found: dict[int, list[Attempt]] = defaultdict(list)
    for row in await connection.execute(statement):
        outcome = Outcome(row.milliseconds, row.status, row.error)
        found[row.delivery].append(Attempt(row.number, row.at, outcome))
    return found


def _delivery(row: Row[Any], known: Mapping[int, list[Attempt]]) -> Delivery:
    return Delivery(
        id=row.id,
        number=row.number,
        event_id=row.event_id,
        type=row.type,
        state=State(row.state),
        created_at=row.created_at,
        due_at=row.due_at,
        attempts=tuple(known.get(row.number, ())),
    )


async def _audit(connection: AsyncConnection, name: str, endpoint: Endpoint, at: datetime) -> None:
    content: dict[str, object] = {"webhook": endpoint.id, "enabled": endpoint.disabled is None}
    await audit.append(connection, [audit.Event(name, content, at, endpoint.account_id)])


def _absent() -> NotFound:
    return NotFound("this account has no webhook with that id")
