"""The database: one schema for SQLite (embedded default) and PostgreSQL.

Every store defines its tables on `metadata`. A write is one transaction that has ended, durably,
when the block is left.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    event,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hashseal_core.errors import ConfigurationInvalid, StorageUnavailable

SCHEMA_VERSION = "0002"
"""The revision that this program needs: the newest of `hashseal_gateway.migrations`."""
SCHEMA_OF_WORK = "gateway_jobs"
"""Where durable jobs keep their state on PostgreSQL; see `hashseal_gateway.infra.jobs`."""
RowNumber = BigInteger().with_variant(Integer, "sqlite")
_SESSION = {
    "application_name": "hashseal-gateway",
    "lock_timeout": "5s",
    "statement_timeout": "15s",
}
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000")
_LOST = (DBAPIError, PoolExhausted, OSError)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("data_folder", String(64), nullable=False),
)


class Moment(TypeDecorator[datetime]):
    """Aware times, UTC, on databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


class Database:
    """One engine; the drivers are ours to choose."""

    def __init__(self, url: str) -> None:
        place = make_url(url)
        if place.get_backend_name() == "sqlite":
            place = place.set(drivername="sqlite+aiosqlite")
            self.engine: AsyncEngine = create_async_engine(place, pool_size=8, hide_parameters=True)
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        else:
            self.engine = create_async_engine(
                place.set(drivername="postgresql+asyncpg"),
                pool_size=8,
                hide_parameters=True,
                pool_timeout=15,
                connect_args={"timeout": 5, "command_timeout": 20, "server_settings": _SESSION},
            )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield connection
        except _LOST as error:
            raise StorageUnavailable("the gateway's database cannot be read") from error

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed when the block ends without an error.

        Raises:
            StorageUnavailable: it could not be written.
        """
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(hashseal_write=True)
                async with connection.begin():
                    yield connection
        except _LOST as error:
            raise StorageUnavailable("the gateway's database cannot record this now") from error

    async def migrate(self) -> None:
        """Bring the schema to the newest version; one process at a time.

        Raises:
            ConfigurationInvalid: it is newer than this program.
            StorageUnavailable: the database does not answer.
        """
        version = await self.schema_version()
        if version == SCHEMA_VERSION:
            return
        if version is not None and version > SCHEMA_VERSION:
            raise ConfigurationInvalid(
                f"the schema is {version}, this program is of {SCHEMA_VERSION}: upgrade it"
            )
        # Alembic takes longer to import than all the rest of a start without a migration.
        migration = importlib.import_module("hashseal_gateway.infra.migration")
        try:
            async with self.engine.connect() as connection:
                await connection.run_sync(migration.upgrade)
                await connection.commit()
        except _LOST as error:
            raise StorageUnavailable("the schema of the gateway cannot be changed") from error

    async def claim(self, data_folder: str) -> None:
        """Belong to the data folder of this name: the first that comes, and no other ever after.

        Raises:
            ConfigurationInvalid: it belongs to another.
            StorageUnavailable: the database does not answer.
        """
        owner = select(installation.c.data_folder)
        async with self.read() as connection:
            found = await connection.scalar(owner)
        if found is None:
            take = text("INSERT INTO installation VALUES (1, :name) ON CONFLICT DO NOTHING")
            async with self.write() as connection:
                await connection.execute(take, {"name": data_folder})
                found = await connection.scalar(owner)
        if found != data_folder:
            raise ConfigurationInvalid(
                f"the database belongs to another data folder ({found}, this one is "
                f"{data_folder}): each gateway has a database of its own",
                field="database_url",
            )

    async def schema_version(self) -> str | None:
        """The revision that the database has; None when it is empty."""
        async with self.read() as connection:
            tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
            if "gateway_schema" not in tables:
                return None
            found: str | None = await connection.scalar(
                text("SELECT version_num FROM gateway_schema")
            )
            return found

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at its beginning: no upgrade in the middle can fail."""
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("hashseal_write") else "BEGIN")
