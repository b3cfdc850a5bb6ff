"""What accounts do with their webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from hashseal_core import events as wire
from hashseal_core import webhooks
from hashseal_core.errors import InvalidValue, OutboundRefused
from hashseal_server.events.model import (
    TYPES,
    WEBHOOK_TEST,
    Attempt,
    Delivery,
    Endpoint,
    Event,
    Recorded,
)

ASKED = "asked"
"""Why a webhook is disabled that its account disabled."""
WAITING = 1000
"""Deliveries to one webhook that may wait when another is asked for."""


class Store(Protocol):
    """What is kept; see `hashseal_server.events.store`."""

    async def add(self, endpoint: Endpoint) -> None: ...
    async def change(
        self,
        account_id: str,
        webhook_id: str,
        change: Callable[[Endpoint], Endpoint],
        *,
        name: str,
        at: datetime,
    ) -> Endpoint: ...
    async def remove(self, account_id: str, webhook_id: str, at: datetime) -> None: ...
    async def find(self, account_id: str, webhook_id: str) -> Endpoint: ...
    async def all(self, account_id: str) -> list[Endpoint]: ...
    async def tell(self, event: Event, webhook_id: str, most: int) -> Recorded: ...
    async def deliveries(
        self, account_id: str, webhook_id: str, before: int | None, limit: int
    ) -> tuple[list[Delivery], int | None]: ...
    async def redeliver(
        self, account_id: str, webhook_id: str, delivery_id: str, at: datetime, most: int
    ) -> Delivery: ...


class Encryption(Protocol):
    """How secrets are kept; see `hashseal_server.infra.encryption`."""

    def encrypt(self, plain: bytes, owner: str) -> bytes: ...
    def decrypt(self, encrypted: bytes, owner: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """A webhook with its new secret, which nobody is told again."""

    endpoint: Endpoint
    secret: str


class Webhooks:
    """The webhooks of all accounts.

    Args:
        store: where they are kept.
        encryption: under which their secrets are kept.
        require_callable: raises `OutboundRefused` for an address that is never called.
        random: that many random octets.
        now: the time, UTC.
    """

    def __init__(
        self,
        *,
        store: Store,
        encryption: Encryption,
        require_callable: Callable[[str], None],
        random: Callable[[int], bytes],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._encryption = encryption
        self._require_callable = require_callable
        self._random = random
        self._now = now

    async def create(
        self, account_id: str, url: str, types: Sequence[str] = (), description: str = ""
    ) -> Shared:
        """A new webhook, for these types of events, or for all.

        Raises:
            InvalidValue: an address that is never called, or that the account has a webhook with;
                an unknown type.
            WebhookRefused: the account has as many as it may have.
        """
        self._require_url(url)
        webhook_id = "whk_" + self._random(12).hex()
        secret = self._random(webhooks.SECRET_OCTETS)
        endpoint = Endpoint(
            id=webhook_id,
            account_id=account_id,
            url=url,
            types=_types(types),
            description=_description(description),
            created_at=self._now(),
            secret=self._encryption.encrypt(secret, webhook_id),
        )
        await self._store.add(endpoint)
        return Shared(endpoint, webhooks.encode_secret(secret))

    async def find(self, account_id: str, webhook_id: str) -> Endpoint:
        """One webhook of the account.

        Raises:
            NotFound: absent, or another account's.
        """
        return await self._store.find(account_id, webhook_id)

    async def all(self, account_id: str) -> list[Endpoint]:
        """The account's webhooks."""
        return await self._store.all(account_id)

    async def update(
        self, account_id: str, webhook_id: str, changes: wire.UpdateWebhook
    ) -> Endpoint:
        """Change what is given; enabling one forgets that it failed.

        Raises:
            NotFound: absent, or another account's.
            InvalidValue: as for `create`.
        """
        if changes.url is not None:
            self._require_url(changes.url)
        types = None if changes.types is None else _types(changes.types)
        text = None if changes.description is None else _description(changes.description)

        def change(before: Endpoint) -> Endpoint:
            after = replace(
                before,
                url=before.url if changes.url is None else changes.url,
                types=before.types if types is None else types,
                description=before.description if text is None else text,
            )
            if changes.enabled is None or changes.enabled is (before.disabled is None):
                return after
            return replace(after, disabled=None if changes.enabled else ASKED, failing_since=None)

        return await self._store.change(
            account_id, webhook_id, change, name="webhook.updated", at=self._now()
        )

    async def rotate(self, account_id: str, webhook_id: str, overlap: timedelta) -> Shared:
        """Give a webhook a new secret; for a while it is signed for with the one of before, too.

        Raises:
            NotFound: absent, or another account's.
        """
        secret, at = self._random(webhooks.SECRET_OCTETS), self._now()
        encrypted = self._encryption.encrypt(secret, webhook_id)

        def change(before: Endpoint) -> Endpoint:
            return replace(
                before,
                secret=encrypted,
                previous=before.secret if overlap else None,
                previous_until=at + overlap if overlap else None,
            )

        endpoint = await self._store.change(
            account_id, webhook_id, change, name="webhook.secret-rotated", at=at
        )
        return Shared(endpoint, webhooks.encode_secret(secret))

    async def remove(self, account_id: str, webhook_id: str) -> None:
        """Call it no more, and forget its deliveries.

        Raises:
            NotFound: absent, or another account's.
        """
        await self._store.remove(account_id, webhook_id, self._now())

    async def test(self, account_id: str, webhook_id: str) -> Recorded:
        """Send an event to one webhook that says only that it is a test.

        Raises:
            NotFound: absent, or another account's.
            WebhookRefused: it is disabled, or too many deliveries wait.
        """
        event = Event(account_id, WEBHOOK_TEST, self._now(), {"webhook_id": webhook_id})
        return await self._store.tell(event, webhook_id, WAITING)

    async def deliveries(
        self, account_id: str, webhook_id: str, before: int | None, limit: int
    ) -> tuple[list[Delivery], int | None]:
        """Deliveries, newest first, and where the next page begins.

        Raises:
            NotFound: absent, or another account's.
        """
        return await self._store.deliveries(account_id, webhook_id, before, limit)

    async def redeliver(self, account_id: str, webhook_id: str, delivery_id: str) -> Delivery:
        """Send an event to a webhook again, now.

        Raises:
            NotFound: absent, or another account's.
            WebhookRefused: it is disabled, too many deliveries wait, or this one was attempted too
                often.
        """
        return await self._store.redeliver(
            account_id, webhook_id, delivery_id, self._now(), WAITING
        )

    def describe(self, endpoint: Endpoint) -> wire.Webhook:
        """As the API shows it; never a secret."""
        until = endpoint.previous_until
        return wire.Webhook(
            id=endpoint.id,
            url=endpoint.url,
            types=sorted(endpoint.types),
            description=endpoint.description,
            enabled=endpoint.disabled is None,
            created_at=endpoint.created_at,
            disabled_because=endpoint.disabled,
            failing_since=endpoint.failing_since,
            previous_secret_until=until if until is not None and until > self._now() else None,
        )

    def _require_url(self, url: str) -> None:
        try:
            self._require_callable(url)
        except OutboundRefused as error:
            raise InvalidValue(error.detail, field="url") from error


def describe_delivery(delivery: Delivery) -> wire.Delivery:
    """As the API shows it."""
    return wire.Delivery(
        id=delivery.id,
        event_id=delivery.event_id,
        type=delivery.type,
        state=delivery.state.value,
        created_at=delivery.created_at,
        attempts=[_attempt(one) for one in delivery.attempts],
        next_attempt_at=delivery.due_at,
    )


def _attempt(attempt: Attempt) -> wire.Attempt:
    outcome = attempt.outcome
    return wire.Attempt(
        attempt.number, attempt.at, outcome.milliseconds, outcome.status, outcome.error
    )


def _types(given: Sequence[str]) -> frozenset[str]:
    if not TYPES.issuperset(given):
        known = ", ".join(sorted(TYPES))
        raise InvalidValue(f"types are among {known}; leave them out for all", field="types")
    return frozenset(given)


def _description(text: str) -> str:
    if not text.isprintable():
        raise InvalidValue("a description has printable characters only", field="description")
    return text
