"""Accounts, tokens, orders, reservations and the append-only ledger in the database.

Exact at rest: granted = remaining + reserved + charged. Granted calls are ledger rows of kind
`free` and `order`; a charge is a row of kind `call` in the transaction of its signature.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import AccountNotFound, TokenInvalid
from hashseal_server.accounts.model import Account, AccountId, Order, Principal, TokenId
from hashseal_server.accounts.quota import Balance, Charge, spend
from hashseal_server.infra.db import Database, UtcDateTime, metadata

RESERVATION_LIFETIME = timedelta(seconds=120)

accounts = Table(
    "account",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("entitlements", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
tokens = Table(
    "api_token",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("account_id", String(32), ForeignKey("account.id"), nullable=False, index=True),
    Column("keyed_hash", LargeBinary(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)
ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", String(32), ForeignKey("account.id"), nullable=False, index=True),
    Column("kind", String(8), nullable=False),
    Column("free", Integer, nullable=False),
    Column("paid", Integer, nullable=False),
    Column("unit_price", String(20)),
    Column("reference", String(64), nullable=False, unique=True),
    Column("seal_id", String(32)),
    Column("token_id", String(16)),
    Column("booked_at", UtcDateTime, nullable=False),
)
reservations = Table(
    "reservation",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), ForeignKey("account.id"), nullable=False, index=True),
    Column("calls", Integer, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)


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
            await _book(connection, account.id, "free", free_calls, 0, f"free-{account.id}", at)
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

    async def set_entitlements(self, account_id: str, entitlements: frozenset[str]) -> None:
        """Replace what the account may do."""
        async with self._database.write() as connection:
            await connection.execute(
                update(accounts)
                .where(accounts.c.id == account_id)
                .values(entitlements=json.dumps(sorted(entitlements)))
            )

    async def add_token(
        self, account_id: str, token_id: TokenId, keyed_hash: bytes, at: datetime
    ) -> None:
        """Keep the keyed hash of a new token."""
        async with self._database.write() as connection:
            await connection.execute(
                tokens.insert().values(
                    id=token_id, account_id=account_id, keyed_hash=keyed_hash, created_at=at
                )
            )

    async def revoke_token(self, token_id: str, at: datetime) -> None:
        """The token is refused from now on.

        Raises:
            TokenInvalid: there is none with that id.
        """
        async with self._database.write() as connection:
            done = await connection.execute(
                update(tokens).where(tokens.c.id == token_id).values(revoked_at=at)
            )
        if done.rowcount != 1:
            raise TokenInvalid("no token with that id")

    async def principal(self, token_id: TokenId) -> tuple[bytes, Principal] | None:
        """Keyed hash and owner of a token that is not revoked."""
        statement = (
            select(tokens.c.keyed_hash, tokens.c.account_id, accounts.c.entitlements)
            .join(accounts, accounts.c.id == tokens.c.account_id)
            .where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
        )
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            return None
        entitlements = frozenset(json.loads(row.entitlements))
        return row.keyed_hash, Principal(AccountId(row.account_id), token_id, entitlements)

    async def order(
        self, account_id: AccountId, calls: int, unit_price: Decimal, at: datetime
    ) -> Order:
        """Book calls that were bought."""
        order = Order(secrets.token_hex(8), account_id, calls, unit_price, at)
        async with self._database.write() as connection:
            reference = f"order-{order.id}"
            await _book(
                connection, account_id, "order", 0, calls, reference, at, unit_price=unit_price
            )
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
        """Calls that are neither charged nor needed by a call under way."""
        async with self._database.read() as connection:
            return await booked_balance(connection, account_id)

    async def reserve(self, account_id: AccountId, calls: int, at: datetime) -> str:
        """Set calls aside for one request; released by itself when the request dies.

        Raises:
            QuotaExhausted: not enough is left beside what others have reserved.
        """
        reservation = secrets.token_hex(16)
        async with self._database.write() as connection:
            await _lock(connection, account_id)
            await connection.execute(delete(reservations).where(reservations.c.expires_at <= at))
            balance = await booked_balance(connection, account_id)
            held = await connection.execute(
                select(func.coalesce(func.sum(reservations.c.calls), 0)).where(
                    reservations.c.account_id == account_id
                )
            )
            spend(balance, calls + held.scalar_one())
            await connection.execute(
                reservations.insert().values(
                    id=reservation,
                    account_id=account_id,
                    calls=calls,
                    expires_at=at + RESERVATION_LIFETIME,
                )
            )
        return reservation

    async def release(self, reservation: str) -> None:
        """Give back what was set aside; no error when it is gone."""
        async with self._database.write() as connection:
            await connection.execute(delete(reservations).where(reservations.c.id == reservation))

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


async def booked_balance(connection: AsyncConnection, account_id: AccountId) -> Balance:
    """The sum of the ledger."""
    row = (
        await connection.execute(
            select(
                func.coalesce(func.sum(ledger.c.free), 0).label("free"),
                func.coalesce(func.sum(ledger.c.paid), 0).label("paid"),
            ).where(ledger.c.account_id == account_id)
        )
    ).one()
    return Balance(int(row.free), int(row.paid))


async def settle(
    connection: AsyncConnection,
    *,
    reservation: str,
    account_id: AccountId,
    calls: int,
    call_id: str,
    seal_id: str,
    token_id: str,
    at: datetime,
) -> tuple[Charge, Balance]:
    """Turn a reservation into a charge, in the caller's transaction.

    Raises:
        QuotaExhausted: the reservation expired meanwhile and others used the calls.
    """
    await _lock(connection, account_id)
    await connection.execute(delete(reservations).where(reservations.c.id == reservation))
    balance = await booked_balance(connection, account_id)
    charge = spend(balance, calls)
    await connection.execute(
        ledger.insert().values(
            account_id=account_id,
            kind="call",
            free=-charge.free,
            paid=-charge.paid,
            reference=f"call-{call_id}",
            seal_id=seal_id,
            token_id=token_id,
            booked_at=at,
        )
    )
    return charge, Balance(balance.free - charge.free, balance.paid - charge.paid)


async def _lock(connection: AsyncConnection, account_id: AccountId) -> None:
    """One writer per account; SQLite has one writer anyway."""
    await connection.execute(
        select(accounts.c.id).where(accounts.c.id == account_id).with_for_update()
    )


async def _book(
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


def _account(row: Row[Any]) -> Account:
    entitlements = frozenset(json.loads(row.entitlements))
    return Account(AccountId(row.id), row.name, entitlements, row.created_at)
