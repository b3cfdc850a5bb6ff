"""Accounts that run low are told so, once until they buy calls or their rule changes.

Looked for by background work, so that signing does not become slower by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, or_, select, update

from hashseal_core.errors import AccountNotFound, InvalidValue
from hashseal_server import audit
from hashseal_server.accounts.quota import LOW_CALLS, LOW_PERCENT
from hashseal_server.accounts.store import balances
from hashseal_server.accounts.thresholds import arm, watches
from hashseal_server.events.log import append
from hashseal_server.events.model import QUOTA_LOW, Event
from hashseal_server.infra.db import Database

_LEFT = balances.c.free + balances.c.paid
_BATCH = 100
_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Rule:
    """An account is told when `low_at` calls are left: a share of what it had, or so many."""

    percent: int
    calls: int
    had: int
    low_at: int


class QuotaWatch:
    """The rules of all accounts, and who is told now."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def piece(self, at: datetime, _ended: str | None) -> str | None:
        """Tell accounts that have become low; a piece of background work.

        Raises:
            StorageUnavailable: later, then.
        """
        found = await self._arm_new(at)
        async with self._database.read() as connection:
            low = (await connection.execute(_low().limit(_BATCH))).all()
        for row in low:
            await self._tell(row, at)
        return "on" if _BATCH in {found, len(low)} else None

    async def rule(
        self,
        account_id: str,
        at: datetime,
        *,
        percent: int | None = None,
        calls: int | None = None,
    ) -> Rule:
        """Change what is given of the account's rule; it is told again if it is low by the new one.

        Raises:
            AccountNotFound: no such account.
            InvalidValue: not a share from 0 to 100, or a negative number.
        """
        if percent is not None and not 0 <= percent <= _PERCENT:
            raise InvalidValue("a share is from 0 to 100 per cent", field="percent")
        if calls is not None and not 0 <= calls <= 2**31 - 1:
            raise InvalidValue("a number of calls is not negative", field="calls")
        async with self._database.write() as connection:
            before = (await connection.execute(_rule(account_id))).first()
            if before is None:
                raise AccountNotFound("no account with that id", field="account")
            if percent is not None or calls is not None:
                await arm(
                    connection,
                    account_id,
                    before.left if before.had is None else before.had,
                    at,
                    percent=before.percent if percent is None else percent,
                    calls=before.calls if calls is None else calls,
                )
                content: dict[str, object] = {"percent": percent, "calls": calls}
                event = audit.Event("account.quota-rule", content, at, account_id)
                await audit.append(connection, [event])
            elif before.had is None:
                await arm(connection, account_id, before.left, at)
            after = (await connection.execute(_rule(account_id))).one()
        return Rule(
            LOW_PERCENT if after.percent is None else after.percent,
            LOW_CALLS if after.calls is None else after.calls,
            after.had,
            after.low_at,
        )

    async def _arm_new(self, at: datetime) -> int:
        """Accounts whose calls a program bought that knows nothing of this."""
        new = (
            select(balances.c.account_id, _LEFT.label("left"), watches.c.percent, watches.c.calls)
            .outerjoin(watches, watches.c.account_id == balances.c.account_id)
            .where(or_(watches.c.account_id.is_(None), watches.c.had < _LEFT))
            .limit(_BATCH)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(new)).all()
        for row in rows:
            async with self._database.write() as connection:
                await arm(
                    connection,
                    row.account_id,
                    row.left,
                    at,
                    percent=row.percent,
                    calls=row.calls,
                )
        return len(rows)

    async def _tell(self, row: Row[Any], at: datetime) -> None:
        data = {
            "calls_left": row.free + row.paid,
            "free": row.free,
            "paid": row.paid,
            "threshold": row.low_at,
        }
        async with self._database.write() as connection:
            done = await connection.execute(
                update(watches)
                .where(
                    watches.c.account_id == row.account_id,
                    watches.c.armed_at == row.armed_at,  # else calls were bought meanwhile
                    watches.c.told_at.is_(None),
                )
                .values(told_at=at)
            )
            if done.rowcount == 1:
                await append(connection, [Event(row.account_id, QUOTA_LOW, at, data)])


def _low() -> Select[Any]:
    return (
        select(balances, watches.c.low_at, watches.c.armed_at)
        .join(watches, watches.c.account_id == balances.c.account_id)
        .where(watches.c.told_at.is_(None), watches.c.low_at >= _LEFT)
        .order_by(balances.c.account_id)
    )


def _rule(account_id: str) -> Select[Any]:
    return (
        select(watches, _LEFT.label("left"))
        .select_from(balances)
        .outerjoin(watches, watches.c.account_id == balances.c.account_id)
        .where(balances.c.account_id == account_id)
    )
