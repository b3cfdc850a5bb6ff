"""What one process may do in a second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashseal_core.errors import Overloaded
from hashseal_server.infra.allowance import Allowance


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def granted(allowance: Allowance, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            allowance.spend()
        except Overloaded:
            continue
        count += 1
    return count


def test_two_seconds_at_once_and_no_more() -> None:
    clock = Clock()
    allowance = Allowance(5, clock)
    assert granted(allowance, 100) == 10
    with pytest.raises(Overloaded):
        allowance.spend()
    clock.at = 1.0
    assert granted(allowance, 100) == 5
    clock.at = 3600.0
    assert granted(allowance, 100) == 10


@given(
    rate=st.integers(1, 50),
    waits=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 80)), max_size=30),
)
def test_never_more_than_the_rate_over_any_time(rate: int, waits: list[tuple[float, int]]) -> None:
    clock = Clock()
    allowance = Allowance(rate, clock)
    total = 0
    for wait, tries in waits:
        clock.at += wait
        total += granted(allowance, tries)
        assert total <= 2 * rate + clock.at * rate + 1e-6
