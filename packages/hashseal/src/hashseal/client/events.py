"""Learn what happened: check a webhook that arrived, or pull events by cursor.

```python
from hashseal.client.events import pull, verify_webhook

event = verify_webhook(request.headers, request.body, ["whsec_…"])

with Client("https://sign.example.com", token) as client:
    page = client.run(pull(cursor, wait=30))  # keep page.next for the next call
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from hashseal.client import wire
from hashseal_core import webhooks
from hashseal_core.errors import WebhookInvalid
from hashseal_core.events import Event, Events


def verify_webhook(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    *,
    now: datetime | None = None,
) -> Event:
    """The event in a webhook that was sent just now by who knows one of the secrets (`whsec_…`).

    `body` is as it came, not parsed and written again. The same event may come more than once, and
    then has the same id: remember the ids that you have dealt with.

    Raises:
        WebhookInvalid: not signed with any of the secrets, too old, or not an event.
        InvalidValue: a secret is none.
    """
    keys = [webhooks.decode_secret(one) for one in secrets]
    message_id = webhooks.verify(headers, body, keys, now or datetime.now(UTC))
    try:
        event = msgspec.json.decode(body, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WebhookInvalid("the message is signed, but is no event") from error
    if event.id != message_id:
        raise WebhookInvalid("the event's id is not the message's")
    return event


def pull(after: str | None = None, *, wait: int = 0) -> wire.Workflow[Events]:
    """A page of events behind a cursor, oldest first; without one from the oldest that is kept.

    With `wait` the service answers as soon as there is one, or after so many seconds, 30 at most.
    When the page has been dealt with, keep its `next` as the cursor: what comes later is behind it.

    Raises:
        EventsForgotten: the cursor is so old that events behind it are gone.
    """
    return wire.read((yield wire.list_events(after, wait)), Events)
