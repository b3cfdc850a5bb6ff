"""Background work over several processes that are killed, stopped and replaced."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import pickle
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import crew
import pytest
from cluster import APP, OWNER, Cluster
from crew import Crew

EACH_SECOND = "* * * * * *"
SETTLING = 6
STILL = 6.0


@pytest.fixture(params=["sqlite", "postgresql"])
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Crew]:
    """A crew on a database of its own; on PostgreSQL with a role that owns nothing."""
    if request.param == "sqlite":
        url, work = f"sqlite:///{tmp_path / 'x.db'}", f"sqlite:///{tmp_path / 'work.db'}"
        asyncio.run(crew.prepare(url, work, None))
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        name = f"t{os.urandom(8).hex()}"
        url = work = cluster.database(name)
        asyncio.run(crew.prepare(cluster.url(name, OWNER), cluster.url(name, OWNER), APP))
    made = Crew(url, work, tmp_path)
    yield made
    made.stop()


def traces(workers: Crew, job: str) -> dict[str, list[tuple[int, str]]]:
    """Pieces that were begun, and by whom, of each tick."""
    found: dict[str, list[tuple[int, str]]] = {}
    for row in workers.wait_for("SELECT * FROM trace WHERE job = :job", seconds=0, job=job):
        found.setdefault(row.tick, []).append((row.piece, row.worker))
    return {tick: sorted(pieces) for tick, pieces in found.items()}


def in_the_middle(workers: Crew, job: str) -> tuple[str, str]:
    """Worker and tick of a run whose third piece has just begun."""
    (row, *_) = workers.wait_for(
        "SELECT worker, tick FROM trace WHERE job = :job AND piece = 2", seconds=40, job=job
    )
    return row.worker, row.tick


def finished(workers: Crew, job: str, tick: str, seconds: float) -> bool:
    """DBOS has recorded the success of this run."""
    name = f"sched-{job}-{tick}"
    statement = "SELECT 1 FROM @workflow_status WHERE workflow_uuid = :name AND status = 'SUCCESS'"
    return bool(workers.work(statement, seconds=seconds, name=name))


def test_several_workers_do_a_tick_once(workers: Crew) -> None:
    names = ("one", "two", "three", "four")
    for name in names:
        workers.start(name, {"each-second": (EACH_SECOND, 1)})
    workers.wait_for("SELECT count(*) FROM executor HAVING count(*) = 4", seconds=60)
    time.sleep(20)
    done = traces(workers, "each-second")
    (row,) = workers.wait_for("SELECT * FROM job_outcome WHERE job = 'each-second'", seconds=0)
    assert all(len(pieces) == 1 for pieces in done.values()), done
    ticks = sorted(done)[:-SETTLING]  # the newest may still be under way, on a slow machine
    assert len(ticks) >= 8
    seconds = [int(tick[17:19]) for tick in ticks]
    assert all((b - a) % 60 == 1 for a, b in itertools.pairwise(seconds)), ticks
    assert row.runs >= len(ticks)
    assert row.failures == 0
    for name in names:
        workers.send(name, signal.SIGTERM)
        assert workers.workers[name].wait(30) == 0
    assert not workers.wait_for("SELECT 1 FROM executor", seconds=0)


def test_what_a_killed_worker_left_is_resumed_by_another(workers: Crew) -> None:
    work = {"march": ("*/10 * * * * *", 6)}
    for name in ("one", "two", "three"):
        workers.start(name, work)
    name, tick = in_the_middle(workers, "march")
    workers.send(name, signal.SIGKILL)
    assert finished(workers, "march", tick, seconds=60), workers.log(name)
    pieces = traces(workers, "march")[tick]
    begun = Counter(piece for piece, _ in pieces)
    assert sorted(begun) == [0, 1, 2, 3, 4, 5]
    assert [begun[piece] for piece in (0, 1)] == [1, 1]  # not again: these had ended
    assert begun[2] <= 2  # it died in this one
    assert [begun[piece] for piece in (3, 4, 5)] == [1, 1, 1]
    assert {worker for piece, worker in pieces if piece > 2} <= {"one", "two", "three"} - {name}
    # What was resumed is done once: nobody begins it again.
    time.sleep(STILL)
    assert traces(workers, "march")[tick] == pieces


@pytest.mark.parametrize("workers", ["postgresql"], indirect=True)  # as over several machines
def test_a_worker_that_was_stopped_does_not_go_on_with_what_was_taken_over(workers: Crew) -> None:
    work = {"march": ("*/10 * * * * *", 6)}
    for name in ("one", "two"):
        workers.start(name, work)
    name, tick = in_the_middle(workers, "march")
    workers.send(name, signal.SIGSTOP)
    assert finished(workers, "march", tick, seconds=60)
    before = traces(workers, "march")[tick]
    workers.send(name, signal.SIGCONT)
    time.sleep(STILL)
    assert traces(workers, "march")[tick] == before
    assert [worker for piece, worker in before if piece > 2].count(name) == 0


@pytest.mark.parametrize("workers", ["postgresql"], indirect=True)  # as over several machines
def test_a_job_that_an_old_version_does_not_know_is_done_when_it_has_gone(workers: Crew) -> None:
    old = {"known": (EACH_SECOND, 1)}
    workers.start("old", old)
    workers.wait_for("SELECT 1 FROM trace", seconds=40)
    new = {**old, "added": (EACH_SECOND, 1)}
    workers.start("new", new)
    assert workers.work(
        "SELECT 1 FROM @workflow_schedules WHERE schedule_name = 'added'", seconds=60
    ), workers.log("new")
    workers.send("new", signal.SIGTERM)
    assert workers.workers["new"].wait(30) == 0
    # Alone, the old one takes the new job's ticks and cannot do them.
    statement = """
        SELECT workflow_uuid FROM @workflow_status
        WHERE name = 'hashseal.added' AND status = 'PENDING' AND executor_id LIKE 'old.%'
    """
    (stuck, *_) = workers.work(statement, seconds=60)
    workers.start("newer", new)
    workers.send("old", signal.SIGTERM)
    assert workers.workers["old"].wait(30) == 0
    tick = stuck.workflow_uuid.removeprefix("sched-added-")
    assert finished(workers, "added", tick, seconds=60)
    assert traces(workers, "added")[tick] == [(0, "newer")]


class Harmful:
    """What an intruder in the database would put there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_in_the_database_is_not_run(workers: Crew, tmp_path: Path) -> None:
    workers.start("one", {"known": (EACH_SECOND, 1)})
    workers.wait_for("SELECT 1 FROM trace", seconds=40)
    made = tmp_path / "made-by-the-pickle"
    harmful = base64.b64encode(pickle.dumps(Harmful(made))).decode()
    columns = "workflow_uuid, status, name, application_version, queue_name, application_name"
    workers.work(
        f"INSERT INTO @workflow_status ({columns}, inputs, serialization, priority, created_at, "
        "updated_at) VALUES ('harmful', 'ENQUEUED', 'hashseal.known', '1', "
        "'_dbos_internal_queue', 'hashseal', :inputs, 'py_pickle', 0, 1, 1)",
        inputs=harmful,
    )
    statement = (
        "SELECT status FROM @workflow_status WHERE workflow_uuid = 'harmful' AND status = 'ERROR'"
    )
    assert workers.work(statement, seconds=40)
    assert "pickles are refused" in workers.log("one")
    assert not made.exists()
