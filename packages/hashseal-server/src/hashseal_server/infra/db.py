"""The database: one schema for SQLite (embedded default) and PostgreSQL (production).

Every store defines its tables on `metadata`. Reads and writes get a connection from `Database`; a
write is one transaction that has ended, durably, when the block is left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, DateTime, Dialect, MetaData, TypeDecorator, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hashseal_core.errors import StorageUnavailable

_MIGRATIONS = Path(__file__).parent.parent / "migrations"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC, on databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: UTC; naive times are a mistake of the program."""
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database: aware again where it does not keep the zone."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


class Database:
    """One engine; `url` is an SQLAlchemy URL with an async driver."""

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = create_async_engine(url, pool_size=8)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        try:
            async with self.engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise StorageUnavailable("the database cannot be read") from error

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed when the block ends without an error.

        Raises:
            StorageUnavailable: it could not be written; nothing of it is there.
        """
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(hashseal_write=True)
                async with connection.begin():
                    yield connection
        except DBAPIError as error:
            raise StorageUnavailable("the database cannot record this now") from error

    async def migrate(self) -> None:
        """Bring the schema to the newest version."""
        async with self.engine.connect() as connection:
            await connection.run_sync(_upgrade)
            await connection.commit()

    async def schema_version(self) -> str | None:
        """The revision that the database has."""
        async with self.read() as connection:
            return await connection.run_sync(
                lambda sync: MigrationContext.configure(sync).get_current_revision()
            )

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def newest_schema_version() -> str | None:
    """The revision that this program needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """WAL, durable commits, and transactions that begin when we say so."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=10000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at its beginning: no upgrade in the middle can fail."""
    writing = connection.get_execution_options().get("hashseal_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
