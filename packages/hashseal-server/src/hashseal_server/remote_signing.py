"""What of settings and database makes the CSC API: its parts joined, and its background work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hashseal_server.accounts.service import Accounts
from hashseal_server.csc import api, store
from hashseal_server.csc.describing import Service
from hashseal_server.csc.service import RemoteSigning
from hashseal_server.csc.store import AuthorisationStore, consumed, served
from hashseal_server.infra.admission import Admission
from hashseal_server.infra.db import Database
from hashseal_server.infra.rates import Rates
from hashseal_server.infra.work import Job
from hashseal_server.keystore.port import KeyStore, Signers
from hashseal_server.keystore.software import SoftwareKeyStore
from hashseal_server.pki.service import CertificateAuthority
from hashseal_server.seals.raw import RawCredentials
from hashseal_server.seals.raw_store import RawStore
from hashseal_server.seals.service import Seals
from hashseal_server.settings import Settings
from hashseal_server.signing.raw import RawSigning
from hashseal_server.signing.service import SigningService
from hashseal_server.signing.store import SigningStore
from hashseal_server.web.observing import Log
from hashseal_server.web.parts import OtherApi

_BATCH = 50


class Opened(Protocol):
    """What is open; see `hashseal_server.main`."""

    @property
    def settings(self) -> Settings: ...
    @property
    def database(self) -> Database: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def authority(self) -> CertificateAuthority: ...
    @property
    def keystore(self) -> KeyStore: ...
    @property
    def signers(self) -> Signers | None: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What the CSC API has in common with the service's own."""

    seals: Seals
    signing: SigningService
    records: SigningStore
    rates: Rates
    admission: Admission
    log: Log


def raw_credentials(opened: Opened, now: Callable[[], datetime]) -> RawCredentials:
    """Credentials that sign any digest; none unless the operator allows it."""
    return RawCredentials(
        store=RawStore(opened.database),
        authority=opened.authority,
        enabled=opened.settings.raw_signing,
        now=now,
    )


def csc_api(opened: Opened, shared: Shared, now: Callable[[], datetime]) -> OtherApi:
    """The endpoints of the CSC API."""
    settings, keystore, raws = opened.settings, opened.keystore, raw_credentials(opened, now)
    remote = RemoteSigning(
        service=Service(
            settings.organisation,
            settings.country,
            settings.raw_signing,
            authorization=f"{settings.public_url.rstrip('/')}/",
        ),
        authorisations=AuthorisationStore(opened.database),
        consume=consumed,
        serve=served,
        seals=shared.seals,
        raws=raws,
        signing=shared.signing,
        raw_signing=RawSigning(
            records=shared.records,
            credentials=raws,
            keys=keystore if isinstance(keystore, SoftwareKeyStore) else None,
            signers=opened.signers,
            now=now,
        ),
        now=now,
        oauth2=("oauth2/token", "oauth2/revoke"),
    )
    door = api.Door(
        remote,
        opened.accounts,
        shared.rates,
        shared.admission,
        shared.log,
        settings.trusted_proxies,
    )
    return OtherApi(api.PREFIX, tuple(api.routes(door)), api.refusal)


def job(database: Database) -> Job:
    """The background work that forgets authorisations some time after their end."""

    async def forget(at: datetime, ended: str | None) -> str | None:
        removed = await store.forget(database, at=at, limit=_BATCH)
        return str(int(ended or 0) + removed) if removed == _BATCH else None

    return Job("csc-authorisation-expiry", "35 */5 * * * *", forget)
