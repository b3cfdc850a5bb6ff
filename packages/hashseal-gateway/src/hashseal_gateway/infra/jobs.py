"""Durable jobs in this process, done by DBOS; the only module of the gateway that knows it.

An attempt at a document that waits is one workflow, named after the document and its turn, so it
is begun once however often it is enqueued; one that must be followed by another enqueues it, for
later, before it ends. A process that was killed goes on with what it had begun when it starts
again. The files are in the data folder, so the work stays with the gateway that has it: the
executor has the folder's name, and one process at a time has the folder.

Imported when durable jobs begin: it takes half a second.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeVar

from dbos import (
    DBOS,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    ScheduleInput,
    SetEnqueueOptions,
    SetWorkflowID,
    _serialization,
)
from sqlalchemy import URL, make_url
from structlog.typing import FilteringBoundLogger

from hashseal_core.errors import HashsealError, StorageUnavailable
from hashseal_gateway.infra.db import SCHEMA_OF_WORK

_NAME = "hashseal-gateway"
_QUEUE = "documents"
_VERSION = "1"
_POLL_SECONDS = 0.2
_ATTEMPT_SECONDS = 600
_AFTER_AN_ERROR_SECONDS = 10.0
_LATE = timedelta(hours=1)
_QUIET_SECONDS = 30
_DRAIN_SECONDS = 10
_PAGE = 500
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done again and again; `schedule` is a cron line with seconds in front."""

    name: str
    schedule: str
    work: Callable[[], Awaitable[None]]


class Executor:
    """DBOS in this process, from `launch` to `end`; both block, and `loop` goes on meanwhile.

    What has ended is remembered for as long as `kept`, which is longer than a document may wait:
    until then the name of an attempt is known, and nobody begins it twice.
    """

    def __init__(
        self,
        url: str,
        attempt: Callable[[str], Awaitable[float | None]],
        jobs: Sequence[Job],
        *,
        name: str,
        kept: timedelta,
        at_once: int,
        log: FilteringBoundLogger,
        now: Callable[[], datetime],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._url = url
        self._attempt = attempt
        self._jobs = (*jobs, Job("finished-work", "45 17 * * * *", self.forget_finished))
        self._kept = kept
        self._name = name
        self._at_once = at_once
        self._log = log
        self._now = now
        self._loop = loop
        self._busy: set[str] = set()
        self._under_way: set[Future[Any]] = set()
        self._workflow = self._document_workflow()

    def launch(self) -> None:
        """Begin: what a process of this name left is resumed.

        Raises:
            StorageUnavailable: DBOS did not start; the log says why.
        """
        _refuse_pickles()
        forwarding = logging.getLogger("dbos")
        forwarding.handlers = [_Forwarding(self._log)]
        forwarding.propagate = False
        config: DBOSConfig = {
            "name": _NAME,
            "system_database_url": _for_dbos(self._url),
            "dbos_system_schema": SCHEMA_OF_WORK,
            "executor_id": self._name,
            "application_version": _VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "sys_db_pool_size": 4,
            "max_executor_threads": self._at_once + 4,
            "db_engine_kwargs": {
                "hide_parameters": True,
                "connect_args": {"application_name": "hashseal-gateway jobs"},
            },
            "log_level": "WARNING",
        }
        if make_url(self._url).get_backend_name() == "sqlite":
            config["db_engine_kwargs"] = {"hide_parameters": True}
        try:
            DBOS(config=config)
            schedules = [self._registered(job) for job in self._jobs]
            DBOS.launch()
            DBOS.register_queue(
                _QUEUE,
                worker_concurrency=self._at_once,
                polling_interval_sec=_POLL_SECONDS,
                on_conflict="always_update",
            )
            DBOS.apply_schedules(schedules)
        except Exception as error:
            self._log.error("jobs", exc_info=error)
            DBOS.destroy(destroy_registry=True)
            raise StorageUnavailable("durable jobs cannot begin") from error

    def end(self) -> None:
        """End; attempts under way have a moment to end, or are resumed at the next start."""
        patience = _DRAIN_SECONDS if self._busy else 0
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=patience)
        # Their threads wait for the loop, which ends too: nobody could end the process.
        for one in tuple(self._under_way):
            one.cancel()

    def enqueue(self, name: str, document_id: str) -> None:
        """Have a document worked on, once for each `name`; blocks until that is durable.

        Raises:
            StorageUnavailable: it is not.
        """
        try:
            self._enqueue(name, document_id, 1, 0)
        except Exception as error:
            self._log.error("jobs", exc_info=error)
            raise StorageUnavailable("the work on the document cannot be recorded") from error

    def _enqueue(self, name: str, document_id: str, turn: int, seconds: float) -> None:
        later = SetEnqueueOptions(delay_seconds=seconds or None)
        with SetWorkflowID(f"{name}.{turn}"), later:
            DBOS.enqueue_workflow(_QUEUE, self._workflow, name, document_id, turn)

    def _document_workflow(self) -> Callable[[str, str, int], None]:
        def document(name: str, document_id: str, turn: int) -> None:
            self._busy.add(document_id)
            try:
                pause = DBOS.run_step({"name": "attempt"}, self._one_attempt, document_id)
                if pause is not None:
                    self._enqueue(name, document_id, turn + 1, pause)
            finally:
                self._busy.discard(document_id)

        made: Callable[[str, str, int], None] = DBOS.workflow(name=f"{_NAME}.document")(document)
        return made

    def _one_attempt(self, document_id: str) -> float | None:
        try:
            return self._on_loop(self._attempt(document_id))
        except Exception as error:  # noqa: BLE001 - whatever it was, the document still waits
            code = error.code if isinstance(error, HashsealError) else type(error).__name__
            self._log.error("attempt", document=document_id, code=code, exc_info=error)
            return _AFTER_AN_ERROR_SECONDS

    def _registered(self, job: Job) -> ScheduleInput:
        def workflow(at: datetime, context: Any) -> None:
            del context
            if self._now() - at < _LATE:
                DBOS.run_step({"name": job.name}, self._one_job, job)

        DBOS.workflow(name=f"{_NAME}.{job.name}")(workflow)
        return {"schedule_name": job.name, "workflow_fn": workflow, "schedule": job.schedule}

    def _one_job(self, job: Job) -> None:
        try:
            self._on_loop(job.work())
        except Exception as error:  # noqa: BLE001 - told, and left to the next time
            self._log.error("job", job=job.name, exc_info=error)

    def _on_loop(self, work: Awaitable[_Value]) -> _Value:
        async def bounded() -> _Value:
            return await asyncio.wait_for(work, _ATTEMPT_SECONDS)

        # In a context of its own: what runs on the loop knows nothing of DBOS.
        made = contextvars.Context().run(asyncio.run_coroutine_threadsafe, bounded(), self._loop)
        self._under_way.add(made)
        try:
            return made.result()
        finally:
            self._under_way.discard(made)

    async def forget_finished(self) -> None:
        """Remove what has ended long ago, a page at a time."""
        before = (self._now() - self._kept).isoformat()

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

        while await asyncio.to_thread(forget) == _PAGE:
            pass


class _Forwarding(logging.Handler):
    """What DBOS has to tell goes where our own log goes, from each of its lines now and then."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._told: dict[tuple[str, int], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        place = record.pathname, record.lineno
        told = self._told.get(place)
        if told is not None and record.created - told < _QUIET_SECONDS:
            return
        self._told[place] = record.created
        error = record.exc_info[1] if record.exc_info else None
        detail = record.getMessage().partition("\n")[0]
        self._log.error("dbos", detail=detail, error=None if error is None else repr(error))


def _refuse_pickles() -> None:
    """DBOS unpickles a row that says so: whoever can write to the database could run code here."""

    def refuse(_self: object, _serialized_data: str) -> NoReturn:
        raise TypeError("pickles are refused")

    _serialization.DefaultSerializer.deserialize = refuse  # type: ignore[method-assign,assignment]


def _for_dbos(url: str) -> str:
    """The database as psycopg names it; asyncpg's `ssl` is libpq's `sslmode`."""
    place: URL = make_url(url)
    if place.get_backend_name() == "sqlite":
        place = place.set(drivername="sqlite")
    else:
        mode = place.query.get("ssl")
        place = place.set(drivername="postgresql").difference_update_query(["ssl"])
        if isinstance(mode, str):
            place = place.update_query_dict({"sslmode": mode})
    return place.render_as_string(hide_password=False)
