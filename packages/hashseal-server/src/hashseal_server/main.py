"""The composition root: settings become stores, services and one ASGI application."""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hashseal_core.errors import ConfigurationInvalid
from hashseal_server import remote_signing
from hashseal_server.accounts.client_service import Clients
from hashseal_server.accounts.service import Accounts
from hashseal_server.accounts.store import AccountStore
from hashseal_server.audit import AuditLog, Journal
from hashseal_server.callers import callers
from hashseal_server.infra.admission import Admission
from hashseal_server.infra.allowance import Allowance
from hashseal_server.infra.data_folder import secret_in
from hashseal_server.infra.db import Database
from hashseal_server.infra.executors import Heart
from hashseal_server.infra.outbound import Outbound
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
from hashseal_server.notifying import Notifying
from hashseal_server.pki import lists
from hashseal_server.pki.foreign_status import ForeignStatus
from hashseal_server.pki.foreign_store import ForeignStore
from hashseal_server.pki.installation import Installation
from hashseal_server.pki.installation_store import InstallationStore
from hashseal_server.pki.issuance import Linter
from hashseal_server.pki.model import Issued
from hashseal_server.pki.model import Role as PkiRole
from hashseal_server.pki.profiles import Policies
from hashseal_server.pki.response_store import ResponseStore
from hashseal_server.pki.responses import Responses
from hashseal_server.pki.revocation import require_reason
from hashseal_server.pki.service import CertificateAuthority
from hashseal_server.pki.store import PkiStore
from hashseal_server.seals.importing import Importing
from hashseal_server.seals.request_store import RequestStore
from hashseal_server.seals.service import Seals
from hashseal_server.seals.store import SealStore, chains_of
from hashseal_server.seals.telling import certificate_revoked, imported_revoked
from hashseal_server.settings import Role, Settings
from hashseal_server.signing.service import SigningService
from hashseal_server.signing.sources import Sources
from hashseal_server.signing.store import SigningStore
from hashseal_server.timestamping import Timestamping, external_timestamps
from hashseal_server.tsa.external import TOKEN_SIZE_BOUND, ExternalTimestamps
from hashseal_server.tsa.relay import Relay
from hashseal_server.tsa.service import TimestampAuthority
from hashseal_server.upkeep import jobs, keeping
from hashseal_server.web.app import Application, application
from hashseal_server.web.observing import Figures, Log, logger
from hashseal_server.web.parts import Parts

_TOLERATED_SECONDS = 60
_ENDING = timedelta(days=60)
_LIST_ENDING = timedelta(days=30)
_SEAL_ENDING = timedelta(days=30)
"""What ends sooner is told when the service starts."""


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
    linter: Callable[[], Linter]
    accounts: Accounts
    clients: Clients
    account_store: AccountStore
    seal_store: SealStore
    audit: AuditLog
    tracing: Tracing
    outbound: Outbound
    timestamping: Timestamping
    notifying: Notifying
    foreign_status: ForeignStatus

    async def initialise(self) -> None:
        """Found the authority and its first timestamping unit; what exists stays."""
        settings = self.settings
        await self.authority.found(
            test=settings.test,
            organisation=settings.organisation,
            country=settings.country,
            root=settings.root,
        )
        if not settings.timestamp_urls:
            await self.timestamping.provide(1)

    async def revoke(
        self, serial: int, reason: str, *, invalid_since: datetime | None = None
    ) -> Issued:
        """Revoke a certificate for good; what it was.

        A timestamping unit is taken from its owner first, so that no token of it leaves once this
        has answered (I11).

        Raises:
            InvalidValue, NotFound, ConfigurationInvalid: as `CertificateAuthority.revoke`.
        """
        found = await self.authority.find(serial)
        require_reason(reason, found.role)
        if found.role is PkiRole.TSU and found.revoked_at is None:
            await self.timestamping.withdraw(serial)
        await self.authority.revoke(serial, reason, at=now(), invalid_since=invalid_since)
        return found

    def installation(self) -> Installation:
        """What goes out to a ceremony of an offline root, and comes in from it."""
        return Installation(
            store=InstallationStore(self.database),
            authority=self.authority,
            keystore=self.keystore,
            linter=self.linter,
            base_url=self.settings.public_url,
            now=now,
        )

    async def timestamps(self) -> TimestampAuthority:
        """The timestamp authority; it states times when `app` has begun it.

        Raises:
            ConfigurationInvalid: the service has not been initialised.
        """
        await self.timestamping.token_size()
        return self.timestamping.authority

    def external_timestamps(self, log: Log | None = None) -> ExternalTimestamps | None:
        """The timestamp authorities that are configured; None when the service is its own.

        Raises:
            ConfigurationInvalid: an address, the anchors or a secret cannot be used.
        """
        return external_timestamps(self.settings, self.outbound, now=now, log=log)

    async def seals(self) -> Seals:
        """The seals of all accounts."""
        if self.settings.timestamp_urls:
            size = TOKEN_SIZE_BOUND
        else:
            size = await self.timestamping.token_size()
        return Seals(
            store=self.seal_store,
            authority=self.authority,
            foreign=ForeignStore(self.database, chains_of, imported_revoked),
            token_size=lambda: size,
            now=now,
            fonts=self.settings.seal_fonts,
        )

    def foreign(self, log: Log | None = None) -> ForeignStatus:
        """Status data of imported chains; what the authorities say is logged from now on.

        It is one for calls and background work: an address that hung is left alone by both.
        """
        if log is not None:
            self.foreign_status.tell_to(lambda event, fields: log.warning(event, **fields))
        return self.foreign_status

    def importing(self) -> Importing:
        """Certificates of other authorities, as the operator handles them."""
        keystore = self.keystore
        return Importing(
            requests=RequestStore(self.database),
            seals=self.seal_store,
            keystore=keystore,
            software=keystore if isinstance(keystore, SoftwareKeyStore) else None,
            status=self.foreign(),
            status_store=ForeignStore(self.database, chains_of, imported_revoked),
            now=now,
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
        if self.external_timestamps() is None and not [
            unit for unit in await self.authority.units() if unit.not_after > now()
        ]:
            raise ConfigurationInvalid(
                "no timestamping unit is valid now; run `hashseal-server init`"
            )
        findings += await self._check_ends()
        late = (now() - waiting).total_seconds() if waiting else 0
        if late > _TOLERATED_SECONDS:
            findings.append(f"audit records have waited {late:.0f} s for a checkpoint")
        return findings

    async def _check_ends(self) -> list[str]:
        """What ends soon and is not renewed by itself."""
        findings = []
        for what, at in await self.authority.ends():
            left = at - now()
            if what.startswith("crl-") or left > _ENDING:
                continue
            findings.append(f"{what} ends in {left.days} days; see docs/how-to/certificate-life.md")
        root = await self.authority.offline_list_ends()
        if root is not None and root - now() < _LIST_ENDING:
            findings.append(
                f"the offline root's list ends in {(root - now()).days} days; hold a ceremony"
            )
        seals = await self.seal_store.ending(after=now(), before=now() + _SEAL_ENDING)
        if seals:
            findings.append(
                f"{len(seals)} seals end within {_SEAL_ENDING.days} days, the first in "
                f"{(seals[0] - now()).days}; `hashseal-server seal list` shows them"
            )
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

    def upkeep(self, log: Log) -> AbstractAsyncContextManager[None]:
        """Take part in the background work while the block runs."""
        settings = self.settings
        return keeping(
            self.database,
            settings.work_database,
            (
                *jobs(
                    self.database,
                    self.authority,
                    self.foreign(log),
                    answers_kept=timedelta(days=settings.idempotency_days),
                ),
                self.timestamping.job(),
                *self.notifying.jobs(log),
                remote_signing.job(self.database),
            ),
            heart=Heart(self.database, settings.replica),
            log=log,
            now=now,
        )

    async def app(self, log: Log | None = None) -> Application:
        """The ASGI application; without `log` only errors are logged, as text."""
        log = log or logger("text", "error")
        external = self.external_timestamps(log)
        timestamps = external or await self.timestamps()
        foreign, seals = self.foreign(log), await self.seals()
        sources = Sources(self.authority, foreign, self.seal_store, units=external)
        if isinstance(timestamps, ExternalTimestamps):
            answering: TimestampAuthority | Relay = Relay(
                timestamps, foreign.adopt, sources.material_for
            )
        else:
            answering = timestamps
            if {Role.API, Role.TSA} & self.settings.roles:
                await timestamps.begin(log)
        figures = Figures()
        rates = Rates(self.database, self.settings.requests_per_minute, now)
        signing_store = SigningStore(self.database, committed=figures.committed)
        signing = SigningService(
            records=signing_store,
            seals=seals,
            keystore=self.keystore,
            timestamps=timestamps,
            evidence_source=sources,
            now=now,
            step=self.tracing.step,
            signers=self.signers,
        )
        shared = remote_signing.Shared(seals, signing, signing_store, rates, Admission(), log)
        return application(
            Parts(
                accounts=self.accounts,
                clients=self.clients,
                account_store=self.account_store,
                seals=seals,
                signing=signing,
                signing_store=signing_store,
                authority=self.authority,
                timestamps=answering,
                keystore=self.keystore,
                database=self.database,
                log=log,
                figures=figures,
                audit=self.audit,
                admission=shared.admission,
                rates=rates,
                roles=frozenset(self.settings.roles),
                tracing=self.tracing,
                outcomes=Outcomes(self.database),
                others=(remote_signing.csc_api(self, shared, now),),
                proxies=self.settings.trusted_proxies,
                event_log=self.notifying.log,
                waiting=self.notifying.waiting,
                webhooks=self.notifying.webhooks,
            )
        )


@asynccontextmanager
async def operator(
    settings: Settings,
    *,
    migrate: bool = True,
    keys: KeyStore | None = None,
    list_lifetime: timedelta = lists.LIFETIME,
) -> AsyncIterator[Operator]:
    """Open everything; close it at the end. `keys` are used instead of the ones in the settings.

    Raises:
        OutputRefused: the data folder cannot be written.
        ConfigurationInvalid: the schema is not of this version.
    """
    secret = secret_in(settings.data_dir)
    outbound = Outbound(allowed=settings.outbound_networks, roots=settings.outbound_ca_file)
    traces = tracing(settings.traces_url)
    database = Database(settings.database)
    signers: RemoteSigners | None = None
    timestamping: Timestamping | None = None
    notifying = Notifying(settings, database, secret)
    try:
        if migrate:
            new = await database.migrate()
            if new and settings.database_url is not None:
                await asyncio.to_thread(prepare_work, settings.work_database)
        else:
            await database.require_schema()
        keystore: KeyStore = SoftwareKeyStore(settings.data_dir / "keys", secret)
        if keys is not None:
            keystore = keys
        elif settings.keystore == "pkcs11":
            keystore = BlockingKeyStore(settings.signers)
            signers = _remote(settings)
        accounts, clients = callers(settings, database, secret, now)
        policies = Policies(*settings.policies)

        def linter() -> Linter:
            # pkilint takes longer to import than all the rest, and most starts sign nothing new.
            lint = importlib.import_module("hashseal_server.pki.lint")
            made: Linter = lint.PkixLinter(test=settings.test, raw_policy=policies.raw)
            return made

        authority = CertificateAuthority(
            store=PkiStore(database, certificate_revoked),
            responses=Responses(
                store=ResponseStore(database),
                keystore=keystore,
                now=now,
                allowance=Allowance(settings.live_status_per_second),
            ),
            keystore=keystore,
            linter=linter,
            base_url=settings.public_url,
            policies=policies,
            now=now,
            list_lifetime=list_lifetime,
        )
        timestamping = Timestamping(settings, database, authority, keystore, signers)
        yield Operator(
            settings=settings,
            database=database,
            keystore=keystore,
            signers=signers,
            authority=authority,
            linter=linter,
            accounts=accounts,
            clients=clients,
            account_store=AccountStore(database),
            seal_store=SealStore(database),
            audit=AuditLog(
                database, Journal(settings.data_dir / "audit", PurposeKeys(keystore, Purpose.AUDIT))
            ),
            tracing=traces,
            outbound=outbound,
            timestamping=timestamping,
            notifying=notifying,
            foreign_status=ForeignStatus(
                store=ForeignStore(database, chains_of, imported_revoked),
                outside=outbound,
                now=now,
            ),
        )
    finally:
        traces.close()
        await outbound.close()
        await notifying.close()
        if timestamping is not None:
            await timestamping.authority.end()
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
