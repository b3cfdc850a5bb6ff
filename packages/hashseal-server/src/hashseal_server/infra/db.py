"""The database: one schema for SQLite (embedded default) and PostgreSQL (production).

Every store defines its tables on `metadata`. Reads and writes get a connection from `Database`; a
write is one transaction that has ended, durably, when the block is left. The owner of the tables
changes the schema; on PostgreSQL the service itself runs as a role that `grant` has given less.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    TypeDecorator,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hashseal_core.errors import ConfigurationInvalid, InvalidValue, StorageUnavailable
from hashseal_server.infra.lanes import Lane, PostgresqlLane, SqliteLane
from hashseal_server.infra.statements import Steps

SCHEMA_VERSION = "0016"
"""The revision that this program needs: the newest of `hashseal_server.migrations`."""
APPEND_ONLY = frozenset({"ledger", "audit_record", "audit_chain", "signature"})
"""Tables of which the service's role can neither change nor delete a row."""
WORK_SCHEMA = "dbos"
"""Where background work keeps its state on PostgreSQL; see `hashseal_server.infra.jobs`."""
_READ_ONLY = frozenset({"alembic_version", "schema_support", "dbos_migrations"})
_SESSION = {
    "application_name": "hashseal-server",
    "lock_timeout": "5s",
    "statement_timeout": "15s",
    # A replica that was stopped inside a transaction must not hold its locks for long.
    "idle_in_transaction_session_timeout": "3s",
}
_BY_KEY = {
    # Steps ask for few rows by their keys. A planner that has no statistics yet, or old ones, would
    # scan a table that has grown since.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
Value = TypeVar("Value")
BigNumber = BigInteger().with_variant(Integer, "sqlite")
"""Numbers of rows that only grow; SQLite's are that wide by themselves."""
_LOST = (DBAPIError, PoolExhausted, OSError)

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
    """One engine; `url` is `sqlite…` or `postgresql://…`, the drivers are ours to choose."""

    def __init__(self, url: str) -> None:
        place = _with_driver(url)
        self._place = place
        self._lanes: list[Lane] = []
        self._reading, self._writing = self.lane(), self.lane()
        if place.get_backend_name() == "sqlite":
            self.engine: AsyncEngine = create_async_engine(place, pool_size=8, hide_parameters=True)
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        else:
            self.engine = create_async_engine(
                place,
                pool_size=8,
                hide_parameters=True,
                pool_timeout=15,
                connect_args={"timeout": 5, "command_timeout": 20, "server_settings": _SESSION},
            )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; each statement sees what is committed when it begins.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield connection
        except _LOST as error:
            raise StorageUnavailable("the database cannot be read") from error

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed when the block ends without an error.

        Raises:
            StorageUnavailable: it could not be written. Nothing of it is there if the block did
                not reach its end; if it did, only a look at the rows can tell.
        """
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(hashseal_write=True)
                async with connection.begin():
                    yield connection
        except _LOST as error:
            raise StorageUnavailable("the database cannot record this now") from error

    def lane(self) -> Lane:
        """One more connection for steps; it is closed with the database."""
        made = _lane(self._place)
        self._lanes.append(made)
        return made

    async def look(self, steps: Steps[Value]) -> Value:
        """Run steps that only read.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        return await self._reading.read(steps)

    async def record(self, steps: Steps[Value]) -> Value:
        """Run steps as one transaction, durable on return.

        Raises:
            RowRefused, Unsettled, StorageUnavailable: as `Lane.write` says.
        """
        return await self._writing.write(steps)

    async def migrate(self) -> bool:
        """Bring the schema to the newest version; one process at a time. False if it was there.

        Raises:
            ConfigurationInvalid: it is newer, and this program cannot work on it.
            StorageUnavailable: the database does not answer, or the role may not change the schema.
        """
        version = await self.schema_version()
        if version is not None and version >= SCHEMA_VERSION:
            await self.require_schema()
            return False
        # Alembic takes longer to import than everything else of a start that needs no migration.
        migration = importlib.import_module("hashseal_server.infra.migration")
        try:
            async with self.engine.connect() as connection:
                await connection.run_sync(migration.upgrade)
                await connection.commit()
        except _LOST as error:
            raise StorageUnavailable("the schema cannot be changed") from error
        return True

    async def grant(self, role: str) -> None:
        """Give a role of PostgreSQL what the service needs and no more; run as the tables' owner.

        Raises:
            InvalidValue: the database has no roles, or the name is not a plain one.
            StorageUnavailable: no such role, or the tables belong to somebody else.
        """
        if self.engine.dialect.name != "postgresql":
            raise InvalidValue("only PostgreSQL has roles", field="role")
        if not role.isidentifier() or not role.isascii():
            raise InvalidValue("a role has a plain name", field="role")
        async with self.write() as connection:
            for statement in await connection.run_sync(_grants, role):
                await connection.execute(text(statement))

    async def require_schema(self) -> None:
        """Make sure that this program can work on the schema that is there.

        Raises:
            ConfigurationInvalid: the schema is older, or newer and not made for this program.
            StorageUnavailable: the database does not answer.
        """
        version = await self.schema_version()
        if version == SCHEMA_VERSION:
            return
        if version is None or version < SCHEMA_VERSION:
            raise ConfigurationInvalid(
                f"the schema is {version or 'empty'}, this program needs {SCHEMA_VERSION}: "
                "run `hashseal-server migrate`"
            )
        async with self.read() as connection:
            oldest = await connection.scalar(text("SELECT oldest_program FROM schema_support"))
        if oldest is None or oldest > SCHEMA_VERSION:
            raise ConfigurationInvalid(
                f"the schema is {version}, which programs before {oldest} cannot use; this one is "
                f"of {SCHEMA_VERSION}: upgrade it"
            )

    async def schema_version(self) -> str | None:
        """The revision that the database has; None when it is empty."""
        async with self.read() as connection:
            tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
            if "alembic_version" not in tables:
                return None
            found: str | None = await connection.scalar(
                text("SELECT version_num FROM alembic_version")
            )
            return found

    async def close(self) -> None:
        """Close every connection."""
        for lane in self._lanes:
            await lane.close()
        await self.engine.dispose()


def _grants(connection: Connection, role: str) -> list[str]:
    """What the service may do with each table of ours and of background work."""
    known = inspect(connection)
    made = []
    for schema in (known.default_schema_name or "public", WORK_SCHEMA):
        if schema not in known.get_schema_names():
            continue
        made.append(f'GRANT USAGE ON SCHEMA {schema} TO "{role}"')
        for table in known.get_table_names(schema):
            verbs = "SELECT, INSERT, UPDATE, DELETE"
            if table in APPEND_ONLY:
                verbs = "SELECT, INSERT"
            elif table in _READ_ONLY:
                verbs = "SELECT"
            made.append(f'REVOKE ALL ON {schema}."{table}" FROM "{role}"')
            made.append(f'GRANT {verbs} ON {schema}."{table}" TO "{role}"')
        made.append(f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO "{role}"')
    return made


def padded(values: Iterable[Value]) -> list[Value]:
    """Distinct values for an IN list, the last one repeated up to a power of two.

    Few lengths make few statements, and prepared ones are found again.
    """
    distinct = list(dict.fromkeys(values))
    size = 1 << max(0, len(distinct) - 1).bit_length()
    return distinct + distinct[-1:] * (size - len(distinct))


def _lane(place: URL) -> Lane:
    if place.get_backend_name() == "sqlite":
        return SqliteLane(place.database or "")
    words = place.translate_connect_args(username="user")
    return PostgresqlLane(
        {**words, "timeout": 5, "command_timeout": 20, "server_settings": _SESSION | _BY_KEY}
    )


def _with_driver(url: str) -> URL:
    place = make_url(url)
    if place.drivername in {"postgresql", "postgres"}:
        return place.set(drivername="postgresql+asyncpg")
    return place.set(drivername="sqlite+aiosqlite") if place.drivername == "sqlite" else place


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """WAL, durable commits, and transactions that begin when we say so."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "busy_timeout=30000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at its beginning: no upgrade in the middle can fail."""
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    writing = options.get("hashseal_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
