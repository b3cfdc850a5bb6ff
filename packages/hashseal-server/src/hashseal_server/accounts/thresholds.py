"""From how many calls on an account is low: written when calls are bought or the rule changes.

`percent` and `calls` are the account's own rule, null where it is the default. `told_at` is null
until the account has been told; what was bought since `armed_at` makes it null again.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    String,
    Table,
    bindparam,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_server.accounts.quota import LOW_CALLS, LOW_PERCENT, low_at
from hashseal_server.infra.db import UtcDateTime, metadata

watches = Table(
    "quota_watch",
    metadata,
    Column("account_id", String(32), ForeignKey("account.id"), primary_key=True),
    Column("percent", Integer),
    Column("calls", Integer),
    Column("had", BigInteger, nullable=False),
    Column("low_at", BigInteger, nullable=False),
    Column("armed_at", UtcDateTime, nullable=False),
    Column("told_at", UtcDateTime),
)
_ARM = text("""
    INSERT INTO quota_watch (account_id, percent, calls, had, low_at, armed_at, told_at)
    VALUES (:account_id, :percent, :calls, :had, :low_at, :armed_at, NULL)
    ON CONFLICT (account_id) DO UPDATE SET
        percent = excluded.percent, calls = excluded.calls, had = excluded.had,
        low_at = excluded.low_at, armed_at = excluded.armed_at, told_at = NULL
""").bindparams(bindparam("armed_at", type_=UtcDateTime))


async def arm(
    connection: AsyncConnection,
    account_id: str,
    had: int,
    at: datetime,
    *,
    percent: int | None = None,
    calls: int | None = None,
) -> None:
    """Tell the account when it gets low by this rule, measured by the calls that it has now."""
    least = low_at(
        had,
        LOW_PERCENT if percent is None else percent,
        LOW_CALLS if calls is None else calls,
    )
    values = {
        "account_id": account_id,
        "percent": percent,
        "calls": calls,
        "had": had,
        "low_at": least,
        "armed_at": at,
    }
    await connection.execute(_ARM, values)


async def rearm(connection: AsyncConnection, account_id: str, had: int, at: datetime) -> None:
    """After calls were bought, in that transaction: from now on measured by what there is."""
    rule = select(watches.c.percent, watches.c.calls).where(watches.c.account_id == account_id)
    row = (await connection.execute(rule)).first()
    percent, calls = row or (None, None)
    await arm(connection, account_id, had, at, percent=percent, calls=calls)
