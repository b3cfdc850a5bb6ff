"""Accounts, orders, balances and the append-only ledger in the database.

Exact at rest: granted = remaining + charged. Granted calls are ledger rows of kind `free` and
`order`; a charge is a row of kind `call` in the transaction of its signature; what remains is the
balance, which changes only in a transaction that also books the difference. A call holds nothing
before it is charged, so a process that dies leaves nothing to give back.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import AccountNotFound
from hashseal_server.accounts.model import SCOPES, Account, AccountId, Order
from hashseal_server.accounts.quota import Balance, Charge
from hashseal_server.accounts.thresholds import arm, rearm
from hashseal_server.audit import Event, append
from hashseal_server.infra.db import BigNumber, Database, UtcDateTime, metadata
from hashseal_server.infra.statements import Rows, Statement, Steps

accounts = Table(
    "account",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("entitlements", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
ledger = Table(
    "ledger",
    metadata,
    Column("id", BigNumber, primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("free", Integer, nullable=False),
    Column("paid", Integer, nullable=False),
    Column("unit_price", String(20)),
    Column("reference", String(64), nullable=False, unique=True),
    Column("seal_id", String(32)),
    Column("token_id", String(16)),
    Column("booked_at", UtcDateTime, nullable=False),
    Index("ix_ledger_account_id", "account_id", "id"),
)
balances = Table(
    "account_balance",
    metadata,
    Column("account_id", String(32), ForeignKey("account.id"), primary_key=True),
    Column("free", BigInteger, nullable=False),
    Column("paid", BigInteger, nullable=False),
    CheckConstraint("free >= 0 AND paid >= 0", name="not_negative"),
)


_LOCK = Statement(
    """SELECT b.account_id, b.free, b.paid FROM {rows} JOIN account_balance b
       ON b.account_id = r.account_id ORDER BY b.account_id {for UPDATE OF b}""",
    {"account_id": "text"},
    answers=True,
)
_LEFT = Statement(
    """UPDATE account_balance SET free = r.free, paid = r.paid FROM {rows}
       WHERE account_balance.account_id = r.account_id""",
    {"account_id": "text", "free": "bigint", "paid": "bigint"},
)
_CHARGE = Statement(
    """INSERT INTO ledger (account_id, kind, free, paid, reference, seal_id, token_id, booked_at)
       SELECT r.account_id, 'call', r.free, r.paid, r.reference, r.seal_id, r.token_id, r.booked_at
       FROM {rows}""",
    {
        "account_id": "text",
        "free": "bigint",
        "paid": "bigint",
        "reference": "text",
        "seal_id": "text",
        "token_id": "text",
        "booked_at": "timestamptz",
    },
)


class Booking(Struct, frozen=True):
    """One delivered call in the ledger."""

    account_id: AccountId
    call_id: str
    charge: Charge
    seal_id: str
    token_id: str
    at: datetime


class AccountStore:
    """Rows in, values out; every read of account data takes the account."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, name: str, entitlements: frozenset[str], free_calls: int, at: datetime
    ) -> Account:
        """A new account with its free calls."""
        account = Account(AccountId(secrets.token_hex(8)), name, entitlements, at)
        async with self._database.write() as connection:
            await connection.execute(
                accounts.insert().values(
                    id=account.id,
                    name=name,
                    entitlements=json.dumps(sorted(entitlements)),
                    created_at=at,
                )
            )
            await connection.execute(
                balances.insert().values(account_id=account.id, free=free_calls, paid=0)
            )
            await arm(connection, account.id, free_calls, at)
            await _grant(connection, account.id, "free", free_calls, 0, f"free-{account.id}", at)
            content: dict[str, object] = {"free_calls": free_calls}
            await append(connection, [Event("account.created", content, at, account.id)])
        return account

    async def find(self, account_id: str) -> Account:
        """One account.

        Raises:
            AccountNotFound: there is none with that id.
        """
        async with self._database.read() as connection:
            row = (
                await connection.execute(select(accounts).where(accounts.c.id == account_id))
            ).first()
        if row is None:
            raise AccountNotFound("no account with that id", field="account")
        return _account(row)

    async def all(self) -> list[Account]:
        """Every account, for the operator."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(accounts).order_by(accounts.c.created_at))
            return [_account(row) for row in rows]

    async def set_entitlements(
        self, account_id: str, entitlements: frozenset[str], at: datetime
    ) -> None:
        """Replace what the account may do."""
        content: dict[str, object] = {"entitlements": sorted(entitlements)}
        async with self._database.write() as connection:
            await connection.execute(
                update(accounts)
                .where(accounts.c.id == account_id)
                .values(entitlements=json.dumps(sorted(entitlements)))
            )
            await append(connection, [Event("account.entitled", content, at, account_id)])

    async def order(
        self, account_id: AccountId, calls: int, unit_price: Decimal, at: datetime
    ) -> Order:
        """Book calls that were bought."""
        order = Order(secrets.token_hex(8), account_id, calls, unit_price, at)
        async with self._database.write() as connection:
            reference = f"order-{order.id}"
            await _grant(
                connection, account_id, "order", 0, calls, reference, at, unit_price=unit_price
            )
            left = await connection.scalar(
                update(balances)
                .where(balances.c.account_id == account_id)
                .values(paid=balances.c.paid + calls)
                .returning(balances.c.free + balances.c.paid)
            )
            await rearm(connection, account_id, left or 0, at)
            content: dict[str, object] = {
                "order": order.id,
                "calls": calls,
                "unit_price": str(unit_price),
            }
            await append(connection, [Event("order.recorded", content, at, account_id)])
        return order

    async def orders(self, account_id: AccountId) -> list[Order]:
        """Everything the account bought."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(ledger)
                .where(ledger.c.account_id == account_id, ledger.c.kind == "order")
                .order_by(ledger.c.id)
            )
            return [
                Order(
                    row.reference.removeprefix("order-"),
                    account_id,
                    row.paid,
                    Decimal(row.unit_price),
                    row.booked_at,
                )
                for row in rows
            ]

    async def balance(self, account_id: AccountId) -> Balance:
        """Calls that are not charged."""
        statement = select(balances).where(balances.c.account_id == account_id)
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        return Balance(row.free, row.paid) if row else Balance(0, 0)

    async def usage(
        self, account_id: AccountId, begin: datetime, end: datetime
    ) -> Sequence[Row[Any]]:
        """Ledger rows of delivered calls, oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(ledger)
                .where(
                    ledger.c.account_id == account_id,
                    ledger.c.kind == "call",
                    ledger.c.booked_at >= begin,
                    ledger.c.booked_at < end,
                )
                .order_by(ledger.c.id)
            )
            return rows.all()


def lock_balances(account_ids: Iterable[AccountId]) -> Steps[dict[AccountId, Balance]]:
    """What the accounts have left; until the transaction ends nobody else changes or reads it here.

    Locked in one order, so that two groups never wait for each other.
    """
    rows = yield [(_LOCK, [(account,) for account in sorted(set(account_ids))])]
    return {AccountId(row[0]): Balance(row[1], row[2]) for row in rows}


def book(
    bookings: Sequence[Booking], left: Mapping[AccountId, Balance]
) -> list[tuple[Statement, Rows]]:
    """Write charges and what they leave, in the transaction that locked the balances."""
    charges = [
        (
            one.account_id,
            -one.charge.free,
            -one.charge.paid,
            f"call-{one.call_id}",
            one.seal_id,
            one.token_id,
            one.at,
        )
        for one in bookings
    ]
    return [
        (_LEFT, [(account, over.free, over.paid) for account, over in left.items()]),
        (_CHARGE, charges),
    ]


async def _grant(
    connection: AsyncConnection,
    account_id: AccountId,
    kind: str,
    free: int,
    paid: int,
    reference: str,
    at: datetime,
    *,
    unit_price: Decimal | None = None,
) -> None:
    await connection.execute(
        ledger.insert().values(
            account_id=account_id,
            kind=kind,
            free=free,
            paid=paid,
            unit_price=str(unit_price) if unit_price is not None else None,
            reference=reference,
            booked_at=at,
        )
    )


@lru_cache(maxsize=64)
def read_entitlements(text: str) -> frozenset[str]:
    """Entitlements as they are kept: a JSON list."""
    return frozenset(json.loads(text))


@lru_cache(maxsize=64)
def read_scopes(written: str | None) -> frozenset[str]:
    """Scopes as they are kept, with blanks between; tokens of before there were any have all."""
    return SCOPES if written is None else frozenset(written.split())


def _account(row: Row[Any]) -> Account:
    entitlements = read_entitlements(row.entitlements)
    return Account(AccountId(row.id), row.name, entitlements, row.created_at)
