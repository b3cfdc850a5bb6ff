"""Work that comes again: what a job is, and what became of each, over all replicas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, String, Table, bindparam, select, text

from hashseal_server.infra.db import Database, UtcDateTime, metadata

Piece = Callable[[datetime, str | None], Awaitable[str | None]]
"""Given the time it was due at and where the piece before ended: where the next begins, or None."""

job_outcomes = Table(
    "job_outcome",
    metadata,
    Column("job", String(40), primary_key=True),
    Column("runs", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("succeeded_at", UtcDateTime),
    Column("failed_at", UtcDateTime),
)
_ENDED = text("""
    INSERT INTO job_outcome (job, runs, failures, succeeded_at, failed_at)
    VALUES (:job, 1, :failed, :succeeded_at, :failed_at)
    ON CONFLICT (job) DO UPDATE SET
        runs = job_outcome.runs + 1,
        failures = job_outcome.failures + excluded.failures,
        succeeded_at = COALESCE(excluded.succeeded_at, job_outcome.succeeded_at),
        failed_at = COALESCE(excluded.failed_at, job_outcome.failed_at)
""").bindparams(
    bindparam("succeeded_at", type_=UtcDateTime), bindparam("failed_at", type_=UtcDateTime)
)


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done again and again, once for all replicas.

    `schedule` is a cron line with seconds in front, UTC. The work is done in pieces, each bounded
    and repeatable: a process that dies in a piece leaves it to another, which does it again. A
    piece that fails ends this run; the next tick begins anew.

    A job keeps its name only as long as its pieces mean the same: during a rolling upgrade either
    version may end what the other began.
    """

    name: str
    schedule: str
    piece: Piece


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the runs of a job."""

    job: str
    runs: int
    failures: int
    succeeded_at: datetime | None
    failed_at: datetime | None


class Outcomes:
    """The outcomes of all jobs, as every replica sees them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ended(self, job: str, at: datetime, *, failed: bool) -> None:
        """One run has ended.

        Raises:
            StorageUnavailable: it is not counted.
        """
        values = {
            "job": job,
            "failed": int(failed),
            "succeeded_at": None if failed else at,
            "failed_at": at if failed else None,
        }
        async with self._database.write() as connection:
            await connection.execute(_ENDED, values)

    async def all(self) -> list[Outcome]:
        """Every job that ever ran.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        async with self._database.read() as connection:
            rows = await connection.execute(select(job_outcomes).order_by(job_outcomes.c.job))
            return [Outcome(*row) for row in rows]
