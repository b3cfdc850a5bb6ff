"""Messages of Standard Webhooks 1.0.0, symmetric scheme `v1`: secret, headers, signature.

HMAC-SHA256 over `id.timestamp.body`, in standard base64. A message carries one signature for each
secret that is in force, so that a secret can be replaced without a gap. Nothing
here sends anything.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from hashseal_core.errors import InvalidValue, WebhookInvalid

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"
TOLERANCE = timedelta(minutes=5)
"""How far the time of an attempt may be from the receiver's clock: an older one may be a replay."""
SECRET_OCTETS = 32
_LEAST, _MOST = 24, 64
_VERSION = "v1"
_DIGEST = 32
_MAX_SIGNATURES = 16
_MAX_HEADER = 4096
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)


def encode_secret(secret: bytes) -> str:
    """As it is shown: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secret).decode()


def decode_secret(text: str) -> bytes:
    """The octets of a secret, 24 to 64.

    Raises:
        InvalidValue: it is no secret of a webhook.
    """
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if not text.startswith(PREFIX) or not _LEAST <= len(secret) <= _MOST:
        raise InvalidValue("a webhook's secret is whsec_ and base64 of 24 to 64 octets")
    return secret


def headers(message_id: str, at: datetime, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The three headers of one attempt, signed with each secret, the present one first.

    Raises:
        InvalidValue: an id with other characters than `A-Za-z0-9_-`; a full stop would let one
            message be read as another.
    """
    if not _ID.fullmatch(message_id):
        raise InvalidValue("the id of a message is 1 to 64 of A-Z a-z 0-9 _ -")
    seconds = str(int(at.timestamp()))
    made = (_signature(message_id, seconds, body, secret) for secret in secrets)
    signed = " ".join(f"{_VERSION},{base64.b64encode(one).decode()}" for one in made)
    return {ID: message_id, TIMESTAMP: seconds, SIGNATURE: signed}


def verify(given: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> str:
    """The id of a message that somebody who knows one of the secrets made just now.

    `given` are the headers, whatever their case; `body` is as it came, before any parsing. That the
    id was not seen before is not checked: who processes a message twice must notice by the id.

    Raises:
        WebhookInvalid: a header is missing or malformed, the time is off, or no signature matches.
    """
    lower = {name.lower(): value for name, value in given.items()}
    message_id, seconds = lower.get(ID, ""), lower.get(TIMESTAMP, "")
    if not _ID.fullmatch(message_id) or not _SECONDS.fullmatch(seconds):
        raise WebhookInvalid(
            "the headers webhook-id and webhook-timestamp are missing or malformed"
        )
    at = datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(seconds))
    if abs(now - at) > TOLERANCE:
        raise WebhookInvalid("the message's time is more than five minutes from now")
    expected = [_signature(message_id, seconds, body, secret) for secret in secrets]
    for found in signatures(lower.get(SIGNATURE, "")):
        if any([hmac.compare_digest(found, one) for one in expected]):  # noqa: C419 - all, always
            return message_id
    raise WebhookInvalid("no signature of the message matches")


def signatures(header: str) -> Iterator[bytes]:
    """The values of scheme `v1` in a webhook-signature header; all else is passed over."""
    if len(header) > _MAX_HEADER:
        return
    for one in header.split(" ")[:_MAX_SIGNATURES]:
        version, _, value = one.partition(",")
        if version != _VERSION:
            continue
        try:
            octets = base64.b64decode(value, validate=True)
        except (ValueError, binascii.Error):
            continue
        if len(octets) == _DIGEST:
            yield octets


def _signature(message_id: str, seconds: str, body: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, f"{message_id}.{seconds}.".encode() + body, "sha256")
