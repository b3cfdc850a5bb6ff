"""Standard Webhooks: what we sign others accept, and what they sign we do; nothing else passes."""

from __future__ import annotations

import base64
import hmac
import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from hashseal_core import webhooks
from hashseal_core.errors import InvalidValue, WebhookInvalid

SECRET, OTHER = bytes(range(32)), bytes(range(1, 33))
BODY = '{"type":"quota.low","data":{"näme":"ä"}}'.encode()
NOW = datetime(2026, 11, 25, 12, 0, 0, 700_000, UTC)
ID = "evt_1"


def made(at: datetime = NOW, *secrets: bytes) -> dict[str, str]:
    return webhooks.headers(ID, at, BODY, secrets or (SECRET,))


def test_the_library_of_standard_webhooks_accepts_ours_and_we_accept_its() -> None:
    now = datetime.now(UTC)
    judge = Webhook(webhooks.encode_secret(SECRET))
    assert judge.verify(BODY, made(now)) == json.loads(BODY)
    assert judge.verify(BODY, made(now, OTHER, SECRET)) == json.loads(BODY)  # while they overlap
    for wrong in (made(now, OTHER), made(now - timedelta(minutes=6))):
        with pytest.raises(WebhookVerificationError):
            judge.verify(BODY, wrong)
    theirs = {
        "Webhook-Id": ID,
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": judge.sign(ID, now, BODY.decode()),
    }
    assert webhooks.verify(theirs, BODY, [OTHER, SECRET], now) == ID


def test_openssl_makes_the_same_signature() -> None:
    headers = made()
    signed = f"{ID}.{headers['webhook-timestamp']}.".encode() + BODY
    done = subprocess.run(
        [
            "openssl",
            "dgst",
            "-sha256",
            "-mac",
            "HMAC",
            "-macopt",
            f"hexkey:{SECRET.hex()}",
            "-binary",
        ],
        input=signed,
        capture_output=True,
        check=True,
    )
    assert headers["webhook-signature"] == "v1," + base64.b64encode(done.stdout).decode()
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))


def test_two_secrets_make_two_signatures_the_present_one_first() -> None:
    first, second = made(NOW, SECRET, OTHER)["webhook-signature"].split(" ")
    assert [first] == [made(NOW, SECRET)["webhook-signature"]]
    assert [second] == [made(NOW, OTHER)["webhook-signature"]]


@pytest.mark.parametrize("seconds", [-301, -300, 0, 300, 301])
def test_the_time_counts_to_both_sides(seconds: int) -> None:
    headers, whole = made(), NOW.replace(microsecond=0)
    if abs(seconds) > 300:
        with pytest.raises(WebhookInvalid, match="five minutes"):
            webhooks.verify(headers, BODY, [SECRET], whole + timedelta(seconds=seconds))
    else:
        webhooks.verify(headers, BODY, [SECRET], whole + timedelta(seconds=seconds))


CHANGES = (
    {"webhook-id": "evt_2"},
    {"webhook-id": ""},
    {"webhook-id": "evt_1.1"},
    {"webhook-timestamp": str(int(NOW.timestamp()) + 1)},
    {"webhook-timestamp": "soon"},
    {"webhook-timestamp": "-1"},
    {"webhook-timestamp": "1" * 12},
    {"webhook-timestamp": "\u0661" * 10},
    {"webhook-signature": ""},
    {"webhook-signature": "v1,"},
    {"webhook-signature": made()["webhook-signature"].replace("v1,", "v1a,")},
    {"webhook-signature": made()["webhook-signature"].rstrip("=")},
    {"webhook-signature": made()["webhook-signature"].swapcase()},
    {"webhook-signature": " ".join(["v1,AAAA"] * 16 + [made()["webhook-signature"]])},
    {"webhook-signature": "v9," + "A" * 5000 + " " + made()["webhook-signature"]},
)


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(WebhookInvalid):
        webhooks.verify(made() | change, BODY, [SECRET], NOW)


def test_another_body_or_secret_is_refused_and_so_is_a_missing_header() -> None:
    for body, secrets in ((BODY + b" ", [SECRET]), (BODY, [OTHER]), (BODY, [])):
        with pytest.raises(WebhookInvalid):
            webhooks.verify(made(), body, secrets, NOW)
    for name in made():
        with pytest.raises(WebhookInvalid):
            webhooks.verify({k: v for k, v in made().items() if k != name}, BODY, [SECRET], NOW)


def test_an_id_with_a_full_stop_is_never_signed() -> None:
    for message_id in ("", "a.b", "ä", "x" * 65):
        with pytest.raises(InvalidValue):
            webhooks.headers(message_id, NOW, BODY, [SECRET])


def test_unknown_versions_beside_ours_do_not_matter() -> None:
    header = f"v1a,AAAA v2,BBBB v1,not-base64 {made()['webhook-signature']} x"
    webhooks.verify(made() | {"webhook-signature": header}, BODY, [SECRET], NOW)


@given(st.text(max_size=300) | st.text("v1, =AB+/", max_size=300))
def test_any_header_is_read_without_an_accident(header: str) -> None:
    for one in webhooks.signatures(header):
        assert len(one) == 32
        assert f"v1,{base64.b64encode(one).decode()}"[:8] in header
    if hmac.digest(SECRET, f"{ID}.{int(NOW.timestamp())}.".encode() + BODY, "sha256") not in list(
        webhooks.signatures(header)
    ):
        with pytest.raises(WebhookInvalid):
            webhooks.verify(made() | {"webhook-signature": header}, BODY, [SECRET], NOW)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=16))
def test_signatures_are_read_as_they_were_written(values: list[bytes]) -> None:
    header = " ".join(f"v1,{base64.b64encode(one).decode()}" for one in values)
    assert list(webhooks.signatures(header)) == values


@given(st.binary(min_size=24, max_size=64))
def test_secrets_are_read_as_they_are_shown(secret: bytes) -> None:
    assert webhooks.decode_secret(webhooks.encode_secret(secret)) == secret


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_AAAA",
        "whsec_" + "A" * 100,
        base64.b64encode(SECRET).decode(),
        "whsec_*",
    ],
)
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        webhooks.decode_secret(text)
