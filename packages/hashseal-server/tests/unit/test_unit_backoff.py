"""A unit that cannot be made is tried again ever more seldom, and soon after it can be made."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from units import MemoryCopies, MemoryLeases, Unit, unit

from hashseal_core.errors import KeystoreUnavailable
from hashseal_server.infra.timekeeping import Reading
from hashseal_server.tsa import custody as custody_module
from hashseal_server.tsa.backoff import Backoff
from hashseal_server.tsa.clock import TrustedClock, milliseconds
from hashseal_server.tsa.custody import Custody
from hashseal_server.tsa.store import Marks
from hashseal_server.web.observing import logger

BEGIN = milliseconds(datetime(2026, 6, 1, tzinfo=UTC))


class Place:
    """A process that may make units, on a clock that the test moves; `broken` says why it cannot."""

    def __init__(self, made: int = 0) -> None:
        self.now = 0.0
        self.made = made
        self.broken: Exception | None = None
        self.going_on: asyncio.Event | None = None
        self.attempts: list[float] = []
        self.leases = MemoryLeases(lambda: BEGIN + int(1000 * self.now))
        self.log = io.StringIO()
        self.custody = Custody(
            leases=self.leases,
            copies=MemoryCopies(),
            clock=TrustedClock(self.reading, None),
            units=self.units,
            issue=self.issue,
            owner="one",
            limit=8,
        )
        self.custody._log = logger("json", "info", self.log)

    def reading(self) -> Reading:
        return Reading(BEGIN * 1_000_000 + int(self.now * 1e9), int(self.now * 1e9))

    async def units(self) -> Sequence[Unit]:
        return [unit(number) for number in reversed(range(self.made))]

    async def issue(self) -> None:
        self.attempts.append(self.now)
        if self.going_on is not None:
            await self.going_on.wait()
        if self.broken is not None:
            raise self.broken
        self.made += 1

    async def until(self, done: Callable[[], Any], seconds: float, every: float = 0.25) -> None:
        """Rounds, as in the background, until something has come about."""
        end = self.now + seconds
        while not done():
            assert self.now <= end
            self.now += every
            await self.custody.look_after()

    def told(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize("error", [KeystoreUnavailable("no token in slot 3"), ValueError("odd")])
def test_attempts_get_seldom_and_it_recovers_by_itself(error: Exception) -> None:
    async def scenario() -> None:
        place = Place()
        place.broken = error
        await place.until(lambda: place.now >= 120, 121)
        assert 5 <= len(place.attempts) <= 12  # with each round it would be 480
        gaps = [round(b - a, 2) for a, b in zip(place.attempts, place.attempts[1:], strict=False)]
        assert gaps == sorted(gaps)
        assert (gaps[0], gaps[-1]) == (1.0, 15.0)
        standing = place.custody.standing()
        assert standing.serial is None
        assert standing.failures == len(place.attempts)
        code = getattr(error, "code", "ValueError")
        assert standing.reason == f"no timestamping unit can be made ({code})"
        lines = place.told("timestamping-unit-not-made")
        assert [line["failures"] for line in lines] == [*range(1, len(place.attempts) + 1)]
        assert {(line["code"], line["why"]) for line in lines} == {(code, str(error))}
        assert [line["again_in_seconds"] for line in lines[:5]] == [1, 2, 4, 8, 15]

        place.broken = None
        await place.until(lambda: place.custody.standing().serial, 15.25)
        assert place.custody.standing().failures == 0

    asyncio.run(scenario())


def test_a_unit_that_gets_free_is_taken_though_none_can_be_made() -> None:
    async def scenario() -> None:
        place = Place(made=1)
        other = await place.leases.take(
            unit(0).serial, "two", now=BEGIN, mark=BEGIN, lasting=60_000
        )
        assert other is not None
        place.broken = KeystoreUnavailable("away")
        await place.until(lambda: len(place.attempts) == 4, 20)
        await place.leases.give_back(other, mark=BEGIN)
        await place.until(lambda: place.custody.standing().serial, 0.25)
        assert place.custody.standing().failures == 0

    asyncio.run(scenario())


def test_the_lease_is_kept_while_a_successor_takes_long(monkeypatch) -> None:
    """A unit that shall be left is used until there is another, however slow the key store is."""
    monkeypatch.setattr(custody_module, "_PATIENCE", 0.01)

    async def scenario() -> None:
        place = Place(made=1)
        await place.until(lambda: place.custody.standing().serial, 1)
        first = place.custody.standing().serial
        place.leases.leave(unit(0).serial)
        place.going_on = asyncio.Event()
        for _ in range(20):
            place.now += 1.5
            await asyncio.wait_for(place.custody.look_after(), 5)
            assert place.custody.current().claim.serial == first
        assert len(place.attempts) == 1
        place.going_on.set()
        await place.until(lambda: place.custody.standing().serial != first, 5, every=1.5)
        await place.custody.end()

    asyncio.run(scenario())


def test_a_unit_that_gets_free_is_taken_while_none_comes_to_be_made(monkeypatch) -> None:
    """The key store does not answer at all: neither the start nor the next unit waits for it."""
    monkeypatch.setattr(custody_module, "_PATIENCE", 0.01)

    async def scenario() -> None:
        place = Place(made=1)
        other = await place.leases.take(
            unit(0).serial, "two", now=BEGIN, mark=BEGIN, lasting=60_000
        )
        assert other is not None
        place.going_on = asyncio.Event()
        for _ in range(4):
            place.now += 0.25
            await asyncio.wait_for(place.custody.look_after(), 5)
        assert place.custody.standing().reason == "a timestamping unit is being made"
        await place.leases.give_back(other, mark=BEGIN)
        place.now += 0.25
        await asyncio.wait_for(place.custody.look_after(), 5)
        assert place.custody.current().claim.serial == unit(0).serial
        assert len(place.attempts) == 1
        await place.custody.end()

    asyncio.run(scenario())


def test_the_copy_of_a_mark_is_of_whoever_took_the_unit_last(monkeypatch) -> None:
    async def scenario() -> None:
        place = Place(made=1)
        await place.until(lambda: place.custody.standing().serial, 1)
        serial, copies = unit(0).serial, place.custody._copies
        real, later = place.leases.give_back, BEGIN + 60_000

        async def taken_at_once(claim: Any, *, mark: int) -> None:
            assert copies.of(serial) == mark
            await real(claim, mark=mark)
            copies.keep(serial, later)  # another process

        monkeypatch.setattr(place.leases, "give_back", taken_at_once)
        await place.custody.end()
        assert copies.of(serial) == later

    asyncio.run(scenario())


def test_a_copy_never_goes_back_but_at_the_end(tmp_path: Path) -> None:
    copies = Marks(tmp_path / "marks")
    for mark, kept in ((5, 5), (9, 9), (7, 9)):
        copies.keep(1, mark)
        assert copies.of(1) == kept
    copies.end(1, 6)
    assert copies.of(1) == 6


def test_waits_double_up_to_a_limit_and_end_with_a_success() -> None:
    waits = Backoff(0.5, 3)
    assert [waits.failed(0) for _ in range(5)] == [0.5, 1, 2, 3, 3]
    assert waits.waits(2_999_999_999)
    assert not waits.waits(3_000_000_000)
    for _ in range(10_000):
        waits.failed(0)
    waits.succeeded()
    assert not waits.waits(0)
    assert waits.failed(0) == 0.5
