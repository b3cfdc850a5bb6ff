"""Background work in this process, done by DBOS; the only module that knows it.

DBOS keeps schedules, ticks and finished steps in tables of its own: on PostgreSQL the schema `dbos`
of the service's database, on SQLite a second file. A tick has one name over all replicas, so it is
done once; a workflow records each step, so whoever resumes it goes on behind the last one.

DBOS resumes by itself only what an executor of the same name left behind. Our executors are named
anew at each start and have heartbeats, and the job `take-over` resumes the work of every executor
that is silent. A workflow that was taken over belongs to its new executor alone: what the old one
still records, should it wake up, is refused by DBOS.

Imported by processes that do background work, and by nobody else: it takes half a second.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from dbos import (
    DBOS,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    ScheduleInput,
    _serialization,
)
from dbos import error as dbos_errors
from sqlalchemy import URL, make_url
from structlog.typing import FilteringBoundLogger

from hashseal_core.errors import ConfigurationInvalid, HashsealError, StorageUnavailable
from hashseal_server.infra.db import WORK_SCHEMA
from hashseal_server.infra.executors import Heart
from hashseal_server.infra.work import Job, Outcomes

_NAME = "hashseal"
_VERSION = "1"
"""The same for all versions of the service, which may therefore resume each other's work."""
_LATE = timedelta(hours=1)
"""A tick that is later than this is not done: the next one does its work, and after a long sleep of
the machine there may be thousands."""
_KEPT = timedelta(days=1)
"""How long finished ticks are remembered, so that nobody does them again."""
_THREADS = 8
_PIECE_SECONDS = 120
_DRAIN_SECONDS = 5
_QUIET_SECONDS = 30
_PAGE = 500
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class PieceFailed(Exception):
    """A piece of a job failed; the log says why, this only which error it was."""


def prepare(url: str) -> None:
    """Make or renew DBOS's tables, as their owner; blocks.

    Raises:
        StorageUnavailable: the database does not answer, or the role may not change the schema.
    """
    logging.getLogger("dbos").setLevel(logging.ERROR)
    try:
        DBOS.migrate(_for_dbos(url), schema=WORK_SCHEMA)
    except Exception as error:
        raise StorageUnavailable("the tables of background work cannot be made") from error


class Executor:
    """DBOS in this process, from `launch` to `end`; one at a time.

    `launch` and `end` block and are called from a thread while `loop`, on which the jobs run, goes
    on.
    """

    def __init__(
        self,
        url: str,
        jobs: Sequence[Job],
        *,
        heart: Heart,
        outcomes: Outcomes,
        log: FilteringBoundLogger,
        now: Callable[[], datetime],
        loop: asyncio.AbstractEventLoop,
        take_over: str,
    ) -> None:
        self._url = url
        self._heart = heart
        self._outcomes = outcomes
        self._log = log
        self._now = now
        self._loop = loop
        self._busy: set[object] = set()
        self._jobs = (
            *jobs,
            Job("take-over", take_over, self._take_over),
            Job("finished-work", "30 17 * * * *", self._forget_finished),
        )

    def launch(self) -> None:
        """Begin; from now on this process takes part in the work.

        Raises:
            ConfigurationInvalid: its tables are missing or old.
            StorageUnavailable: DBOS did not start; the log says why.
        """
        _refuse_pickles()
        forwarding = logging.getLogger("dbos")
        forwarding.handlers = [_Forwarding(self._log)]
        forwarding.propagate = False
        place = make_url(self._url)
        config: DBOSConfig = {
            "name": _NAME,
            "system_database_url": _for_dbos(self._url),
            "dbos_system_schema": WORK_SCHEMA,
            # On PostgreSQL the service's role may not; there `hashseal-server migrate` does it.
            "run_migrations": place.get_backend_name() == "sqlite",
            "executor_id": self._heart.executor,
            "application_version": _VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "sys_db_pool_size": 4,
            "max_executor_threads": _THREADS,
            "db_engine_kwargs": {
                "hide_parameters": True,
                "connect_args": {"application_name": "hashseal-server work"},
            },
            "log_level": "WARNING",
        }
        try:
            DBOS(config=config)
            schedules = [self._registered(job) for job in self._jobs]
            DBOS.launch()
            DBOS.apply_schedules(schedules)
        except dbos_errors.DBOSInitializationError as error:
            DBOS.destroy(destroy_registry=True)
            raise ConfigurationInvalid(
                "the tables of background work are missing or old; run `hashseal-server migrate`"
            ) from error
        except Exception as error:
            DBOS.destroy(destroy_registry=True)
            raise StorageUnavailable("background work cannot begin") from error

    def end(self) -> None:
        """Finish the pieces under way and end; others resume what is left."""
        patience = _DRAIN_SECONDS if self._busy else 0
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=patience)

    def _registered(self, job: Job) -> ScheduleInput:
        def workflow(at: datetime, context: Any) -> None:
            del context
            run = object()
            self._busy.add(run)
            try:
                self._work(job, at)
            finally:
                self._busy.discard(run)

        DBOS.workflow(name=f"{_NAME}.{job.name}")(workflow)
        return {"schedule_name": job.name, "workflow_fn": workflow, "schedule": job.schedule}

    def _work(self, job: Job, at: datetime) -> None:
        """The workflow: pieces until one says that it was the last, then the outcome."""
        if self._now() - at > _LATE:
            return
        ended: str | None = None
        try:
            while True:
                ended = DBOS.run_step({"name": job.name}, self._piece, job, at, ended)
                if ended is None:
                    break
        except Exception:
            DBOS.run_step({"name": "outcome"}, self._outcome, job, failed=True)
            raise
        DBOS.run_step({"name": "outcome"}, self._outcome, job, failed=False)

    def _piece(self, job: Job, at: datetime, ended: str | None) -> str | None:
        async def piece() -> str | None:
            return await asyncio.wait_for(job.piece(at, ended), _PIECE_SECONDS)

        try:
            # In a context of its own: what runs on the loop knows nothing of DBOS.
            made = contextvars.Context().run(asyncio.run_coroutine_threadsafe, piece(), self._loop)
            return made.result()
        except Exception as error:  # noqa: BLE001 - any ends this run, and is told
            code = error.code if isinstance(error, HashsealError) else type(error).__name__
            self._log.error("job", job=job.name, code=code, exc_info=error)
            raise PieceFailed(code) from None

    def _outcome(self, job: Job, *, failed: bool) -> None:
        ended = self._outcomes.ended(job.name, self._now(), failed=failed)
        try:
            contextvars.Context().run(asyncio.run_coroutine_threadsafe, ended, self._loop).result(
                _PIECE_SECONDS
            )
        except HashsealError as error:
            self._log.error("job", job=job.name, code=error.code)

    async def _take_over(self, _at: datetime, _ended: str | None) -> None:
        """Resume what silent executors left behind; DBOS hands each workflow to one executor."""
        await self._heart.forget()
        living = await self._heart.others_alive()
        if living is None:
            return

        def resume() -> None:
            waiting = DBOS.list_workflows(
                status="PENDING", limit=_PAGE, load_input=False, load_output=False
            )
            owners = {one.executor_id for one in waiting if one.executor_id} - living
            if owners:
                # What is marked as internal here is what DBOS's own recovery service calls: it
                # counts attempts and resumes nothing that somebody else has resumed meanwhile.
                resumed = DBOS._recover_pending_workflows(sorted(owners))  # noqa: SLF001
                self._log.info("taken-over", workflows=len(resumed), executors=sorted(owners))

        await asyncio.to_thread(resume)

    async def _forget_finished(self, _at: datetime, ended: str | None) -> str | None:
        """Remove a page of ticks that nobody asks for any more."""
        before = (self._now() - _KEPT).isoformat()

        def forget() -> int:
            found = DBOS.list_workflows(
                status=_ENDED,
                completed_before=before,
                limit=_PAGE,
                load_input=False,
                load_output=False,
            )
            DBOS.delete_workflows([one.workflow_id for one in found])
            return len(found)

        removed = await asyncio.to_thread(forget)
        return str(int(ended or 0) + removed) if removed == _PAGE else None


class _Forwarding(logging.Handler):
    """What DBOS has to tell goes where our own log goes, from each of its lines now and then.

    While the database is away each of its threads complains every second.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._told: dict[tuple[str, int], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        place = record.pathname, record.lineno
        told = self._told.get(place)
        if isinstance(error, PieceFailed):  # that has been told already
            return
        if told is not None and record.created - told < _QUIET_SECONDS:
            return
        self._told[place] = record.created
        detail = record.getMessage().partition("\n")[0]
        self._log.error("dbos", detail=detail, error=None if error is None else repr(error))


def _refuse_pickles() -> None:
    """DBOS unpickles a row that says so, whatever format is configured.

    Whoever can write to the database could run code here, in a process that has keys.
    """

    def refuse(_self: object, _serialized_data: str) -> NoReturn:
        raise TypeError("pickles are refused")

    _serialization.DefaultSerializer.deserialize = refuse  # type: ignore[method-assign,assignment]


def _for_dbos(url: str) -> str:
    """The service's database as psycopg names it; asyncpg's `ssl` is libpq's `sslmode`."""
    place: URL = make_url(url)
    if place.get_backend_name() == "sqlite":
        place = place.set(drivername="sqlite")
    else:
        mode = place.query.get("ssl")
        place = place.set(drivername="postgresql").difference_update_query(["ssl"])
        if isinstance(mode, str):
            place = place.update_query_dict({"sslmode": mode})
    return place.render_as_string(hide_password=False)
