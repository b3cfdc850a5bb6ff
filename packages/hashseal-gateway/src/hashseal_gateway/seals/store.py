"""Names and defaults of seals in the database."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Column, String, Table, Text, delete, insert, select
from sqlalchemy.exc import IntegrityError

from hashseal_core.errors import InvalidValue
from hashseal_gateway.infra.db import Database, Moment, metadata
from hashseal_gateway.seals.model import SealDefaults, SealOptions

seal_defaults = Table(
    "seal_defaults",
    metadata,
    Column("seal_id", String(64), primary_key=True),
    Column("name", String(64)),
    Column("options", Text, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("changed_by", String(64), nullable=False),
)


class SealStore:
    """Defaults by SealID and by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, SealDefaults]:
        """Everything, by SealID.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        async with self._database.read() as connection:
            found = await connection.execute(select(seal_defaults))
            return {row["seal_id"]: _defaults(row) for row in found.mappings()}

    async def put(self, defaults: SealDefaults) -> None:
        """Take the place of what was said about this seal.

        Raises:
            InvalidValue: another seal has the name.
        """
        values = {
            "seal_id": defaults.seal_id,
            "name": defaults.name,
            "options": msgspec.json.encode(defaults.options).decode(),
            "changed_at": defaults.changed_at,
            "changed_by": defaults.changed_by,
        }
        mine = seal_defaults.c.seal_id == defaults.seal_id
        async with self._database.write() as connection:
            await connection.execute(delete(seal_defaults).where(mine))
            try:
                await connection.execute(insert(seal_defaults).values(**values))
            except IntegrityError as error:
                raise InvalidValue("another seal has this name", field="name") from error


def _defaults(row: Any) -> SealDefaults:
    return SealDefaults(
        seal_id=row["seal_id"],
        name=row["name"],
        options=msgspec.json.decode(row["options"], type=SealOptions),
        changed_at=row["changed_at"],
        changed_by=row["changed_by"],
    )
