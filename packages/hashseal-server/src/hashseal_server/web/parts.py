"""What the endpoints need, joined by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler

from hashseal_server.accounts.client_service import Clients
from hashseal_server.accounts.networks import Network
from hashseal_server.accounts.service import Accounts
from hashseal_server.accounts.store import AccountStore
from hashseal_server.audit import AuditLog
from hashseal_server.events.log import EventLog
from hashseal_server.events.service import Webhooks
from hashseal_server.events.waiting import Waiting
from hashseal_server.infra.admission import Admission
from hashseal_server.infra.db import Database
from hashseal_server.infra.rates import Rates
from hashseal_server.infra.tracing import Tracing
from hashseal_server.infra.work import Outcomes
from hashseal_server.keystore.port import KeyStore
from hashseal_server.pki.service import CertificateAuthority
from hashseal_server.seals.service import Seals
from hashseal_server.signing.service import SigningService
from hashseal_server.signing.store import SigningStore
from hashseal_server.tsa.relay import Relay
from hashseal_server.tsa.service import TimestampAuthority
from hashseal_server.web.observing import Figures, Log

Refusal: TypeAlias = Callable[[Request[Any, Any, Any], Exception], Response[bytes]]


@dataclass(frozen=True, slots=True)
class OtherApi:
    """Endpoints under a prefix such as `/csc`, which answer errors there in their own way."""

    prefix: str
    routes: tuple[HTTPRouteHandler, ...]
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints need."""

    accounts: Accounts
    clients: Clients
    account_store: AccountStore
    seals: Seals
    signing: SigningService
    signing_store: SigningStore
    authority: CertificateAuthority
    timestamps: TimestampAuthority | Relay
    keystore: KeyStore
    database: Database
    log: Log
    figures: Figures
    audit: AuditLog
    admission: Admission
    rates: Rates
    roles: frozenset[str]
    tracing: Tracing
    outcomes: Outcomes
    event_log: EventLog
    waiting: Waiting
    webhooks: Webhooks
    others: tuple[OtherApi, ...] = ()
    """APIs of other slices, for the role `api`."""
    proxies: Sequence[Network] = ()
    owners: dict[str, str] = field(default_factory=dict)
    """Whose a token was when it was last seen: enough to refuse early, never to let anybody in."""
