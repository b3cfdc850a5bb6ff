"""Processes that do background work and nothing else, with jobs that leave traces, for tests to kill.

Each process runs the service's own `keeping`; the jobs are the tests'. Run as a program it is one
worker: `crew.py '{"database_url": …, "work_url": …, "name": …, "jobs": {"name": ["cron", pieces]}}'`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, make_url, text

from hashseal_server.infra import jobs
from hashseal_server.infra.db import Database
from hashseal_server.infra.executors import Heart
from hashseal_server.infra.work import Job
from hashseal_server.upkeep import keeping
from hashseal_server.web.observing import logger

BEAT, STALE, TAKE_OVER = 0.5, 4, "*/2 * * * * *"
PIECE_SECONDS = 0.8
"""How long a piece takes between its trace and its end."""
_TRACES = "CREATE TABLE trace (job TEXT, tick TEXT, piece INTEGER, worker TEXT)"


@dataclass
class Crew:
    """Workers on one database; `database_url` is of a role that owns nothing there."""

    database_url: str
    work_url: str
    folder: Path
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, work: dict[str, tuple[str, int]]) -> None:
        """Start a worker that knows these jobs: cron line and number of pieces each."""
        order = {
            "database_url": self.database_url,
            "work_url": self.work_url,
            "name": name,
            "jobs": work,
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.workers[name] = subprocess.Popen(
                [sys.executable, __file__, json.dumps(order)],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            )

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a worker."""
        self.workers[name].send_signal(number)

    def log(self, name: str) -> str:
        """What a worker has told."""
        return (self.folder / f"{name}.log").read_text()

    def wait_for(self, statement: str, *, seconds: float, **values: object) -> list[Any]:
        """Rows of the database, as soon as there are any."""
        return self.ask(statement, seconds, self._engine(self.database_url), values)

    def work(self, statement: str, *, seconds: float = 0, **values: object) -> list[Any]:
        """Rows of DBOS's tables; PostgreSQL keeps them in a schema."""
        place = "dbos." if self.work_url.startswith("postgresql") else ""
        engine = self._engine(self.work_url)
        return self.ask(statement.replace("@", place), seconds, engine, values)

    def ask(
        self, statement: str, seconds: float, engine: Engine, values: dict[str, object]
    ) -> list[Any]:
        until = time.monotonic() + seconds
        try:
            while True:
                with engine.begin() as connection:
                    done = connection.execute(text(statement), values)
                    found = done.all() if done.returns_rows else []
                if found or time.monotonic() > until:
                    return list(found)
                time.sleep(0.05)
        finally:
            engine.dispose()

    def stop(self) -> None:
        """End every worker, by force if need be."""
        for worker in self.workers.values():
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.terminate()
        for worker in self.workers.values():
            try:
                worker.wait(30)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    @staticmethod
    def _engine(url: str) -> Engine:
        place = make_url(url)
        if place.get_backend_name() == "postgresql":
            place = place.set(drivername="postgresql+psycopg")
        else:
            place = place.set(drivername="sqlite")
        return create_engine(place)


async def prepare(owner_url: str, work_url: str, app: str | None) -> None:
    """An empty database of the service with a table for traces."""
    database = Database(owner_url)
    await database.migrate()
    if app is not None:
        await asyncio.to_thread(jobs.prepare, work_url)
    async with database.write() as connection:
        await connection.execute(text(_TRACES))
    if app is not None:
        await database.grant(app)
    await database.close()


async def worker(order: dict[str, Any]) -> None:
    """One worker until SIGTERM."""
    database = Database(order["database_url"])
    name = order["name"]

    def tracing(job: str, pieces: int) -> Any:
        async def piece(at: datetime, ended: str | None) -> str | None:
            number = int(ended or 0)
            async with database.write() as connection:
                await connection.execute(
                    text("INSERT INTO trace VALUES (:job, :tick, :piece, :worker)"),
                    {"job": job, "tick": at.isoformat(), "piece": number, "worker": name},
                )
            await asyncio.sleep(PIECE_SECONDS)
            return str(number + 1) if number + 1 < pieces else None

        return piece

    work = [
        Job(job, schedule, tracing(job, pieces))
        for job, (schedule, pieces) in order["jobs"].items()
    ]
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    async with keeping(
        database,
        order["work_url"],
        work,
        heart=Heart(database, name, every=BEAT, stale=STALE),
        log=logger("json", "info"),
        now=lambda: datetime.now(UTC),
        take_over=TAKE_OVER,
    ):
        await ending.wait()
    await database.close()


if __name__ == "__main__":
    asyncio.run(worker(json.loads(sys.argv[1])))
