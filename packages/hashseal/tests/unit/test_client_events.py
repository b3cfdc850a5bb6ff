"""The SDK checks webhooks and pulls events."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from hashseal.client import wire
from hashseal.client.events import pull, verify_webhook
from hashseal_core.errors import EventsForgotten, InvalidValue, WebhookInvalid
from hashseal_core.events import Event, Events
from hashseal_core.webhooks import encode_secret

EVENT = Event("evt_1", "quota.low", datetime(2026, 11, 25, tzinfo=UTC), {"calls_left": 9})


def sent(secret: str, body: bytes, message_id: str = "evt_1") -> dict[str, str]:
    """As another implementation of the specification sends it."""
    now = datetime.now(UTC)
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": Webhook(secret).sign(message_id, now, body.decode()),
    }


def test_a_webhook_is_checked_and_read() -> None:
    secret, other = (encode_secret(secrets.token_bytes(32)) for _ in range(2))
    body = msgspec.json.encode(EVENT)
    headers = sent(secret, body)
    assert verify_webhook(headers, body, [other, secret]) == EVENT
    later = datetime.now(UTC) + timedelta(minutes=6)
    for given, octets, keys, now in (
        (headers, body, [other], None),
        (headers, body + b" ", [secret], None),
        (headers, body, [secret], later),
        ({}, body, [secret], None),
    ):
        with pytest.raises(WebhookInvalid):
            verify_webhook(given, octets, keys, now=now)
    with pytest.raises(InvalidValue):
        verify_webhook(headers, body, ["not a secret"])
    # Signed, and still not an event of this service: another id, another shape.
    with pytest.raises(WebhookInvalid, match="id"):
        verify_webhook(sent(secret, body, "evt_2"), body, [secret])
    with pytest.raises(WebhookInvalid, match="no event"):
        verify_webhook(sent(secret, b"[]"), b"[]", [secret])


def test_events_are_pulled_behind_a_cursor() -> None:
    asking = pull("ZTE=", wait=30)
    request = next(asking)
    assert (request.method, request.path) == ("GET", "/v1/events?after=ZTE%3D&wait=30")
    page = Events([EVENT], "ZTI=")
    with pytest.raises(StopIteration) as ended:
        asking.send(wire.Reply(200, msgspec.json.encode(page)))
    assert ended.value.value == page
    assert next(pull()).path == "/v1/events"
    gone = (
        b'{"type":"x","title":"x","status":410,"code":"events-forgotten","detail":"x","action":"x"}'
    )
    asking = pull("ZTE=")
    next(asking)
    with pytest.raises(EventsForgotten):
        asking.send(wire.Reply(410, gone))
