"""Whether the clock may be trusted, and the time that tokens state. Pure: readings come in.

Invariants, of one `TrustedClock`:

- no answer is before an earlier one;
- under `Rules` there is no answer without evidence that is young, good and in line with the clock
  that nobody sets: a step, a clock that stands still, and one that drifts are refused from the
  first reading that shows them;
- after such a refusal the evidence must be good without a break for `Rules.settling` seconds;
- there is no answer around an announced leap second.

Without rules the system clock is taken as it is: that is the sandbox, whose certificates say TEST.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from hashseal_core.errors import TimestampUnavailable
from hashseal_server.infra.timekeeping import Leap, Reading

TOLERATED_STEP = 500
"""Milliseconds by which a clock without rules may go back; the last time is stated again."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000
_MILLISECOND = 1_000_000


class State(StrEnum):
    """What is thought of the clock."""

    UNKNOWN = "unknown"
    TRUSTED = "trusted"
    SUSPECT = "suspect"
    SETTLING = "settling"


class Event(StrEnum):
    """What can be learnt of it."""

    GOOD = "good"
    BAD = "bad"
    SILENT = "silent"
    SETTLED = "settled"


TRANSITIONS = {
    (State.UNKNOWN, Event.GOOD): State.TRUSTED,
    (State.UNKNOWN, Event.BAD): State.SUSPECT,
    (State.UNKNOWN, Event.SILENT): State.UNKNOWN,
    (State.TRUSTED, Event.GOOD): State.TRUSTED,
    (State.TRUSTED, Event.BAD): State.SUSPECT,
    (State.TRUSTED, Event.SILENT): State.UNKNOWN,
    (State.SUSPECT, Event.GOOD): State.SETTLING,
    (State.SUSPECT, Event.BAD): State.SUSPECT,
    (State.SUSPECT, Event.SILENT): State.SUSPECT,
    (State.SETTLING, Event.GOOD): State.SETTLING,
    (State.SETTLING, Event.BAD): State.SUSPECT,
    (State.SETTLING, Event.SILENT): State.SUSPECT,
    (State.SETTLING, Event.SETTLED): State.TRUSTED,
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far the clock may be off, seconds, or why nobody knows (`problem`).

    `silent`: it speaks neither for the clock nor against it. A clock that is trusted is trusted
    until its last good evidence is too old; for another it is as good as a problem.
    """

    bound: float = 0.0
    problem: str | None = None
    leap: Leap = Leap.NONE
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """When a clock may be trusted; seconds.

    `bound` and `tolerance` together stay below the accuracy that tokens state, 1 s (EN 319 421,
    7.7.2). `tolerance`: how far the wall clock may part from the one that nobody sets, within
    `window`. `age`: how old evidence may be.
    """

    bound: float = 0.5
    tolerance: float = 0.25
    window: float = 64.0
    settling: float = 16.0
    age: float = 10.0


class TrustedClock:
    """The time of one process; see the invariants above. `rules` None takes the clock as it is."""

    def __init__(
        self,
        readings: Callable[[], Reading],
        rules: Rules | None = None,
        *,
        elapsed: Callable[[], int] | None = None,
    ) -> None:
        self._readings = readings
        self.elapsed = elapsed or (lambda: readings().elapsed)
        """Nanoseconds on the clock that nobody sets."""
        self._rules = rules
        self._turn = threading.Lock()
        self._last = 0
        self._state = State.UNKNOWN if rules else State.TRUSTED
        self._reason: str | None = "there is no evidence yet" if rules else None
        self._anchor = readings()
        self._heard = self._anchor.elapsed
        self._good_since = 0
        self._leap = Leap.NONE

    @property
    def has_evidence(self) -> bool:
        """Whether it asks for evidence at all."""
        return self._rules is not None

    @property
    def state(self) -> State:
        """What is thought of it since the last look."""
        return self._state

    @property
    def reason(self) -> str | None:
        """Why it was refused at the last look."""
        return self._reason

    @property
    def last(self) -> int:
        """The last time that was stated, Unix milliseconds; 0 when none was."""
        return self._last

    def read(self) -> datetime:
        """UTC with whole milliseconds, never before an earlier answer.

        Raises:
            TimestampUnavailable: the clock cannot be trusted now; it passes by itself.
        """
        with self._turn:
            now = self._readings()
            if self._rules is not None:
                self._look(now, self._rules)
                if self._state is not State.TRUSTED:
                    raise TimestampUnavailable(f"the clock is not trusted: {self._reason}")
            moment = now.wall // _MILLISECOND
            if moment < self._last:
                if self._rules is None and self._last - moment > TOLERATED_STEP:
                    raise TimestampUnavailable("the clock has gone back")
                moment = self._last
            stated = of_milliseconds(moment)
            if self._leap is not Leap.NONE and _near_leap(stated, self._leap):
                raise TimestampUnavailable("a leap second is near")
            self._last = moment
            return stated

    def observe(self, evidence: Evidence) -> State:
        """Take in fresh evidence; what is thought of the clock from now on."""
        with self._turn:
            rules = self._rules
            if rules is None:
                return self._state
            now = self._readings()
            if evidence.silent and self._state is State.TRUSTED:
                if evidence.leap is not Leap.NONE:
                    self._leap = evidence.leap
                self._look(now, rules)
                return self._state
            self._leap = evidence.leap
            problem = evidence.problem
            if problem is None and evidence.bound > rules.bound:
                problem = f"it may be {evidence.bound:.3f} s off"
            if problem is not None:
                self._doubt(now, problem)
            elif not self._parted(now, rules):
                self._heard = now.elapsed
                self._confirm(now, rules)
            return self._state

    def look(self) -> State:
        """Compare the clocks without stating a time."""
        with self._turn:
            if self._rules is not None:
                self._look(self._readings(), self._rules)
            return self._state

    def _look(self, now: Reading, rules: Rules) -> None:
        if self._state is State.UNKNOWN or self._parted(now, rules):
            return
        if now.elapsed - self._heard > rules.age * _SECOND:
            self._state = TRANSITIONS[self._state, Event.SILENT]
            self._reason = f"there has been no evidence for {rules.age:.0f} s"

    def _parted(self, now: Reading, rules: Rules) -> bool:
        """Whether the clocks have gone apart since the anchor; then the clock is in doubt."""
        apart = (now.wall - self._anchor.wall) - (now.elapsed - self._anchor.elapsed)
        if abs(apart) <= rules.tolerance * _SECOND:
            return False
        seconds = (now.elapsed - self._anchor.elapsed) / _SECOND
        self._doubt(now, f"it has moved {apart / _SECOND:+.3f} s too far within {seconds:.3f} s")
        return True

    def _doubt(self, now: Reading, reason: str) -> None:
        self._state = TRANSITIONS[self._state, Event.BAD]
        self._reason = reason
        self._anchor = now

    def _confirm(self, now: Reading, rules: Rules) -> None:
        before = self._state
        self._state = TRANSITIONS[before, Event.GOOD]
        if self._state is State.SETTLING:
            if before is State.SUSPECT:
                self._good_since = now.elapsed
            if now.elapsed - self._good_since < rules.settling * _SECOND:
                return
            self._state = TRANSITIONS[self._state, Event.SETTLED]
        self._reason = None
        if before is not State.TRUSTED or now.elapsed - self._anchor.elapsed > (
            rules.window * _SECOND
        ):
            self._anchor = now


def of_milliseconds(moment: int) -> datetime:
    """Unix time in milliseconds as UTC."""
    return _EPOCH + timedelta(milliseconds=moment)


def milliseconds(moment: datetime) -> int:
    """UTC as Unix time in whole milliseconds."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _near_leap(moment: datetime, leap: Leap) -> bool:
    """Within a second of an announced leap second, at the end of a month (ITU-R TF.460).

    The kernel shows an inserted second by giving the one before it twice.
    """
    if leap is Leap.NOW:
        return True
    before, after = moment - timedelta(seconds=1), moment + timedelta(seconds=1)
    return (before.month, before.year) != (after.month, after.year)
