"""A program on the schema of the next one, as while an upgrade rolls; or a clear refusal."""

from __future__ import annotations

from typing import Any

import pytest
from books import check_books
from cluster import OWNER, Cluster
from sqlalchemy import text

from hashseal_core.errors import ConfigurationInvalid
from hashseal_server.infra.db import SCHEMA_VERSION, Database
from hashseal_server.main import operator

LATER = "9999"
NEXT = (
    "ALTER TABLE signature ADD COLUMN added_later VARCHAR(20)",
    "ALTER TABLE ledger ADD COLUMN added_later INTEGER DEFAULT 7",
    "CREATE TABLE added_later (id INTEGER PRIMARY KEY)",
    f"UPDATE alembic_version SET version_num = '{LATER}'",
)


async def upgrade(api: Any, cluster: Cluster | None, oldest: str) -> None:
    """What the migration of a later version does, as the owner of the tables."""
    url = api.operator.settings.database
    owner = Database(cluster.url(url.rpartition("/")[2], OWNER) if cluster else url)
    try:
        async with owner.write() as connection:
            for statement in (*NEXT, f"UPDATE schema_support SET oldest_program = '{oldest}'"):
                await connection.execute(text(statement))
    finally:
        await owner.close()


@pytest.fixture
def owners_cluster(database_url: str | None, request: pytest.FixtureRequest) -> Cluster | None:
    return request.getfixturevalue("cluster") if database_url else None


def test_two_versions_side_by_side(service, owners_cluster: Cluster | None) -> None:
    async def scenario(api) -> None:
        before = await api.sign("before", key="first")
        await upgrade(api, owners_cluster, SCHEMA_VERSION)
        # The process that ran before goes on, and another of its version may start.
        assert (await api.sign("before", key="first")).content == before.content
        assert (await api.sign("running", level="B-LT")).status_code == 200
        migrates = owners_cluster is None
        async with operator(api.operator.settings, migrate=migrates) as opened:
            assert await opened.check() == []
            assert await opened.database.schema_version() == LATER
        assert await check_books(api.operator.database) == 2

    service(scenario)


def test_a_schema_that_is_too_new_is_refused(service, owners_cluster: Cluster | None) -> None:
    async def scenario(api) -> None:
        await upgrade(api, owners_cluster, LATER)
        for migrates in (True, False):
            with pytest.raises(ConfigurationInvalid, match="upgrade it"):
                async with operator(api.operator.settings, migrate=migrates):
                    pass

    service(scenario)


def test_a_schema_that_is_too_old_is_refused(service, owners_cluster: Cluster | None) -> None:
    async def scenario(api) -> None:
        url = api.operator.settings.database
        cluster = owners_cluster
        owner = Database(cluster.url(url.rpartition("/")[2], OWNER) if cluster else url)
        async with owner.write() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
        await owner.close()
        with pytest.raises(ConfigurationInvalid, match="hashseal-server migrate"):
            async with operator(api.operator.settings, migrate=False):
                pass

    service(scenario)
