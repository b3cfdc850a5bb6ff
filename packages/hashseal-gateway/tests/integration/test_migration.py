"""A gateway of before is brought up to date with its users in it, and can go back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, text

from hashseal_gateway.infra import migration
from hashseal_gateway.infra.data_folder import DataFolder
from hashseal_gateway.infra.db import SCHEMA_VERSION, Database
from hashseal_gateway.users import password
from hashseal_gateway.users.service import Users
from hashseal_gateway.users.store import UserStore


def config(connection: Connection) -> Config:
    made = Config()
    made.set_main_option("script_location", str(migration._MIGRATIONS))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def to_first(connection: Connection) -> None:
    command.upgrade(config(connection), "0001")
    connection.execute(
        text(
            "INSERT INTO member (id, name, role, password_hash, created_at) "
            "VALUES ('1', 'ada', 'administrator', :hash, '2026-01-01 00:00:00')"
        ),
        {"hash": password.hashed("a password of before", bytes(16))},
    )


def back(connection: Connection) -> set[str]:
    command.downgrade(config(connection), "0001")
    return set(inspect(connection).get_table_names())


def test_users_of_before_log_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
        async with database.engine.connect() as connection:
            await connection.run_sync(to_first)
            await connection.commit()
        assert await database.schema_version() == "0001"
        await database.migrate()
        assert await database.schema_version() == SCHEMA_VERSION
        folder = DataFolder(tmp_path / "data")
        users = Users(UserStore(database), folder.secret, lambda: datetime.now(UTC))
        assert (await users.log_in("ada", "a password of before")).name == "ada"
        assert (await users.find("ada")).password_temporary is False
        async with database.engine.connect() as connection:
            tables = await connection.run_sync(back)
            await connection.commit()
        assert {"member", "document"} <= tables
        assert not {"member_session", "login_try"} & tables
        await database.close()

    asyncio.run(scenario())
