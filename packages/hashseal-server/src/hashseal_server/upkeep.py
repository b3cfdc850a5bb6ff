"""What the service does by itself: which jobs there are, and when; once for all replicas.

The audit log is not among them. Each worker chains it every second (`hashseal_server.sequencing`),
since each data folder has a journal of its own and is late by a minute at most, whatever DBOS does.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from hashseal_server.accounts import token_store
from hashseal_server.infra import commit, rates
from hashseal_server.infra.db import Database
from hashseal_server.infra.executors import Heart
from hashseal_server.infra.work import Job, Outcomes, Piece
from hashseal_server.pki.foreign_status import ForeignStatus
from hashseal_server.pki.service import CertificateAuthority
from hashseal_server.signing.store import forget_sets

if TYPE_CHECKING:
    from hashseal_server.infra.jobs import Executor

TAKE_OVER = "*/15 * * * * *"
"""When the work that dead executors left is looked for."""
_RETRY_SECONDS = 10
_BATCH = 500
_SET_USED = timedelta(days=2)
"""For longer than that no answer takes up a validation set: its status data would be stale."""


def jobs(
    database: Database,
    authority: CertificateAuthority,
    foreign: ForeignStatus,
    *,
    answers_kept: timedelta,
) -> tuple[Job, ...]:
    """Every job of the service."""

    async def lists(_at: datetime, ended: str | None) -> str | None:
        if not (labels := await authority.labels()):
            return None
        label = ended if ended in labels else labels[0]
        await authority.renew_crl(label)
        following = labels[labels.index(label) + 1 :]
        return following[0] if following else None

    async def responders(_at: datetime, _ended: str | None) -> str | None:
        await authority.renew_responders()
        return None

    async def responses(_at: datetime, ended: str | None) -> str | None:
        return await authority.renew_responses(ended)

    async def elsewhere(_at: datetime, ended: str | None) -> str | None:
        return await foreign.renew(ended)

    async def answers(at: datetime) -> int:
        return await commit.forget(database, before=at - answers_kept, limit=_BATCH)

    async def sets(at: datetime) -> int:
        return await forget_sets(database, before=at - answers_kept - _SET_USED, limit=_BATCH)

    async def windows(at: datetime) -> int:
        return await rates.forget(database, before=at - timedelta(hours=1), limit=_BATCH)

    async def access(at: datetime) -> int:
        return await token_store.forget(database, before=at - timedelta(hours=1), limit=_BATCH)

    return (
        Job("revocation-lists", "40 * * * * *", lists),
        Job("responder-renewal", "25 27 * * * *", responders),
        Job("ocsp-responses", "10 */10 * * * *", responses),
        Job("status-data-of-imported-chains", "25 * * * * *", elsewhere),
        Job("idempotency-expiry", "20 7 * * * *", _emptying(answers)),
        Job("validation-set-expiry", "30 17 * * * *", _emptying(sets)),
        Job("rate-windows", "50 37 * * * *", _emptying(windows)),
        Job("access-token-expiry", "35 47 * * * *", _emptying(access)),
    )


def _emptying(remove: Callable[[datetime], Awaitable[int]]) -> Piece:
    """Remove a batch in each piece, until there is less than a batch; the cursor only counts."""

    async def piece(at: datetime, ended: str | None) -> str | None:
        removed = await remove(at)
        return str(int(ended or 0) + removed) if removed == _BATCH else None

    return piece


@asynccontextmanager
async def keeping(
    database: Database,
    url: str,
    work: Sequence[Job],
    *,
    heart: Heart,
    log: FilteringBoundLogger,
    now: Callable[[], datetime],
    take_over: str = TAKE_OVER,
) -> AsyncIterator[None]:
    """Take part in the work during the block; what is under way at its end is finished.

    DBOS is loaded and launched beside what the process does otherwise, and tried again until the
    database has its tables.

    Raises:
        StorageUnavailable: the database does not answer.
    """
    outcomes = Outcomes(database)
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()

    def launch() -> Executor:
        made: type[Executor] = importlib.import_module("hashseal_server.infra.jobs").Executor
        begun = made(
            url,
            work,
            heart=heart,
            outcomes=outcomes,
            log=log,
            now=now,
            loop=loop,
            take_over=take_over,
        )
        begun.launch()
        return begun

    async def begin() -> Executor | None:
        while not ending.is_set():
            try:
                begun = await asyncio.to_thread(launch)
            except Exception:  # whatever it is, it is told and tried again
                log.exception("background-work-refused")
            else:
                log.info("background-work", executor=heart.executor)
                return begun
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), _RETRY_SECONDS)
        return None

    async with heart.beating():
        beginning = asyncio.create_task(begin())
        try:
            yield
        finally:
            ending.set()
            executor = await beginning
            if executor is not None:
                await asyncio.to_thread(executor.end)
