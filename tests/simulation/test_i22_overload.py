"""I22: overload is refused at once, and who is accepted waits for a bounded time only.

The admission of the service itself, on an event loop whose clock is the program's: calls arrive at
three times the rate that the process can serve, from one account or many, and a second of load
takes as long as its events.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import Counter
from dataclasses import dataclass, field

import pytest

from hashseal_core.errors import Overloaded
from hashseal_server.infra.admission import Admission

PER_SECOND = 500.0
"""Calls that the simulated process can serve; it shares itself among all that are under way."""
SECONDS = 10.0
PLACES, WAITING = 64, 96


class _Skipping(selectors.SelectSelector):
    """Does not wait: the time that a wait would have taken has passed at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.skipping = _Skipping()
        super().__init__(self.skipping)

    def time(self) -> float:
        return self.skipping.now


@dataclass
class Seen:
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    by_owner: Counter[str] = field(default_factory=Counter)
    most_waiting: int = 0


async def load(rate: float, owners: list[str], choose: random.Random) -> Seen:
    admission, seen = Admission(running=PLACES, waiting=WAITING), Seen()
    clock = asyncio.get_running_loop().time

    async def call(owner: str) -> None:
        began = clock()
        try:
            async with admission.admitted(owner):
                # Processor sharing: the more are under way, the longer each takes.
                for _ in range(4):
                    await asyncio.sleep(admission.running / PER_SECOND / 4)
        except Overloaded:
            seen.refusals.append(clock() - began)
        else:
            seen.latencies.append(clock() - began)
            seen.by_owner[owner] += 1

    tasks = set()
    while clock() < SECONDS:
        task = asyncio.create_task(call(choose.choice(owners)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(choose.expovariate(rate))
        seen.most_waiting = max(seen.most_waiting, admission.waiting)
    await asyncio.gather(*tasks)
    return seen


def run(rate: float, owners: list[str], seed: int) -> Seen:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(load(rate, owners, random.Random(seed)))


@pytest.mark.parametrize("owners", [1, 20])
@pytest.mark.parametrize("seed", range(5))
def test_three_times_the_load(owners: int, seed: int) -> None:
    names = [f"account-{n}" for n in range(owners)]
    seen = run(3 * PER_SECOND, names, seed)
    good = len(seen.latencies) / SECONDS
    assert good >= 0.8 * PER_SECOND, "goodput"
    assert seen.most_waiting <= WAITING, "the queue is bounded"
    # All that can be before a call are the places and the queue.
    bound = 1.3 * (PLACES + WAITING) / PER_SECOND
    assert max(seen.latencies) <= bound, "nobody who is accepted waits for long"
    assert len(seen.refusals) > SECONDS * PER_SECOND, "what does not fit is refused"
    assert max(seen.refusals) == 0.0, "refused at once, not after a wait"


def test_a_flood_leaves_the_others_their_latency() -> None:
    """One account sends as much as ten processes could serve; the quiet one keeps being served."""
    flooding = ["flood"] * 99 + ["quiet"]
    seen = run(10 * PER_SECOND, flooding, 1)
    offered = 10 * PER_SECOND / 100 * SECONDS
    assert seen.by_owner["quiet"] > 0.9 * offered


def test_without_overload_nobody_is_refused() -> None:
    seen = run(0.5 * PER_SECOND, ["one", "two"], 1)
    assert not seen.refusals
    assert sorted(seen.latencies)[len(seen.latencies) // 2] < 0.02


def test_an_unbounded_queue_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: without the bound the same load breaks it."""
    monkeypatch.setattr(f"{__name__}.WAITING", 10**9)
    monkeypatch.setattr(
        Admission, "_fits", lambda self, _owner: self.running < self._places, raising=True
    )
    original = Admission.__init__

    def unbounded(self: Admission, **given: int) -> None:
        original(self, **{**given, "waiting_each": 10**9})

    monkeypatch.setattr(Admission, "__init__", unbounded)
    seen = run(3 * PER_SECOND, ["one"], 1)
    assert max(seen.latencies) > 5.0
