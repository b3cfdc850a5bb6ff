"""The composition root: settings become stores, services and one ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import gc
import importlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
import uvloop
from structlog.typing import FilteringBoundLogger

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import ConfigurationInvalid, HashsealError, OutputRefused
from hashseal_server.accounts.model import Account
from hashseal_server.accounts.service import Accounts
from hashseal_server.accounts.store import AccountStore
from hashseal_server.audit import AuditLog, Journal
from hashseal_server.infra.admission import Admission
from hashseal_server.infra.allowance import Allowance
from hashseal_server.infra.db import Database
from hashseal_server.infra.executors import Heart
from hashseal_server.infra.rates import Rates
from hashseal_server.infra.tracing import Tracing, tracing
from hashseal_server.infra.work import Outcomes
from hashseal_server.keystore.authorisation import Authoriser
from hashseal_server.keystore.blocking import BlockingKeyStore
from hashseal_server.keystore.folder import read_secret
from hashseal_server.keystore.port import KeyStore, PurposeKeys
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.remote import RemoteSigners
from hashseal_server.keystore.software import SoftwareKeyStore
from hashseal_server.pki.issuance import Linter
from hashseal_server.pki.model import LegalPerson
from hashseal_server.pki.profiles import Policies
from hashseal_server.pki.response_store import ResponseStore
from hashseal_server.pki.responses import Responses
from hashseal_server.pki.service import CertificateAuthority
from hashseal_server.pki.store import PkiStore
from hashseal_server.seals.service import Seals
from hashseal_server.seals.store import SealStore
from hashseal_server.settings import Role, Settings
from hashseal_server.signing.service import SigningService
from hashseal_server.signing.store import SigningStore
from hashseal_server.tsa.clock import MonotonicClock
from hashseal_server.tsa.service import TimestampAuthority
from hashseal_server.upkeep import jobs, keeping
from hashseal_server.web.app import application
from hashseal_server.web.joining import JoiningProtocol
from hashseal_server.web.observing import Figures, Observed, logger
from hashseal_server.web.parts import Parts

SANDBOX_URL = "http://sandbox.hashseal.example.com"
SANDBOX_ALGORITHMS = (KeyAlgorithm.P256, KeyAlgorithm.RSA3072)
_SEQUENCE_SECONDS = 1.0
_TOLERATED_SECONDS = 60
_DRAIN_SECONDS = 30
_COLLECT_AFTER = 20_000
"""Objects made and not yet freed until young ones are looked through; calls leave few cycles."""


def now() -> datetime:
    """The system clock, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Operator:
    """What the operator's commands use; it needs no founded authority."""

    settings: Settings
    database: Database
    keystore: KeyStore
    signers: RemoteSigners | None
    authority: CertificateAuthority
    accounts: Accounts
    account_store: AccountStore
    seal_store: SealStore
    audit: AuditLog
    tracing: Tracing

    async def initialise(self) -> None:
        """Found the authority and its first timestamping unit; what exists stays."""
        settings = self.settings
        await self.authority.found(
            test=settings.test, organisation=settings.organisation, country=settings.country
        )
        if not await self.authority.units():
            name = "Hashseal TEST TSU 1" if settings.test else "Hashseal TSU 1"
            await self.authority.issue_tsu(name, settings.organisation, settings.country)

    async def timestamps(self) -> TimestampAuthority:
        """The timestamp authority with its newest unit.

        Raises:
            ConfigurationInvalid: the service has not been initialised.
        """
        units = await self.authority.units()
        if not units:
            raise ConfigurationInvalid("run `hashseal-server init` first")
        return TimestampAuthority(
            keystore=self.keystore,
            clock=MonotonicClock(now),
            unit=units[0],
            policy=self.settings.policies[1],
            signers=self.signers,
        )

    async def seals(self) -> Seals:
        """The seals of all accounts."""
        size = (await self.timestamps()).token_size_bound
        return Seals(
            store=self.seal_store, authority=self.authority, token_size=lambda: size, now=now
        )

    async def check(self) -> list[str]:
        """What must be right before serving; the answer is what an operator should look at.

        Raises:
            KeystoreUnavailable: the key store does not sign.
            ConfigurationInvalid: the clock is behind what was recorded, or no unit can be used.
        """
        findings = self._check_keys()
        newest, waiting = await self.audit.ends()
        behind = (newest - now()).total_seconds() if newest else 0
        if behind > _TOLERATED_SECONDS:
            raise ConfigurationInvalid(
                f"the system clock is {behind:.0f} s behind the newest audit record; set the clock"
            )
        if not [unit for unit in await self.authority.units() if unit.not_after > now()]:
            raise ConfigurationInvalid(
                "no timestamping unit is valid now; run `hashseal-server init`"
            )
        late = (now() - waiting).total_seconds() if waiting else 0
        if late > _TOLERATED_SECONDS:
            findings.append(f"audit records have waited {late:.0f} s for a checkpoint")
        return findings

    def _check_keys(self) -> list[str]:
        """The key store signs; a process that serves can authorise and knows no PIN."""
        self.keystore.health()
        if self.signers is None:
            return []
        if Role.API in self.settings.roles:
            authoriser(self.settings)
        return [
            f"this process can read {path}; let the signers run as another user"
            for path in sorted(set(self.settings.pkcs11_pin_files.values()))
            if os.access(path, os.R_OK)
        ]

    def upkeep(self, log: FilteringBoundLogger) -> AbstractAsyncContextManager[None]:
        """Take part in the background work while the block runs."""
        settings = self.settings
        return keeping(
            self.database,
            settings.work_database,
            jobs(
                self.database,
                self.authority,
                answers_kept=timedelta(days=settings.idempotency_days),
            ),
            heart=Heart(self.database, settings.replica),
            log=log,
            now=now,
        )

    async def app(self, log: FilteringBoundLogger | None = None) -> Observed:
        """The ASGI application; without `log` only errors are logged, as text."""
        timestamps, seals = await self.timestamps(), await self.seals()
        figures = Figures()
        signing_store = SigningStore(self.database, committed=figures.committed)
        signing = SigningService(
            records=signing_store,
            seals=seals,
            keystore=self.keystore,
            timestamps=timestamps,
            evidence_source=self.authority,
            now=now,
            step=self.tracing.step,
            signers=self.signers,
        )
        return application(
            Parts(
                accounts=self.accounts,
                account_store=self.account_store,
                seals=seals,
                signing=signing,
                signing_store=signing_store,
                authority=self.authority,
                timestamps=timestamps,
                keystore=self.keystore,
                database=self.database,
                log=log or logger("text", "error"),
                figures=figures,
                audit=self.audit,
                admission=Admission(),
                rates=Rates(self.database, self.settings.requests_per_minute, now),
                roles=frozenset(self.settings.roles),
                tracing=self.tracing,
                outcomes=Outcomes(self.database),
            )
        )


@asynccontextmanager
async def operator(settings: Settings, *, migrate: bool = True) -> AsyncIterator[Operator]:
    """Open everything; close it at the end.

    Raises:
        OutputRefused: the data folder cannot be written.
        ConfigurationInvalid: the schema is not of this version.
    """
    secret = _secret(settings.data_dir)
    traces = tracing(settings.traces_url)
    database = Database(settings.database)
    signers: RemoteSigners | None = None
    try:
        if migrate:
            new = await database.migrate()
            if new and settings.database_url is not None:
                await asyncio.to_thread(prepare_work, settings.work_database)
        else:
            await database.require_schema()
        keystore: KeyStore = SoftwareKeyStore(settings.data_dir / "keys", secret)
        if settings.keystore == "pkcs11":
            keystore = BlockingKeyStore(settings.signers)
            signers = _remote(settings)
        account_store = AccountStore(database)

        def linter() -> Linter:
            # pkilint takes longer to import than all the rest, and most starts sign nothing new.
            lint = importlib.import_module("hashseal_server.pki.lint")
            made: Linter = lint.PkixLinter(test=settings.test)
            return made

        yield Operator(
            settings=settings,
            database=database,
            keystore=keystore,
            signers=signers,
            authority=CertificateAuthority(
                store=PkiStore(database),
                responses=Responses(
                    store=ResponseStore(database),
                    keystore=keystore,
                    now=now,
                    allowance=Allowance(settings.live_status_per_second),
                ),
                keystore=keystore,
                linter=linter,
                base_url=settings.public_url,
                policies=Policies(*settings.policies),
                now=now,
            ),
            accounts=Accounts(store=account_store, pepper=secret, now=now),
            account_store=account_store,
            seal_store=SealStore(database),
            audit=AuditLog(
                database, Journal(settings.data_dir / "audit", PurposeKeys(keystore, Purpose.AUDIT))
            ),
            tracing=traces,
        )
    finally:
        traces.close()
        if signers is not None:
            await signers.close()
        await database.close()


def prepare_work(url: str) -> None:
    """Make the tables of background work, as their owner; SQLite's are made when it begins.

    Raises:
        StorageUnavailable: the role may not, or the database does not answer.
    """
    importlib.import_module("hashseal_server.infra.jobs").prepare(url)


def authoriser(settings: Settings) -> Authoriser:
    """Who writes authorisations for the signers, in a process that knows what accounts may do.

    Raises:
        ConfigurationInvalid: the key of authorisations is missing, open to others, or too short.
    """
    path = settings.authorisation_key_file
    if path is None:
        raise ConfigurationInvalid(
            "signing documents needs the key of authorisations", field="authorisation_key_file"
        )
    return Authoriser(read_secret(path, "authorisation_key_file"))


def _remote(settings: Settings) -> RemoteSigners:
    """The signers; only the role that knows accounts may authorise, and reads the key once."""
    may = functools.cache(lambda: authoriser(settings)) if Role.API in settings.roles else None
    return RemoteSigners(settings.signers, now=now, authoriser=may)


def _secret(folder: Path) -> bytes:
    """The secret of this data folder, made on first use, mode 0600."""
    path = folder / "secret"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(folder):
            if not path.exists():
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(secrets.token_hex(32).encode())
            return path.read_bytes()
    except OSError as error:
        raise OutputRefused(f"the data folder cannot be used: {error.strerror}") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time initialises a data folder."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The whole service, ready to sign: no port, no network, one account."""

    app: Observed
    token: str
    seal_ids: Mapping[str, str]
    trust_anchor: bytes


@asynccontextmanager
async def sandbox(data_dir: Path) -> AsyncIterator[Sandbox]:
    """The service in this process, with test authority, account, token and one seal per algorithm.

    It does no background work and does not load DBOS: lists and responses that go stale are made
    anew when they are asked for, and nothing lives long enough here to expire.

    Raises:
        OutputRefused: the folder cannot be written.
    """
    settings = Settings(
        data_dir=data_dir,
        database_url=None,
        public_url=SANDBOX_URL,
        organisation="Hashseal TEST",
        test=True,
        requests_per_minute=0,
    )
    async with operator(settings) as opened:
        with _locked(data_dir):
            await opened.initialise()
            account = await _sandbox_account(opened)
            seals = {
                seal.key_algorithm.value: seal.id
                for seal in await opened.seal_store.all(account.id)
            }
            for algorithm in SANDBOX_ALGORITHMS:
                if algorithm.value not in seals:
                    subject = LegalPerson(
                        "Hashseal TEST Seal", "Test Organisation", "NTRCH-TEST1", "CH"
                    )
                    book = await opened.seals()
                    made = await book.create(
                        account.id, subject, kind="official", algorithm=algorithm
                    )
                    seals[algorithm.value] = made.id
        token = await opened.accounts.create_token(account.id)
        app = await opened.app()
        async with sequencing(opened.audit):
            yield Sandbox(app, token.text, seals, await opened.authority.trust_anchor())
        await opened.account_store.revoke_token(token.id, now())


async def _sandbox_account(opened: Operator) -> Account:
    """The sandbox's account; it never runs dry."""
    known = await opened.account_store.all()
    account = known[0] if known else await opened.accounts.create("Sandbox")
    left = await opened.account_store.balance(account.id)
    if left.free + left.paid < 10_000:  # noqa: PLR2004
        await opened.accounts.record_order(account.id, 100_000)
    return account


@asynccontextmanager
async def sequencing(audit: AuditLog) -> AsyncIterator[None]:
    """Chain audit records each second while the block runs, and once at its end."""

    async def each_second() -> None:
        while True:
            await asyncio.sleep(_SEQUENCE_SECONDS)
            with contextlib.suppress(HashsealError):  # the next round comes in a second
                await audit.sequence()

    task = asyncio.create_task(each_second())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await audit.sequence()


class _Server(uvicorn.Server):
    """Ends on a signal without sending it to itself again, so that the rest is closed too."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def run(settings: Settings, host: str, port: int, listening: socket.socket | None = None) -> None:
    """`serve` on an event loop of libuv.

    Raises:
        ConfigurationInvalid: the service has not been initialised, or cannot serve rightly.
    """
    uvloop.run(serve(settings, host, port, listening))


async def serve(
    settings: Settings, host: str, port: int, listening: socket.socket | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; calls under way are finished first.

    `listening` is a socket that other processes may share; without it one is made.

    Raises:
        ConfigurationInvalid: the service has not been initialised, or cannot serve rightly.
    """
    async with operator(settings, migrate=settings.database_url is None) as opened:
        log = logger(settings.log_format, "info")
        for finding in await opened.check():
            log.error("start", finding=finding)
        app = await opened.app(log)
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER, 20, 20)
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,  # the caller's address is of no use here
            http=JoiningProtocol,
            ws="none",
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        async with contextlib.AsyncExitStack() as stack:
            if "worker" in settings.roles:
                await stack.enter_async_context(sequencing(opened.audit))
                await stack.enter_async_context(opened.upkeep(log))
            await _Server(config).serve([listening] if listening else None)
