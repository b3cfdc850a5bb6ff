"""I14: a call whose audit record cannot be written is refused, costs nothing, and works later."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from books import check_audit, check_books
from cluster import OWNER, Cluster
from sqlalchemy import text

from hashseal_server.infra.db import Database

DISK_FULL = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
    END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()"""
FAULTS = {
    "permission removed": (
        "REVOKE INSERT ON audit_record FROM hashseal_app",
        "GRANT INSERT ON audit_record TO hashseal_app",
    ),
    "audit table moved": (
        "ALTER TABLE audit_record RENAME TO away",
        "ALTER TABLE away RENAME TO audit_record",
    ),
    "inbox permission removed": (
        "REVOKE INSERT ON audit_pending FROM hashseal_app",
        "GRANT INSERT ON audit_pending TO hashseal_app",
    ),
    "disk full at the audit record": (
        DISK_FULL.format(table="audit_record"),
        "DROP FUNCTION full_disk CASCADE",
    ),
    "disk full at the answer": (
        DISK_FULL.format(table="idempotency_answer"),
        "DROP FUNCTION full_disk CASCADE",
    ),
}


async def refused_then_recovers(api, begin, end) -> None:
    """Calls fail with storage-unavailable while the fault lasts; afterwards the same keys work."""
    assert (await api.sign("before")).status_code == 200
    await begin()
    try:
        answers = await asyncio.gather(*(api.sign(f"t{n}", key=f"key-f{n}") for n in range(20)))
    finally:
        await end()
    assert Counter(answer.status_code for answer in answers) == {503: 20}
    assert {answer.json()["code"] for answer in answers} == {"storage-unavailable"}
    assert await api.left() == (99, 0)
    assert await check_books(api.operator.database) == 1
    answers = await asyncio.gather(*(api.sign(f"t{n}", key=f"key-f{n}") for n in range(20)))
    assert Counter(answer.status_code for answer in answers) == {200: 20}
    assert await api.left() == (79, 0)
    await check_audit(api.operator.audit, await check_books(api.operator.database))


def name_of(api) -> str:
    return str(api.operator.database.engine.url.database)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_postgresql_refuses_the_audit_record(service, cluster: Cluster, fault: str) -> None:
    async def scenario(api) -> None:
        async def apply(statement: str) -> None:
            await asyncio.to_thread(cluster.sql, statement, database=name_of(api), user=OWNER)

        begin, end = FAULTS[fault]
        await refused_then_recovers(api, lambda: apply(begin), lambda: apply(end))

    service(scenario)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_audit_table_is_locked(service, cluster: Cluster) -> None:
    """The lock outlasts the service's patience (lock_timeout), which is 5 s."""

    async def scenario(api) -> None:
        owner = Database(cluster.url(name_of(api), OWNER))
        async with owner.engine.connect() as blocker:

            async def lock() -> None:
                await blocker.execute(text("SET idle_in_transaction_session_timeout = 0"))
                await blocker.execute(text("LOCK TABLE audit_record IN ACCESS EXCLUSIVE MODE"))

            await refused_then_recovers(api, lock, blocker.rollback)
        await owner.close()

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_runs_out_of_space(service) -> None:
    """`max_page_count` makes SQLite fail exactly as a full disk does (SQLITE_FULL)."""

    async def scenario(api) -> None:
        async def set_limit(pages: int) -> None:
            # It holds for one connection: the one that records calls.
            recording = api.operator.database._writing._connected()
            recording.execute(f"PRAGMA max_page_count = {pages}")

        async def begin() -> None:
            await set_limit(1)  # SQLite raises it to the present size: nothing may grow

        async def end() -> None:
            await set_limit(1073741823)

        await refused_then_recovers(api, begin, end)

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("table", ["audit_record", "audit_pending"])
def test_sqlite_refuses_the_audit_record(service, table: str) -> None:
    async def scenario(api) -> None:
        async def apply(statement: str) -> None:
            async with api.operator.database.write() as connection:
                await connection.execute(text(statement))

        trigger = (
            f"CREATE TRIGGER refuse BEFORE INSERT ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        await refused_then_recovers(
            api, lambda: apply(trigger), lambda: apply("DROP TRIGGER refuse")
        )

    service(scenario)
