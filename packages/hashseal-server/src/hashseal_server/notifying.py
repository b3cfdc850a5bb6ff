"""Events and their webhooks, joined: who is told what, and how it gets out.

Part of the composition root; `main` opens it with everything else. Webhooks have connections and
resolver threads of their own: receivers that are slow never hold up timestamps or status data.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property

from structlog.typing import FilteringBoundLogger

from hashseal_core.errors import OutboundFailed, OutboundRefused
from hashseal_server.accounts.watching import QuotaWatch
from hashseal_server.events import log as events
from hashseal_server.events.delivering import CLAIMED, Delivering
from hashseal_server.events.model import Outcome
from hashseal_server.events.outbox import Outbox
from hashseal_server.events.service import Webhooks
from hashseal_server.events.store import WebhookStore
from hashseal_server.events.waiting import Waiting
from hashseal_server.infra.db import Database
from hashseal_server.infra.destination import require_permitted
from hashseal_server.infra.encryption import Encryption
from hashseal_server.infra.outbound import Outbound
from hashseal_server.infra.resolving import BUSY
from hashseal_server.infra.work import Job
from hashseal_server.seals.telling import ExpiryWatch
from hashseal_server.settings import Settings

TOTAL_SECONDS = 15.0
"""What an attempt may take, from the resolver to the head of the answer."""
_BATCH = 500


class Notifying:
    """What the service tells its accounts."""

    def __init__(self, settings: Settings, database: Database, secret: bytes) -> None:
        self._settings = settings
        self._database = database
        self._encryption = Encryption(secret, "webhook secrets")
        self.log = events.EventLog(database)
        self.waiting = Waiting(self.log.ends)
        self.quota = QuotaWatch(database)
        self.webhooks = Webhooks(
            store=WebhookStore(database),
            encryption=self._encryption,
            require_callable=self._require_callable,
            random=secrets.token_bytes,
            now=_now,
        )

    @cached_property
    def _outbound(self) -> Outbound:
        """Made when somebody is called: most processes call nobody."""
        return Outbound(
            allowed=self._settings.outbound_networks,
            total_seconds=TOTAL_SECONDS,
            roots=self._settings.outbound_ca_file,
        )

    def delivering(
        self,
        log: FilteringBoundLogger,
        *,
        now: Callable[[], datetime] | None = None,
        claimed: timedelta = CLAIMED,
    ) -> Delivering:
        """What sends events to webhooks; `now` stands in for the clock."""

        def tell(event: str, fields: Mapping[str, object]) -> None:
            log.warning(event, **fields)

        return Delivering(
            store=Outbox(self._database),
            post=self.post,
            encryption=self._encryption,
            now=now or _now,
            jitter=random.random,
            tell=tell,
            claimed=claimed,
        )

    def jobs(self, log: FilteringBoundLogger) -> tuple[Job, ...]:
        """The background work of telling."""
        kept = timedelta(days=self._settings.events_days)

        async def forget(at: datetime, ended: str | None) -> str | None:
            removed = await events.forget(self._database, before=at - kept, limit=_BATCH)
            return str(int(ended or 0) + removed) if removed == _BATCH else None

        return (
            Job("webhook-deliveries", "*/5 * * * * *", self.delivering(log).piece),
            Job("quota-notices", "15 * * * * *", self.quota.piece),
            Job("expiry-notices", "45 12 * * * *", ExpiryWatch(self._database).piece),
            Job("event-expiry", "35 22 * * * *", forget),
        )

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], account_id: str
    ) -> Outcome | None:
        """One call of an address; what goes wrong there is an outcome like any other.

        None: it was not called, too many names are being looked up.
        """
        begun = time.monotonic()

        def outcome(status: int | None, error: str | None, after: int | None = None) -> Outcome:
            return Outcome(round(1000 * (time.monotonic() - begun)), status, error, after)

        try:
            # The rules may have changed since the address was taken.
            self._require_callable(url)
            answer = await self._outbound.notify(
                url, body, media_type="application/json", headers=headers, owner=account_id
            )
        except OutboundRefused:
            return outcome(None, "address-refused")
        except OutboundFailed as error:
            return None if error.reason == BUSY else outcome(None, error.reason)
        error_word = None if answer.status // 100 == 2 else "status"  # noqa: PLR2004
        return outcome(answer.status, error_word, answer.retry_after)

    async def close(self) -> None:
        """Close the connections."""
        if "_outbound" in vars(self):
            await self._outbound.close()

    def _require_callable(self, url: str) -> None:
        settings = self._settings
        require_permitted(url, settings.outbound_networks)
        if not (settings.webhooks_over_http or url.lower().startswith("https://")):
            raise OutboundRefused("the address must begin with https://")


def _now() -> datetime:
    return datetime.now(UTC)
