"""When a webhook is tried again, when it is disabled, and what counts as low or ending soon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashseal_core.errors import ConfigurationInvalid
from hashseal_server.accounts.quota import low_at
from hashseal_server.events.model import Outcome, State
from hashseal_server.events.schedule import DELAYS, LONG, delay, judge
from hashseal_server.infra.encryption import Encryption
from hashseal_server.seals.telling import days_ahead

NOW = datetime(2026, 11, 25, 12, 0, 0, 0, UTC)
FAILED = Outcome(3, 500, "status")


def after(outcome: Outcome, tries: int = 1, since: datetime | None = None, jitter: float = 0.0):
    return judge(outcome, tries=tries, failing_since=since, at=NOW, jitter=jitter)


def test_the_table_of_standard_webhooks() -> None:
    """Time since the start of the attempts in the specification's example."""
    elapsed, at = [], timedelta(0)
    for tries in range(1, 10):
        waited = delay(tries, 0.0)
        assert waited is not None
        at += waited
        elapsed.append(str(at))
    assert elapsed == [
        "0:00:05", "0:05:05", "0:35:05", "2:35:05", "7:35:05",
        "17:35:05", "1 day, 7:35:05", "2 days, 3:35:05", "3 days, 3:35:05",
    ]  # fmt: skip
    assert delay(10, 0.0) is None
    assert sum(DELAYS, timedelta(0)) > LONG  # who fails all of it has failed for long


@given(st.integers(1, 9), st.floats(0, 1), st.none() | st.integers(0, 10**6))
def test_jitter_and_what_was_asked_for_only_lengthen(tries: int, jitter: float, asked) -> None:
    waited = delay(tries, jitter, asked)
    assert waited is not None
    assert DELAYS[tries - 1] <= waited
    assert waited <= max(DELAYS[tries - 1] * 1.1, min(timedelta(seconds=asked or 0), DELAYS[-1]))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status: int) -> None:
    verdict = after(Outcome(1, status))
    assert (verdict.state, verdict.due_at, verdict.disable) == (State.DELIVERED, None, None)


@pytest.mark.parametrize("status", [100, 199, 300, 301, 302, 307, 308, 400, 401, 404, 500, 503])
def test_everything_else_is_tried_again(status: int) -> None:
    verdict = after(Outcome(1, status, "status"))
    assert (verdict.state, verdict.due_at) == (State.PENDING, NOW + timedelta(seconds=5))


@pytest.mark.parametrize("error", ["timeout", "unreachable", "tls", "protocol", "address-refused"])
def test_no_answer_is_tried_again(error: str) -> None:
    assert after(Outcome(1, None, error), 2).due_at == NOW + timedelta(minutes=5)


def test_gone_disables_at_once() -> None:
    verdict = after(Outcome(1, 410, "status"))
    assert (verdict.state, verdict.due_at, verdict.disable) == (State.FAILED, None, "gone")


def test_retry_after_counts_where_it_is_meant() -> None:
    def due(status: int, seconds: int) -> timedelta:
        verdict = after(Outcome(1, status, "status", seconds))
        assert verdict.due_at is not None
        return verdict.due_at - NOW

    for status in (429, 502, 503, 504):
        assert due(status, 60) == timedelta(seconds=60)
        assert due(status, 1) == timedelta(seconds=5)
        assert due(status, 10**6) == timedelta(days=1)
    assert due(500, 60) == timedelta(seconds=5)


def test_the_last_attempt_ends_it_and_disables_who_failed_for_long() -> None:
    for since, disable in (
        (None, None),
        (NOW - LONG + timedelta(seconds=1), None),
        (NOW - LONG, "failing"),
    ):
        verdict = after(FAILED, 10, since)
        assert (verdict.state, verdict.due_at, verdict.disable) == (State.FAILED, None, disable)
    assert after(FAILED, 9, NOW - 9 * LONG).state is State.PENDING


@pytest.mark.parametrize(
    ("had", "percent", "calls", "low"),
    [
        (100, 10, 10, 10),
        (1000, 10, 10, 100),
        (1001, 10, 10, 101),
        (5, 10, 10, 10),
        (7, 50, 0, 4),
        (0, 0, 0, 0),
    ],
)
def test_what_is_low(had: int, percent: int, calls: int, low: int) -> None:
    assert low_at(had, percent, calls) == low


@given(st.integers(0, 10**9), st.integers(0, 100), st.integers(0, 10**6))
def test_low_is_neither_above_everything_nor_below_the_rule(had: int, percent: int, calls: int):
    low = low_at(had, percent, calls)
    assert low >= calls
    assert 100 * low >= had * percent
    assert low <= max(calls, had)


@pytest.mark.parametrize(
    ("left", "days"),
    [
        (timedelta(days=31), None), (timedelta(days=30, seconds=1), None), (timedelta(days=30), 30),
        (timedelta(days=8), 30), (timedelta(days=7), 7), (timedelta(days=1, seconds=1), 7),
        (timedelta(days=1), 1), (timedelta(seconds=1), 1), (timedelta(0), None), (timedelta(-1), None),
    ],
)  # fmt: skip
def test_which_notice_is_due(left: timedelta, days: int | None) -> None:
    assert days_ahead(left) == days


def test_a_secret_is_read_under_its_own_name_and_the_same_key_alone() -> None:
    box = Encryption(b"service secret", "webhook secrets")
    kept = box.encrypt(b"plain", "whk_1")
    assert box.decrypt(kept, "whk_1") == b"plain"
    assert b"plain" not in kept
    assert kept != box.encrypt(b"plain", "whk_1")
    flipped = kept[:-1] + bytes([kept[-1] ^ 1])
    for other, octets, owner in (
        (box, kept, "whk_2"),
        (Encryption(b"service secret", "else"), kept, "whk_1"),
        (Encryption(b"other secret", "webhook secrets"), kept, "whk_1"),
        (box, flipped, "whk_1"),
        (box, b"short", "whk_1"),
        (box, b"", "whk_1"),
    ):
        with pytest.raises(ConfigurationInvalid):
            other.decrypt(octets, owner)
