"""Wire models of events and webhooks, shared by service and SDK (JSON; UTC times).

What a webhook receives as its body is one `Event`, and so is each element of `GET /v1/events`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from hashseal_core.protocol import Answer, Request

MAX_WAIT = 30
MAX_URL = 2048
MAX_OVERLAP_HOURS = 168
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_URL)]
Description = Annotated[str, msgspec.Meta(max_length=200)]
Types = Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=32)]


class Event(Answer, frozen=True):
    """Something that happened; `id` is also the `webhook-id`, `data` depends on `type` alone."""

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any]


class Events(Answer, frozen=True):
    """`GET /v1/events`, oldest first; `next` is the cursor for `after`, also if nothing came."""

    events: list[Event]
    next: str


class CreateWebhook(Request, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/webhooks`: an address that is called; without `types` for every event."""

    url: Url
    types: Types = msgspec.field(default_factory=list)
    description: Description = ""


class UpdateWebhook(Request, frozen=True, forbid_unknown_fields=True):
    """`PATCH /v1/webhooks/{webhook_id}`: what is left out stays as it is."""

    url: Url | None = None
    types: Types | None = None
    description: Description | None = None
    enabled: bool | None = None


class RotateWebhookSecret(Request, frozen=True, forbid_unknown_fields=True):
    """`POST …/secret`: for so many hours messages are signed with the secret of before, too."""

    overlap_hours: Annotated[int, msgspec.Meta(ge=0, le=MAX_OVERLAP_HOURS)] = 24


class Webhook(Answer, frozen=True):
    """An address that is called; no `types` are all of them.

    `disabled_because` is `asked`, `gone` (it answered 410) or `failing` (for days).
    `failing_since` is when the first attempt failed that no success has followed.
    """

    id: str
    url: str
    types: list[str]
    description: str
    enabled: bool
    created_at: datetime
    disabled_because: str | None = None
    failing_since: datetime | None = None
    previous_secret_until: datetime | None = None


class Webhooks(Answer, frozen=True):
    """`GET /v1/webhooks`."""

    webhooks: list[Webhook]


class WebhookSecret(Answer, frozen=True):
    """A webhook and its new secret, `whsec_…`, which is shown this once."""

    webhook: Webhook
    secret: str


class Removed(Answer, frozen=True):
    """What was removed."""

    id: str


class Attempt(Answer, frozen=True):
    """One attempt: the status that was answered, or why there was none.

    `error` is `status`, `timeout`, `unreachable`, `tls`, `protocol`, `address-refused` or
    `secret-unusable`.
    """

    number: int
    at: datetime
    milliseconds: int
    status: int | None = None
    error: str | None = None


class Delivery(Answer, frozen=True):
    """An event on its way to a webhook; `state` is `pending`, `delivered` or `failed`."""

    id: str
    event_id: str
    type: str
    state: str
    created_at: datetime
    attempts: list[Attempt]
    next_attempt_at: datetime | None = None


class Deliveries(Answer, frozen=True):
    """`GET …/deliveries`, newest first; `next` is the cursor for `after`, absent at the end."""

    deliveries: list[Delivery]
    next: str | None = None
