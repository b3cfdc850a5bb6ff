"""The state machine of the clock: every transition, and what no sequence of readings may bring about."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashseal_core.errors import TimestampUnavailable
from hashseal_server.infra.timekeeping import Leap, Reading
from hashseal_server.tsa.clock import (
    TRANSITIONS,
    Event,
    Evidence,
    Rules,
    State,
    TrustedClock,
    milliseconds,
    of_milliseconds,
)

START = datetime(2026, 6, 1, tzinfo=UTC)
GOOD = Evidence(0.01)
BAD = Evidence(problem="no daemon")
SILENT = Evidence(problem="no answer", silent=True)


@dataclass
class Machine:
    """Two clocks that a test moves."""

    wall: datetime = START
    seconds: float = 0.0

    def __call__(self) -> Reading:
        ago = self.wall - datetime(1970, 1, 1, tzinfo=UTC)
        return Reading(ago // timedelta(microseconds=1) * 1_000, int(self.seconds * 1e9))

    def go(self, seconds: float, step: float = 0.0) -> None:
        """Time goes by; the wall clock goes `step` further."""
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds + step)


def trusted(rules: Rules | None = None) -> tuple[Machine, TrustedClock]:
    machine = Machine()
    clock = TrustedClock(machine, rules or Rules())
    assert clock.observe(GOOD) is State.TRUSTED
    return machine, clock


def settle(machine: Machine, clock: TrustedClock) -> None:
    for _ in range(18):
        machine.go(1)
        clock.observe(GOOD)


def test_every_state_knows_every_event_that_can_come() -> None:
    assert set(TRANSITIONS) == {
        (state, event)
        for state in State
        for event in Event
        if event is not Event.SETTLED or state is State.SETTLING
    }


def test_silence_speaks_for_nobody() -> None:
    """A trusted clock lives on its last good evidence, until that is old; another gains nothing."""
    machine, clock = trusted()
    for _ in range(9):
        machine.go(1)
        assert clock.observe(SILENT) is State.TRUSTED
        assert clock.read() == machine.wall
    machine.go(2)
    assert clock.observe(SILENT) is State.UNKNOWN
    assert clock.observe(SILENT) is State.SUSPECT
    machine.go(1)
    assert clock.observe(GOOD) is State.SETTLING
    assert clock.observe(SILENT) is State.SUSPECT
    machine, clock = trusted()
    machine.go(1, step=0.3)
    assert clock.observe(SILENT) is State.SUSPECT  # the clocks have gone apart


def test_silence_forgets_no_leap_second() -> None:
    _, clock = trusted()
    clock.observe(Evidence(0.01, leap=Leap.NOW))
    clock.observe(SILENT)
    with pytest.raises(TimestampUnavailable):
        clock.read()


def test_without_rules_the_clock_is_taken_as_it_is() -> None:
    machine = Machine()
    clock = TrustedClock(machine)
    assert not clock.has_evidence
    assert clock.read() == START
    machine.go(0, step=86_400)
    assert clock.read() == START + timedelta(days=1)
    machine.go(0, step=-0.4)
    assert clock.read() == START + timedelta(days=1)  # a small step back: the last time again
    machine.go(0, step=-10)
    with pytest.raises(TimestampUnavailable, match="gone back"):
        clock.read()
    machine.go(11)
    assert clock.read() == machine.wall
    assert clock.observe(BAD) is State.TRUSTED
    assert clock.look() is State.TRUSTED
    assert clock.last == milliseconds(machine.wall)


def test_nothing_is_stated_before_there_is_evidence() -> None:
    machine = Machine()
    clock = TrustedClock(machine, Rules())
    assert (clock.state, clock.reason) == (State.UNKNOWN, "there is no evidence yet")
    with pytest.raises(TimestampUnavailable, match="no evidence"):
        clock.read()
    clock.observe(GOOD)
    assert clock.read() == START
    assert clock.reason is None


WRONGS: list[tuple[str, Callable[[Machine], None], str]] = [
    ("forward", lambda m: m.go(1, step=0.3), r"moved \+0.300 s too far"),
    ("far forward", lambda m: m.go(1, step=86_400), "too far"),
    ("back", lambda m: m.go(1, step=-0.3), r"moved -0.300 s"),
    ("frozen", lambda m: m.go(0.3, step=-0.3), r"moved -0.300 s"),
    ("drifting", lambda m: [m.go(1, step=0.05) for _ in range(6)] and None, "too far within 6.0"),
]


@pytest.mark.parametrize(("wrong", "reason"), [w[1:] for w in WRONGS], ids=[w[0] for w in WRONGS])
def test_what_goes_wrong_is_seen_at_once_and_must_settle(
    wrong: Callable[[Machine], None], reason: str
) -> None:
    machine, clock = trusted()
    wrong(machine)
    with pytest.raises(TimestampUnavailable, match=reason):
        clock.read()
    for _ in range(15):  # good again, but not for long enough
        machine.go(1)
        assert clock.observe(GOOD) is State.SETTLING
        with pytest.raises(TimestampUnavailable):
            clock.read()
    settle(machine, clock)
    assert clock.state is State.TRUSTED
    assert clock.read() == of_milliseconds(milliseconds(machine.wall))


def test_settling_begins_anew_when_something_is_wrong_again() -> None:
    machine, clock = trusted()
    clock.observe(BAD)
    assert clock.state is State.SUSPECT
    for bad in (lambda: clock.observe(BAD), lambda: machine.go(0, step=5) or clock.look()):
        for _ in range(10):
            machine.go(1)
            clock.observe(GOOD)
        assert clock.state is State.SETTLING
        bad()
        assert clock.state is State.SUSPECT
    settle(machine, clock)
    assert clock.state is State.TRUSTED


def test_evidence_that_is_too_weak_or_too_old() -> None:
    machine, clock = trusted()
    assert clock.observe(Evidence(0.6)) is State.SUSPECT
    assert clock.reason == "it may be 0.600 s off"
    machine, clock = trusted()
    machine.go(10.5)
    with pytest.raises(TimestampUnavailable, match="no evidence for 10 s"):
        clock.read()
    assert clock.state is State.UNKNOWN
    # Nothing was seen to be wrong: it goes on with the next evidence.
    assert clock.observe(GOOD) is State.TRUSTED
    assert clock.read() == of_milliseconds(milliseconds(machine.wall))
    # After a silence in which the clock was set it must settle.
    machine.go(11)
    clock.look()
    machine.go(0, step=1)
    assert clock.observe(GOOD) is State.SUSPECT
    machine.go(1)
    assert clock.observe(GOOD) is State.SETTLING
    machine.go(11)
    assert clock.look() is State.SUSPECT


def test_a_slow_drift_that_the_evidence_allows_is_followed() -> None:
    machine, clock = trusted()
    for _ in range(1_000):
        machine.go(1, step=0.001)  # a daemon slews
        clock.observe(GOOD)
        clock.read()
    assert clock.state is State.TRUSTED


@pytest.mark.parametrize(
    ("at", "leap", "issued"),
    [
        (datetime(2026, 6, 30, 23, 59, 57, tzinfo=UTC), Leap.INSERT, True),
        (datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC), Leap.INSERT, False),
        (datetime(2026, 6, 30, 23, 59, 59, 999_000, tzinfo=UTC), Leap.DELETE, False),
        (datetime(2026, 7, 1, 0, 0, 0, 500_000, tzinfo=UTC), Leap.INSERT, False),
        (datetime(2026, 7, 1, 0, 0, 2, tzinfo=UTC), Leap.INSERT, True),
        (datetime(2026, 6, 30, 12, tzinfo=UTC), Leap.NOW, False),
        (datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC), Leap.NONE, True),
        (datetime(2026, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), Leap.INSERT, False),
    ],
)
def test_around_a_leap_second(at: datetime, leap: Leap, issued: bool) -> None:
    machine = Machine(wall=at)
    clock = TrustedClock(machine, Rules())
    clock.observe(Evidence(0.01, leap=leap))
    if issued:
        assert clock.read() == at
        return
    with pytest.raises(TimestampUnavailable, match="leap second"):
        clock.read()


def test_a_second_that_comes_twice_is_stated_once() -> None:
    """The kernel inserts a leap second by setting the clock back one second at its end."""
    machine = Machine(wall=datetime(2026, 6, 30, 23, 59, 50, tzinfo=UTC))
    clock = TrustedClock(machine, Rules())
    stated = []
    for tenth in range(400):
        if tenth == 100:
            machine.go(0, step=-1)
        if tenth % 10 == 0:
            pending = machine.wall.month == 6
            clock.observe(Evidence(0.01, leap=Leap.INSERT if pending else Leap.NONE))
        with contextlib.suppress(TimestampUnavailable):
            stated.append(clock.read())
        machine.go(0.1)
    assert stated == sorted(stated)
    begin = datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)
    assert not [at for at in stated if begin <= at < begin + timedelta(seconds=2)]
    assert stated[-1] > datetime(2026, 7, 1, 0, 0, 20, tzinfo=UTC)  # and it has resumed


MOVES = st.one_of(
    st.tuples(st.just("go"), st.floats(0, 30)),
    st.tuples(st.just("step"), st.floats(-100_000, 100_000)),
    st.tuples(st.just("small"), st.floats(-0.4, 0.4)),
    st.tuples(st.just("observe"), st.sampled_from([0.0, 0.3, 0.49, 0.6, 9.0])),
    st.tuples(st.just("problem"), st.just(0.0)),
    st.tuples(st.just("silent"), st.just(0.0)),
    st.tuples(st.just("read"), st.just(0.0)),
)


@given(st.lists(MOVES, max_size=60), st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_sequence_of_readings_makes_it_go_back(
    moves: list[tuple[str, float]], vouched: bool
) -> None:
    machine = Machine()
    clock = TrustedClock(machine, Rules() if vouched else None)
    wrong = 0.0
    stated = [datetime(1970, 1, 1, tzinfo=UTC)]
    for what, size in moves:
        match what:
            case "go":
                machine.go(size)
            case "step" | "small":
                machine.go(0, step=size)
                wrong += size
            case "observe":
                clock.observe(Evidence(max(size, abs(wrong))))
            case "problem":
                clock.observe(BAD)
            case "silent":
                clock.observe(SILENT)
            case "read":
                try:
                    stated.append(clock.read())
                except TimestampUnavailable:
                    continue
                if vouched:
                    true = machine.wall - timedelta(seconds=wrong)
                    assert abs((stated[-1] - true).total_seconds()) <= 1
    assert stated == sorted(stated)
