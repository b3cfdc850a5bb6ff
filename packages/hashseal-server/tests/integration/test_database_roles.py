"""What the service's role may not do, and what not even the owner of the tables may."""

from __future__ import annotations

import asyncio
import subprocess

import pytest
from cluster import APP, OWNER, Cluster
from sqlalchemy import text

from hashseal_core.errors import InvalidValue, StorageUnavailable
from hashseal_server.infra.db import APPEND_ONLY, SCHEMA_VERSION, Database
from hashseal_server.infra.migration import newest_version

CHANGES = ("UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0} CASCADE")


@pytest.mark.parametrize("table", sorted(APPEND_ONLY))
@pytest.mark.parametrize("change", CHANGES)
def test_the_service_s_role_cannot_change_what_is_written(
    cluster: Cluster, table: str, change: str
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        column = "position" if table == "audit_chain" else "account_id"
        cluster.sql(change.format(table, column), database="prepared", user=APP)
    assert f"permission denied for table {table}" in refused.value.stderr


@pytest.mark.parametrize("table", ["ledger", "audit_record", "audit_chain"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_not_even_the_owner_changes_them_by_mistake(
    cluster: Cluster, table: str, change: str
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        cluster.sql(change.format(table), database="prepared", user=OWNER)
    assert "is append-only" in refused.value.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE ledger",
        "ALTER TABLE ledger DISABLE TRIGGER ALL",
        "CREATE TABLE mine (x int)",
        "UPDATE alembic_version SET version_num = '0001'",
    ],
)
def test_the_service_s_role_cannot_change_the_schema(cluster: Cluster, statement: str) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        cluster.sql(statement, database="prepared", user=APP)


def test_migrating_and_granting_twice_changes_nothing(cluster: Cluster) -> None:
    url = cluster.url("prepared", OWNER)

    async def scenario() -> None:
        database = Database(url)
        await database.migrate()
        await database.grant(APP)
        assert await database.schema_version() == SCHEMA_VERSION == newest_version()
        with pytest.raises(InvalidValue):
            await database.grant('x"; DROP TABLE ledger')
        with pytest.raises(StorageUnavailable):
            await database.grant("nobody_of_that_name")
        await database.close()

    asyncio.run(scenario())


def test_sqlite_has_no_roles(tmp_path) -> None:
    async def scenario() -> None:
        database = Database(f"sqlite:///{tmp_path / 'x.db'}")
        await database.migrate()
        with pytest.raises(InvalidValue):
            await database.grant(APP)
        for table in ("ledger", "audit_record", "audit_chain"):
            for change in ("UPDATE", "DELETE"):
                async with database.read() as connection:
                    found = await connection.execute(
                        text(
                            "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name = :n"
                        ),
                        {"n": f"{table}_no_{change.lower()}"},
                    )
                    assert found.scalar_one() == 1
        await database.close()

    asyncio.run(scenario())


def test_a_database_that_is_not_there_is_unavailable() -> None:
    async def scenario() -> None:
        database = Database("postgresql://nobody@127.0.0.1:1/none")
        for attempt in (database.migrate(), database.schema_version(), database.grant(APP)):
            with pytest.raises(StorageUnavailable):
                await attempt

    asyncio.run(scenario())
