"""When a delivery is attempted again, and when nobody is called any more; pure arithmetic.

Ten attempts in a little more than three days, as Standard Webhooks 1.0.0 suggests. An endpoint that
has answered none of them well, and nothing else meanwhile, is disabled; one that answers 410 is so
at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hashseal_server.events.model import Outcome, State, Verdict

DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""From one attempt to the next."""
JITTER = 0.1
"""What is added to a delay at most, so that not everything comes back at once."""
LONG = timedelta(days=3)
"""For so long an endpoint may fail before a delivery that is given up disables it."""
GONE, FAILING = "gone", "failing"
_OK = range(200, 300)
_GONE = 410
_BUSY = frozenset({429, 502, 503, 504})


def accepted(outcome: Outcome) -> bool:
    """The receiver has it (status 200 to 299)."""
    return outcome.status in _OK


def delay(tries: int, jitter: float, retry_after: int | None = None) -> timedelta | None:
    """How long after this many tries the next comes; None when there is none.

    `jitter` is from 0 to 1. What the receiver asked for is waited for, a day at most.
    """
    if tries > len(DELAYS):
        return None
    waited = DELAYS[tries - 1] * (1 + JITTER * jitter)
    asked = min(timedelta(seconds=retry_after or 0), DELAYS[-1])
    return max(waited, asked)


def judge(
    outcome: Outcome, *, tries: int, failing_since: datetime | None, at: datetime, jitter: float
) -> Verdict:
    """What becomes of a delivery after its attempt number `tries`.

    `failing_since` is the endpoint's, as it was before.
    """
    if accepted(outcome):
        return Verdict(State.DELIVERED)
    if outcome.status == _GONE:
        return Verdict(State.FAILED, disable=GONE)
    asked = outcome.retry_after if outcome.status in _BUSY else None
    waited = delay(tries, jitter, asked)
    if waited is not None:
        return Verdict(State.PENDING, due_at=at + waited)
    lasting = failing_since is not None and at - failing_since >= LONG
    return Verdict(State.FAILED, disable=FAILING if lasting else None)
