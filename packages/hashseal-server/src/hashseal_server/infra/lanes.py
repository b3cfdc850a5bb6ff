"""Lanes: one connection each, on which steps run one after the other, without an ORM between.

A lane connects when it is first used and again after a failure. Whoever shares a lane waits.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import asyncpg

from hashseal_core.errors import HashsealError, StorageUnavailable
from hashseal_server.infra.statements import Steps, joined

Value = TypeVar("Value")
_AT_FAULT = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    sqlite3.IntegrityError,
    sqlite3.DataError,
)


class _Lost(Exception):
    """The driver failed, whatever its reason: `__cause__` is its error."""


async def _ask(call: Awaitable[Value]) -> Value:
    """What the driver answers.

    When the server dies in the middle of a message the driver may raise anything, its own internal
    errors included; what it is told here is right, so no error of its is ours.

    Raises:
        _Lost: it did not answer.
    """
    try:
        return await call
    except Exception as error:
        raise _Lost from error


class RowRefused(StorageUnavailable):
    """The values of a row are at fault, not the state of the database."""


class Unsettled(StorageUnavailable):
    """The COMMIT was sent and its outcome is not known: only a look at the rows can tell."""


class Lane(Protocol):
    """Where steps run."""

    async def read(self, steps: Steps[Value]) -> Value:
        """Run steps that only read; each statement sees what is committed when it begins.

        Raises:
            StorageUnavailable: the database does not answer.
        """

    async def write(self, steps: Steps[Value]) -> Value:
        """Run steps as one transaction; on return it is committed, durably.

        Raises:
            RowRefused: a constraint or a value; nothing is recorded.
            Unsettled: nobody knows whether it is recorded.
            StorageUnavailable: nothing is recorded.
        """

    async def close(self) -> None:
        """Close the connection."""


class PostgresqlLane:
    """`place` is what `asyncpg.connect` takes."""

    def __init__(self, place: Mapping[str, Any]) -> None:
        self._place = place
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def read(self, steps: Steps[Value]) -> Value:
        """See `Lane`."""
        async with self._turn:
            try:
                return await self._drive(await self._connected(), steps)
            except _Lost as lost:
                self._drop()
                raise StorageUnavailable("the database cannot be read") from lost.__cause__
            except BaseException:
                self._drop()
                raise

    async def write(self, steps: Steps[Value]) -> Value:
        """See `Lane`."""
        async with self._turn:
            committing = False
            try:
                connection = await self._connected()
                await _ask(connection.execute("BEGIN"))
                value = await self._drive(connection, steps)
                committing = True
                await _ask(connection.execute("COMMIT"))
            except HashsealError:
                await self._roll_back()
                raise
            except _Lost as lost:
                self._drop()
                cause = lost.__cause__
                if committing:
                    raise Unsettled("the database went away; ask again") from cause
                kind = RowRefused if isinstance(cause, _AT_FAULT) else StorageUnavailable
                raise kind("the database cannot record this now") from cause
            except BaseException:
                self._drop()
                raise
            return value

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await _ask(asyncpg.connect(**self._place))
        return self._connection

    async def _drive(self, connection: asyncpg.Connection, steps: Steps[Value]) -> Value:
        try:
            asked = next(steps)
            while True:
                text = joined(tuple([statement for statement, _ in asked]))
                values = [v for statement, rows in asked for v in statement.transposed(rows)]
                asked = steps.send(await _ask(connection.fetch(text, *values)))
        except StopIteration as end:
            value: Value = end.value
            return value

    async def _roll_back(self) -> None:
        try:
            if self._connection is not None:
                await _ask(self._connection.execute("ROLLBACK"))
        except _Lost:
            self._drop()

    def _drop(self) -> None:
        """Whatever was begun is rolled back by the database when the connection goes."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """See `Lane`."""
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close()


class SqliteLane:
    """One connection; what may wait for the disk or another writer runs in a thread of its own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "sqlite")

    async def read(self, steps: Steps[Value]) -> Value:
        """See `Lane`; in the caller's thread, since a reader waits for nobody."""
        async with self._turn:
            try:
                return self._drive(self._connected(), steps)
            except sqlite3.Error as error:
                raise StorageUnavailable("the database cannot be read") from error

    async def write(self, steps: Steps[Value]) -> Value:
        """See `Lane`."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._write, steps)

    def _write(self, steps: Steps[Value]) -> Value:
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StorageUnavailable("the database cannot record this now") from error
        try:
            value = self._drive(connection, steps)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            kind = RowRefused if isinstance(error, _AT_FAULT) else StorageUnavailable
            raise kind("the database cannot record this now") from error
        finally:
            if connection.in_transaction:  # SQLite knows: a failed COMMIT is rolled back as well
                connection.execute("ROLLBACK")
        return value

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            made = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                made.execute(f"PRAGMA {pragma}")
            self._connection = made
        return self._connection

    def _drive(self, connection: sqlite3.Connection, steps: Steps[Value]) -> Value:
        try:
            asked = next(steps)
            while True:
                found: list[tuple[Any, ...]] = []
                for statement, rows in asked:
                    found.clear()
                    if statement.answers:
                        for row in statement.numbered(rows):
                            found += connection.execute(statement.sqlite, row)
                    else:
                        connection.executemany(statement.sqlite, statement.numbered(rows))
                asked = steps.send(found)
        except StopIteration as end:
            value: Value = end.value
            return value

    async def close(self) -> None:
        """See `Lane`."""
        async with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._thread.shutdown()
