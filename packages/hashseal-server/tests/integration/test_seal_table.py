"""The table of seals is rebuilt on SQLite when it learns of imported certificates; its rows stay."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, text

from hashseal_server.infra.db import Database
from hashseal_server.infra.migration import _config

CERTIFICATE = (
    "INSERT INTO certificate (serial, role, issuer, state, key, planned_at, plan)"
    " VALUES ('0a', 'seal', 'issuing', 'issued', 'k', '2026-01-01', '{}')"
)
SEAL = (
    "INSERT INTO seal (id, account_id, kind, subject, key_algorithm, scheme, key, serial, chain,"
    " not_after) VALUES ('s', 'a', 'official', 'CN=S', 'P-256', 'ECDSA', 'k', '0a', x'30',"
    " '2027-01-01')"
)
ACCOUNT = (
    "INSERT INTO account (id, name, entitlements, created_at) VALUES ('a', 'A', '[]', '2026-01-01')"
)


def test_rows_from_before_stay(tmp_path: Path) -> None:
    path = tmp_path / "before.db"

    async def move(to: str, *, down: bool = False) -> None:
        database = Database(f"sqlite:///{path}")

        def work(connection: Connection) -> None:
            config = _config()
            config.attributes["connection"] = connection
            (command.downgrade if down else command.upgrade)(config, to)

        try:
            async with database.engine.connect() as connection:
                await connection.run_sync(work)
                await connection.commit()
        finally:
            await database.close()

    async def do(*statements: str) -> list[tuple[object, ...]]:
        database = Database(f"sqlite:///{path}")
        try:
            async with database.write() as connection:
                for statement in statements[:-1]:
                    await connection.execute(text(statement))
                rows = await connection.execute(text(statements[-1]))
                return [tuple(row) for row in rows] if rows.returns_rows else []
        finally:
            await database.close()

    look = "SELECT id, account_id, serial, chain FROM seal"
    row = ("s", "a", "0a", b"\x30")
    asyncio.run(move("0007"))
    asyncio.run(do(ACCOUNT, CERTIFICATE, SEAL))
    for down in (False, True, False):
        asyncio.run(move("0007" if down else "head", down=down))
        assert asyncio.run(do(look)) == [row]
    assert asyncio.run(do("SELECT imported FROM seal")) == [(None,)]
    # The constraints are those of before, and the new ones.
    with sqlite3.connect(path) as plain:
        plain.execute("PRAGMA foreign_keys = ON")
        for column in ("serial", "imported", "account_id"):
            with pytest.raises(sqlite3.IntegrityError):
                plain.execute(f"UPDATE seal SET {column} = 'nothing'")
        indices = [found[1] for found in plain.execute("PRAGMA index_list(seal)")]
    plain.close()
    assert "ix_seal_account_id" in indices
