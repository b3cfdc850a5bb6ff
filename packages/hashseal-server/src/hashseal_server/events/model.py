"""Values of the events slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

QUOTA_LOW = "quota.low"
CERTIFICATE_EXPIRING = "certificate.expiring"
CREDENTIAL_REVOKED = "credential.revoked"
WEBHOOK_DISABLED = "webhook.disabled"
WEBHOOK_TEST = "webhook.test"
TYPES = frozenset({QUOTA_LOW, CERTIFICATE_EXPIRING, CREDENTIAL_REVOKED, WEBHOOK_DISABLED})
"""What a webhook can be for; a test event goes to the one that is tested."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, to be recorded; `data` is JSON without personal data."""

    account_id: str
    type: str
    at: datetime
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in its account's order; `data` is JSON text."""

    id: str
    account_id: str
    position: int
    type: str
    at: datetime
    data: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of an account that is called.

    Attributes:
        types: events that it is called for; none are all.
        secret: encrypted; see `hashseal_server.infra.encryption`.
        previous: the secret of before, encrypted, in force until `previous_until`.
        disabled: why it is called no more; None while it is.
        failing_since: first failure that no success has followed.
    """

    id: str
    account_id: str
    url: str
    types: frozenset[str]
    description: str
    created_at: datetime
    secret: bytes
    previous: bytes | None = None
    previous_until: datetime | None = None
    disabled: str | None = None
    failing_since: datetime | None = None

    def wants(self, event_type: str) -> bool:
        """It is called for events of this type."""
        return self.disabled is None and (not self.types or event_type in self.types)


class State(StrEnum):
    """How far a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to; `status` or `error`, `retry_after` in seconds."""

    milliseconds: int
    status: int | None = None
    error: str | None = None
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that is attempted now.

    Attributes:
        number: of the delivery; rows are found by it.
        attempts: how many there were, ever.
        tries: how many there were since it was last begun: once, or by a redelivery.
        endpoint: None when it was removed.
    """

    number: int
    attempts: int
    tries: int
    event: Recorded
    endpoint: Endpoint | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a delivery after an attempt.

    Attributes:
        due_at: of the next attempt; None when there is none.
        disable: why the endpoint is called no more; None when it still is.
    """

    state: State
    due_at: datetime | None = None
    disable: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, as it is kept."""

    number: int
    at: datetime
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery, as its account sees it."""

    id: str
    number: int
    event_id: str
    type: str
    state: State
    created_at: datetime
    due_at: datetime | None
    attempts: tuple[Attempt, ...]
