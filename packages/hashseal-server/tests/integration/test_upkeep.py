"""Each job of the service, done by DBOS in this process; what expires and what stays; heartbeats."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cluster import APP, OWNER, Cluster
from dbos import DBOS
from sqlalchemy import text

from hashseal_core.errors import KeystoreUnavailable, StorageUnavailable
from hashseal_server import upkeep
from hashseal_server.infra import commit, executors, jobs, rates
from hashseal_server.infra.db import SCHEMA_VERSION, Database
from hashseal_server.infra.executors import Heart, alive
from hashseal_server.infra.statements import Steps
from hashseal_server.infra.work import Outcomes
from hashseal_server.main import operator
from hashseal_server.settings import Settings
from hashseal_server.web.observing import logger

pytestmark = pytest.mark.usefixtures("dbos_alone")

JOBS = (
    "revocation-lists",
    "responder-renewal",
    "ocsp-responses",
    "status-data-of-imported-chains",
    "idempotency-expiry",
    "validation-set-expiry",
    "rate-windows",
    "access-token-expiry",
    "finished-work",
)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tick comes by itself: jobs are done when a test asks for them, and only then."""
    real = jobs.Executor._registered
    seldom = "0 0 0 29 2 *"
    monkeypatch.setattr(
        jobs.Executor, "_registered", lambda self, job: {**real(self, job), "schedule": seldom}
    )


async def begun(api) -> None:
    """Wait until DBOS has been launched beside the block."""
    for _ in range(1200):
        if '"event":"background-work"' in api.log.getvalue():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(api.log.getvalue())


async def outcomes(api) -> dict[str, Any]:
    return {one.job: one for one in await Outcomes(api.operator.database).all()}


async def run(api, *names: str) -> None:
    """Let DBOS do these jobs now, and wait until each has come to its end once more."""
    before = await outcomes(api)
    for name in names:
        await asyncio.to_thread(DBOS.trigger_schedule, name)
    for _ in range(600):
        now = await outcomes(api)
        ended = [n for n in names if n in now and (n not in before or now[n] != before[n])]
        if len(ended) == len(names):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(api.log.getvalue())


async def age(api, days: float) -> None:
    """Everything delivered so far was delivered so many days ago."""
    async with api.operator.database.write() as connection:
        await connection.execute(
            commit.answers.update().values(created_at=datetime.now(UTC) - timedelta(days=days))
        )


async def count(api, table: str) -> int:
    async with api.operator.database.read() as connection:
        return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")))


@pytest.mark.usefixtures("unhurried")
def test_every_job_is_done_and_told(service) -> None:
    async def scenario(api) -> None:
        await api.sign("old", key="old")
        await age(api, 31)
        await api.sign("young", key="young")
        async with api.operator.upkeep(logger("json", "info", api.log)):
            await begun(api)
            await run(api, *JOBS)
            assert await count(api, "ocsp_response") == 3  # seal, unit, issuing authority
            assert await count(api, "idempotency_answer") == 1
            told = (await api.http.get("/metrics")).text
            assert "hashseal_background_workers 1.0" in told
        for name in JOBS:
            assert f'hashseal_job_runs_total{{job="{name}"}} 1.0' in told
            assert f'hashseal_job_failures_total{{job="{name}"}} 0.0' in told
            assert f'hashseal_job_success_timestamp_seconds{{job="{name}"}}' in told
        assert await alive(api.operator.database) == frozenset()

    service(scenario)


@pytest.mark.usefixtures("unhurried")
def test_a_job_that_fails_is_told_and_succeeds_later(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        authority = api.operator.authority
        real = authority.renew_crl

        async def broken(_: str) -> None:
            raise KeystoreUnavailable("no token in slot 3")

        async with api.operator.upkeep(logger("json", "info", api.log)):
            await begun(api)
            monkeypatch.setattr(authority, "renew_crl", broken)
            await run(api, "revocation-lists")
            failed = (await outcomes(api))["revocation-lists"]
            assert (failed.failures, failed.succeeded_at) == (1, None)
            monkeypatch.setattr(authority, "renew_crl", real)
            await run(api, "revocation-lists")
            well = (await outcomes(api))["revocation-lists"]
            assert (well.runs, well.failures) == (failed.runs + 1, 1)
            assert well.succeeded_at > well.failed_at
            lines = [json.loads(line) for line in api.log.getvalue().splitlines()]
            (line,) = [one for one in lines if one["event"] == "job"]
            assert (line["job"], line["code"]) == ("revocation-lists", "keystore-unavailable")
            assert "no token in slot 3" in line["exception"]

    service(scenario)


@pytest.mark.usefixtures("unhurried")
def test_finished_ticks_are_forgotten_after_a_day(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        real = datetime.now(UTC)
        monkeypatch.setattr(jobs, "_PAGE", 2)
        monkeypatch.setattr(jobs, "_LATE", timedelta(days=9))
        held = api.operator
        shifted = [real]
        context = upkeep.keeping(
            held.database,
            held.settings.work_database,
            upkeep.jobs(
                held.database, held.authority, held.foreign(), answers_kept=timedelta(days=30)
            ),
            heart=Heart(held.database, "test"),
            log=logger("json", "info", api.log),
            now=lambda: shifted[0],
        )
        async with context:
            await begun(api)
            await run(api, "revocation-lists", "rate-windows", "ocsp-responses")
            await run(api, "finished-work")
            listed = await asyncio.to_thread(DBOS.list_workflows, status="SUCCESS")
            assert len(listed) >= 3
            shifted[0] = real + timedelta(days=1, minutes=5)
            await run(api, "finished-work")
            left = await asyncio.to_thread(DBOS.list_workflows, status="SUCCESS")
            assert {one.name for one in left} <= {"hashseal.finished-work", "hashseal.take-over"}
            assert not {one.workflow_id for one in listed} & {one.workflow_id for one in left}

    service(scenario)


def test_a_tick_that_is_very_late_is_left_to_the_next(service) -> None:
    async def scenario(api) -> None:
        done: list[datetime] = []

        async def piece(at: datetime, _ended: str | None) -> None:
            done.append(at)

        held = api.operator
        context = upkeep.keeping(
            held.database,
            held.settings.work_database,
            [jobs.Job("seldom", "0 0 0 1 1 *", piece)],
            heart=Heart(held.database, "test"),
            log=logger("json", "info", api.log),
            now=lambda: datetime.now(UTC),
        )
        async with context:
            await begun(api)
            now = datetime.now(UTC)
            year = now.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
            late = await asyncio.to_thread(
                DBOS.backfill_schedule, "seldom", year - timedelta(days=366), year
            )
            assert late
            await run(api, "seldom")
            for handle in late:
                await asyncio.to_thread(handle.get_result)
        assert len(done) == 1
        assert done[0] >= now

    service(scenario)


def test_an_answer_is_kept_for_its_days_and_its_signature_for_ever(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        first = await api.sign("one", key="k")
        for days, same in ((29.9, True), (30.1, False)):
            await age(api, days)
            now = datetime.now(UTC)
            before = now - timedelta(days=api.operator.settings.idempotency_days)
            removed = await commit.forget(api.operator.database, before=before, limit=10)
            assert (removed == 0) is same
            again = await api.sign("one", key="k")
            assert (again.content == first.content) is same
        listed = (await api.get("/v1/signatures")).json()["signatures"]
        assert first.json()["signatures"][0]["id"] in {one["id"] for one in listed}
        assert await api.left() == (98, 0)

    service(scenario)


def test_old_answers_go_in_batches_oldest_first(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        database = api.operator.database
        now = datetime.now(UTC)
        identities = [commit.RequestIdentity(api.account, f"k{n}", "x", b"") for n in range(23)]
        given = [(one, b"{}", now - timedelta(days=60 - n)) for n, one in enumerate(identities)]

        def put() -> Steps[None]:
            yield [commit.deliver(given)]

        await database.record(put())
        monkeypatch.setattr(upkeep, "_BATCH", 5)
        work = {
            one.name: one
            for one in upkeep.jobs(
                database,
                api.operator.authority,
                api.operator.foreign(),
                answers_kept=timedelta(days=30),
            )
        }
        ended, pieces = None, []
        for _ in range(9):
            ended = await work["idempotency-expiry"].piece(now + timedelta(days=-8), ended)
            pieces.append(ended)
            if ended is None:
                break
        # 60 … 38 days old, and 38 days is the limit at that time.
        assert pieces == ["5", "10", "15", "20", None]
        async with database.read() as connection:
            left = (await connection.execute(text("SELECT key_hash FROM idempotency_answer"))).all()
        assert {bytes(row.key_hash) for row in left} == {identities[22].key_hash}

    service(scenario)


def test_validation_sets_outlive_the_answers_that_carry_them(service) -> None:
    async def scenario(api) -> None:
        await api.sign("one", key="k", level="B-LT")
        database, kept = api.operator.database, timedelta(days=30)
        work = {
            one.name: one
            for one in upkeep.jobs(
                database, api.operator.authority, api.operator.foreign(), answers_kept=kept
            )
        }
        now = datetime.now(UTC)
        for days, left in ((31.5, 1), (32.5, 0)):
            at = now + timedelta(days=days)
            await work["validation-set-expiry"].piece(at, None)
            await work["idempotency-expiry"].piece(at, None)
            assert await count(api, "validation_set") == left
            assert await count(api, "idempotency_answer") == 0
            # Between the two nothing that is kept can lack its set.

    service(scenario)


def test_windows_of_minutes_that_have_passed_go(service) -> None:
    async def scenario(api) -> None:
        await api.get("/v1/account")
        now = datetime.now(UTC)
        minute = int(now.timestamp()) // 60
        async with api.operator.database.write() as connection:
            await connection.execute(
                rates.windows.insert(),
                [{"caller": f"old{n}", "minute": minute - 61 - n, "used": 1} for n in range(3)]
                + [{"caller": "young", "minute": minute - 59, "used": 1}],
            )
        database = api.operator.database
        before = now - timedelta(hours=1)
        assert await rates.forget(database, before=before, limit=2) == 2
        assert await rates.forget(database, before=before, limit=2) == 1
        assert await rates.forget(database, before=before, limit=2) == 0
        assert await count(api, "rate_window") == 2

    service(scenario)


class Clock:
    """`time` of a module, as far as it asks for it; it goes on when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_heartbeats(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        clock = Clock()
        monkeypatch.setattr(executors, "time", clock)
        database = api.operator.database
        one, two = Heart(database, "host"), Heart(database, "host")
        assert one.executor != two.executor

        async def lives(seconds: int) -> None:
            for _ in range(seconds // 5):
                clock.now += 5
                await one._beat()

        async with one.beating():
            async with two.beating():
                assert await alive(database) == {one.executor, two.executor}
                await lives(30)
                assert await one.others_alive() is None  # not long enough here to tell
                await lives(5)
                assert await one.others_alive() == {one.executor, two.executor}
            assert await one.others_alive() == {one.executor}  # who leaves says so
            # Out of touch, and back: it cannot tell who is dead until others had their time.
            clock.now += 11
            assert await one.others_alive() is None
            await one._beat()
            assert await one.others_alive() is None
            await lives(30)
            assert await one.others_alive() is None
            await lives(5)
            assert await one.others_alive() == {one.executor}
        async with database.write() as connection:
            await connection.execute(
                executors.executors.insert(), [{"id": "silent", "beat_at": 1_000}]
            )
        assert await alive(database) == frozenset()
        await one.forget()
        assert await count(api, "executor") == 0

    service(scenario)


def test_a_heart_beats_on_when_a_beat_fails(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        tried = 0

        async def gone(_: Heart) -> None:
            nonlocal tried
            tried += 1
            if tried > 1:
                raise StorageUnavailable("gone")

        monkeypatch.setattr(Heart, "_beat", gone)
        async with Heart(api.operator.database, "host", every=0.01).beating():
            async with asyncio.timeout(30):
                while tried < 5:  # noqa: ASYNC110 - nothing says when it beats
                    await asyncio.sleep(0.01)

    service(scenario)


def test_the_service_s_role_has_what_the_work_needs_and_no_more(cluster: Cluster) -> None:
    for statement in (
        "CREATE TABLE dbos.mine (x int)",
        "UPDATE dbos.dbos_migrations SET version = 0",
        "DROP TABLE dbos.workflow_status",
        "TRUNCATE dbos.workflow_status",
    ):
        with pytest.raises(Exception, match="exit status"):
            cluster.sql(statement, database="prepared", user=APP)
    cluster.sql("SELECT count(*) FROM dbos.workflow_status", database="prepared", user=APP)


def test_without_its_tables_it_says_what_to_do_and_begins_when_they_are_there(
    cluster: Cluster, tmp_path: Path, monkeypatch
) -> None:
    name = f"late{datetime.now(UTC).timestamp():.6f}".replace(".", "")
    cluster.database(name)
    owner, app = cluster.url(name, OWNER), cluster.url(name)
    monkeypatch.setattr(upkeep, "_RETRY_SECONDS", 0.2)

    async def scenario() -> None:
        database = Database(owner)
        assert await database.migrate() is True
        assert await database.migrate() is False
        await database.grant(APP)
        assert await database.schema_version() == SCHEMA_VERSION
        seen, service = SimpleNamespace(log=io.StringIO()), Database(app)
        context = upkeep.keeping(
            service,
            app,
            [],
            heart=Heart(service, "test"),
            log=logger("json", "info", seen.log),
            now=lambda: datetime.now(UTC),
        )
        async with context:
            for _ in range(400):
                if "hashseal-server migrate" in seen.log.getvalue():
                    break
                await asyncio.sleep(0.05)
            assert "ConfigurationInvalid" in seen.log.getvalue()
            with pytest.raises(StorageUnavailable):
                await asyncio.to_thread(jobs.prepare, app)  # not with these rights
            await asyncio.to_thread(jobs.prepare, owner)
            await database.grant(APP)
            await begun(seen)
        await service.close()
        await database.close()

    asyncio.run(scenario())


def test_the_owner_s_command_prepares_it_and_so_does_a_first_start(
    cluster: Cluster, tmp_path: Path
) -> None:
    asked = "SELECT count(*) FROM dbos.workflow_status"
    cluster.database("prepared_by_command")
    done = subprocess.run(
        [sys.executable, "-m", "hashseal_server.cli", "migrate", "--grant", APP, "--json"],
        env={
            **os.environ,
            "HASHSEAL_DATA_DIR": str(tmp_path),
            "HASHSEAL_DATABASE_URL": cluster.url("prepared_by_command", OWNER),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"schema_version": SCHEMA_VERSION, "granted_to": APP}
    assert done.stderr == ""
    assert cluster.sql(asked, database="prepared_by_command", user=APP) == "0"

    async def first_start() -> None:
        settings = Settings(data_dir=tmp_path, database_url=cluster.url("by_start", OWNER))
        for _ in range(2):
            async with operator(settings):
                pass

    cluster.database("by_start")
    asyncio.run(first_start())
    assert cluster.sql(asked, database="by_start", user=OWNER) == "0"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("postgresql://a:b@h/n", "postgresql://a:b@h/n"),
        ("postgresql+asyncpg://a@h:5433/n?ssl=require", "postgresql://a@h:5433/n?sslmode=require"),
        ("postgresql:///n?host=/run/x", "postgresql:///n?host=%2Frun%2Fx"),
        ("sqlite:////x/work.db", "sqlite:////x/work.db"),
    ],
)
def test_the_address_of_the_database_in_libpq_s_words(ours: str, theirs: str) -> None:
    assert jobs._for_dbos(ours) == theirs
