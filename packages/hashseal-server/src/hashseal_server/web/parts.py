"""What the endpoints need, joined by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from hashseal_server.accounts.service import Accounts
from hashseal_server.accounts.store import AccountStore
from hashseal_server.audit import AuditLog
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
from hashseal_server.tsa.service import TimestampAuthority
from hashseal_server.web.observing import Figures


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints need."""

    accounts: Accounts
    account_store: AccountStore
    seals: Seals
    signing: SigningService
    signing_store: SigningStore
    authority: CertificateAuthority
    timestamps: TimestampAuthority
    keystore: KeyStore
    database: Database
    log: FilteringBoundLogger
    figures: Figures
    audit: AuditLog
    admission: Admission
    rates: Rates
    roles: frozenset[str]
    tracing: Tracing
    outcomes: Outcomes
    owners: dict[str, str] = field(default_factory=dict)
    """Whose a token was when it was last seen: enough to refuse early, never to let anybody in."""
