"""Rows that keep a secret, of tokens and of OAuth2 clients alike: found, rotated, revoked.

Both tables have the columns `id`, `account_id`, `keyed_hash`, `earlier_hash`, `earlier_until`,
`rotated_at` and `revoked_at`; the audit log learns of every change in its transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, and_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import NotFound
from hashseal_server.accounts.model import AccountId
from hashseal_server.accounts.token_model import ApiToken, Client
from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database


@dataclass(frozen=True, slots=True)
class SecretRows:
    """The rows of one table; `name` is what one is called in refusals and in the audit log.

    Rows that `listed` leaves out are nobody's to name.
    """

    name: str
    table: Table
    listed: ColumnElement[bool]

    def of(self, account_id: AccountId | None, identity: str) -> ColumnElement[bool]:
        """The one with this id, of this account or, for the operator, of any."""
        its = true() if account_id is None else self.table.c.account_id == account_id
        return and_(self.table.c.id == identity, self.listed, its)

    async def find(
        self, database: Database, account_id: AccountId | None, identity: str
    ) -> Row[Any]:
        """One row.

        Raises:
            NotFound: absent, or another account's.
        """
        statement = select(self.table).where(self.of(account_id, identity))
        async with database.read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            raise self.unknown
        return row

    async def rotate(
        self,
        connection: AsyncConnection,
        changed: ApiToken | Client,
        keyed_hash: bytes,
        content: dict[str, object],
        **more: object,
    ) -> None:
        """Keep a new secret; the one before is good until `earlier_until`, if there is such a time.

        The one before that is good no more. `more` are other columns that change, `content` is
        what the audit log is told besides.

        Raises:
            NotFound: there is none, or it was revoked.
        """
        at = changed.rotated_at or changed.created_at
        until, columns = changed.earlier_until, self.table.c
        done = await connection.execute(
            update(self.table)
            .where(self.of(changed.account_id, changed.id), columns.revoked_at.is_(None))
            .values(
                keyed_hash=keyed_hash,
                earlier_hash=None if until is None else columns.keyed_hash,
                earlier_until=until,
                rotated_at=at,
                **more,
            )
        )
        if not done.rowcount:
            raise self.unknown
        told = {**content, "earlier_until": until}
        await append(connection, [Event(f"{self.name}.rotated", told, at, changed.account_id)])

    async def revoke(
        self,
        connection: AsyncConnection,
        account_id: AccountId | None,
        identity: str,
        at: datetime,
        by: str,
    ) -> bool:
        """Refuse one from now on; False if it was revoked before, and stays as it is.

        Raises:
            NotFound: absent, or another account's.
        """
        its = self.of(account_id, identity)
        owner = await connection.scalar(
            update(self.table)
            .where(its, self.table.c.revoked_at.is_(None))
            .values(revoked_at=at)
            .returning(self.table.c.account_id)
        )
        if owner is not None:
            content: dict[str, object] = {self.name: identity, "by": by}
            await append(connection, [Event(f"{self.name}.revoked", content, at, owner)])
        elif not await connection.scalar(select(self.table.c.id).where(its)):
            raise self.unknown
        return owner is not None

    @property
    def unknown(self) -> NotFound:
        """The refusal of an id that nobody has, or somebody else."""
        return NotFound(f"no {self.name} with that id")
