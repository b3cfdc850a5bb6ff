"""The composition root: settings become stores, services and one ASGI application."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from structlog.typing import FilteringBoundLogger

from hashseal_core.errors import ConfigurationInvalid
from hashseal_gateway.documents.batch import Batches, BatchLimits
from hashseal_gateway.documents.model import Document
from hashseal_gateway.documents.ports import Policy
from hashseal_gateway.documents.service import Documents
from hashseal_gateway.documents.signer import Signer
from hashseal_gateway.documents.store import DocumentStore
from hashseal_gateway.documents.upkeep import Upkeep
from hashseal_gateway.documents.verification import Verifier, read_anchors
from hashseal_gateway.documents.work import Work
from hashseal_gateway.infra.admission import Admission
from hashseal_gateway.infra.confinement import Confinement
from hashseal_gateway.infra.data_folder import DataFolder, read_secret
from hashseal_gateway.infra.db import Database
from hashseal_gateway.infra.service import Service, transport_for
from hashseal_gateway.log.store import LogStore
from hashseal_gateway.seals.service import Seals
from hashseal_gateway.seals.store import SealStore
from hashseal_gateway.settings import Settings
from hashseal_gateway.users.service import Users
from hashseal_gateway.users.session_store import SessionStore
from hashseal_gateway.users.sessions import Ends, Sessions
from hashseal_gateway.users.store import UserStore
from hashseal_gateway.web.app import application
from hashseal_gateway.web.front import Front
from hashseal_gateway.web.observing import Observed
from hashseal_gateway.web.parts import Parts
from hashseal_gateway.web.upload import Limits

CELL = "hashseal_gateway.documents.cell"
_BATCH_SECONDS = 3600


def now() -> datetime:
    """The system clock, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Office:
    """What needs neither the service nor processes: users, keys, the log."""

    settings: Settings
    folder: DataFolder
    database: Database
    users: Users
    sessions: Sessions
    log_store: LogStore


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything, ready to sign; `work` are the attempts at documents that wait."""

    office: Office
    service: Service
    seals: Seals
    document_store: DocumentStore
    documents: Documents
    batches: Batches
    work: Work
    upkeep: Upkeep

    def app(self, log: FilteringBoundLogger) -> Observed:
        """The ASGI application."""
        office, settings = self.office, self.office.settings
        upload = Limits(settings.max_upload, settings.max_upload, 1, settings.upload_seconds)
        batch = Limits(
            settings.max_upload, settings.max_batch, settings.max_batch_documents, _BATCH_SECONDS
        )
        return application(
            Parts(
                users=office.users,
                sessions=office.sessions,
                front=Front(settings.public_url, settings.trusted_proxies),
                seals=self.seals,
                documents=self.documents,
                batches=self.batches,
                document_store=self.document_store,
                log_store=office.log_store,
                verifier=Verifier(read_anchors(settings.trust_anchors), settings.processes),
                folder=office.folder,
                database=office.database,
                service=self.service,
                admission=Admission(settings.documents_at_once, settings.documents_waiting),
                limits=upload,
                batch_limits=batch,
                log=log,
                now=now,
            )
        )

    @asynccontextmanager
    async def working(self, log: FilteringBoundLogger) -> AsyncIterator[Any]:
        """Work on documents that wait while the block runs; what was left is gone on with.

        The value is the `hashseal_gateway.infra.jobs.Executor` that does the work.

        Raises:
            StorageUnavailable: durable jobs cannot begin.
        """
        settings, loop = self.office.settings, asyncio.get_running_loop()
        self.office.folder.sweep([one.id for one in await self.document_store.with_files()])
        # DBOS takes half a second to import, and is not needed where nothing waits.
        jobs: Any = await asyncio.to_thread(importlib.import_module, "hashseal_gateway.infra.jobs")
        executor = jobs.Executor(
            settings.work_database,
            self.work.attempt,
            (jobs.Job("upkeep", "15 * * * * *", self.upkeep.once),),
            name=self.office.folder.name,
            kept=timedelta(hours=settings.patience_hours, days=1),
            at_once=settings.documents_at_once,
            log=log,
            now=now,
            loop=loop,
        )
        await asyncio.to_thread(executor.launch)

        async def enqueue(document: Document) -> None:
            name = f"{document.id}-{document.runs}"
            await asyncio.to_thread(executor.enqueue, name, document.id)

        self.documents.enqueue = enqueue
        try:
            await self.documents.resume_all()
            yield executor
        finally:
            self.documents.enqueue = None
            await asyncio.to_thread(executor.end)


@asynccontextmanager
async def office(settings: Settings, *, work: str = "documents") -> AsyncIterator[Office]:
    """Open data folder and database; close them at the end.

    Raises:
        OutputRefused: the data folder cannot be used.
        ConfigurationInvalid: the schema is newer than this program, or of another data folder.
        StorageUnavailable: the database does not answer.
    """
    folder = DataFolder(settings.data_dir, work)
    database = Database(settings.database)
    try:
        await database.migrate()
        await database.claim(folder.name)
        users = Users(UserStore(database), folder.secret, now)
        ends = Ends(
            idle=timedelta(minutes=settings.session_idle_minutes),
            longest=timedelta(hours=settings.session_hours),
        )
        yield Office(
            settings=settings,
            folder=folder,
            database=database,
            users=users,
            sessions=Sessions(SessionStore(database), users, folder.secret, now, ends),
            log_store=LogStore(database),
        )
    finally:
        await database.close()


@asynccontextmanager
async def gateway(
    settings: Settings,
    *,
    work: str = "documents",
    transport: httpx2.AsyncBaseTransport | None = None,
) -> AsyncIterator[Gateway]:
    """Open everything; close it at the end. `transport` takes the network's place.

    Raises:
        ConfigurationInvalid: the service's address or token is missing or wrong.
        OutputRefused, StorageUnavailable: as `office` says.
    """
    if settings.service_url is None or settings.service_token_file is None:
        raise ConfigurationInvalid(
            "say service_url and service_token_file: where the signing service is, and the file "
            "with the account's token",
            field="service_url",
        )
    token = read_secret(settings.service_token_file, "service_token_file")
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(office(settings, work=work))
        service = Service(
            settings.service_url,
            token,
            timeout=settings.service_timeout,
            transport=transport or transport_for(settings.service_ca_file),
        )
        stack.push_async_callback(service.close)
        confinement = Confinement(CELL, settings.processes)
        await confinement.begin()
        stack.push_async_callback(confinement.end)
        yield _joined(opened, service, Signer(confinement, service))


def _joined(opened: Office, service: Service, signer: Signer) -> Gateway:
    settings, folder = opened.settings, opened.folder
    store = DocumentStore(opened.database)
    seals = Seals(SealStore(opened.database), service, now)
    policy = policy_of(settings)
    documents = Documents(
        store, opened.log_store, seals, signer, folder, folder.secret, policy, now
    )
    limits = BatchLimits(settings.max_batch_documents, settings.max_upload, settings.max_batch)
    return Gateway(
        office=opened,
        service=service,
        seals=seals,
        document_store=store,
        documents=documents,
        batches=Batches(documents, signer, folder, limits),
        work=Work(store, seals, signer, folder, folder.secret, policy, now),
        upkeep=Upkeep(
            store,
            opened.log_store,
            documents,
            opened.sessions,
            remembered=timedelta(days=settings.idempotency_days),
            logged=timedelta(days=settings.log_days),
            now=now,
        ),
    )


def policy_of(settings: Settings) -> Policy:
    """What the administrator has decided about documents."""
    refuse: Sequence[str] = sorted(settings.refuse)
    return Policy(
        level=settings.level,
        refuse=refuse,
        patience=timedelta(hours=settings.patience_hours),
        kept=timedelta(hours=settings.result_hours),
        kept_after_delivery=timedelta(minutes=settings.delivered_minutes),
    )
