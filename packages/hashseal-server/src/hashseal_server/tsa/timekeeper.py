"""Evidence for the clock, gathered in the background; what becomes of the clock is told."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from hashseal_server.infra import ntp
from hashseal_server.infra.timekeeping import Discipline
from hashseal_server.tsa.clock import Evidence, Rules, State, TrustedClock

_TICK = 1.0


class Source(Protocol):
    """Where evidence comes from; it is asked every `rest` seconds, or `hurry` while in doubt."""

    @property
    def rules(self) -> Rules: ...
    @property
    def rest(self) -> float: ...
    @property
    def hurry(self) -> float: ...
    async def ask(self) -> Evidence: ...


class Kernel:
    """The kernel's account of its own clock, as an NTP daemon of this machine leaves it there."""

    rules = Rules()
    rest = hurry = _TICK

    def __init__(self, discipline: Callable[[], Discipline | None]) -> None:
        self._discipline = discipline

    async def ask(self) -> Evidence:
        """What it says now."""
        told = self._discipline()
        if told is None:
            return Evidence(problem="the kernel says nothing of its clock")
        if not told.synchronised:
            return Evidence(problem="no NTP daemon keeps the kernel's clock", leap=told.leap)
        return Evidence(abs(told.offset) + told.error_bound, leap=told.leap)


class Servers:
    """NTP servers that the operator named; more than half must agree."""

    rules = Rules(age=300.0)
    rest, hurry = 64.0, 8.0

    def __init__(self, servers: Sequence[str]) -> None:
        self._servers = tuple(servers)

    async def ask(self) -> Evidence:
        """What they say now.

        Packets get lost and roads are busy: few answers, or late ones that fit a right clock as
        well as a wrong one, say nothing.
        """
        asked, bound = len(self._servers), self.rules.bound
        answers, agreed = await ntp.ask(self._servers)
        if 2 * len(answers) <= asked:
            fit = all(abs(one.offset) - one.distance <= bound for one in answers)
            return Evidence(problem=f"most of {asked} NTP servers do not answer", silent=fit)
        if agreed is None:
            return Evidence(problem=f"most of {asked} NTP servers do not agree")
        unclear = agreed.bound > bound and agreed.low <= bound and agreed.high >= -bound
        return Evidence(agreed.bound, leap=agreed.leap, silent=unclear)


class Timekeeper:
    """Asks one source for one clock."""

    def __init__(self, clock: TrustedClock, source: Source) -> None:
        self._clock = clock
        self._source = source
        self._told = State.UNKNOWN
        self._asked = -math.inf
        self._silent = False
        self._keeping: asyncio.Task[None] | None = None

    async def begin(self, log: FilteringBoundLogger) -> None:
        """Ask once, and keep on from now, in this event loop; once."""
        await self._round(log)
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep_on(log))

    async def end(self) -> None:
        """Ask no more."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping

    async def _keep_on(self, log: FilteringBoundLogger) -> None:
        while True:
            await asyncio.sleep(_TICK)
            await self._round(log)

    async def _round(self, log: FilteringBoundLogger) -> None:
        """Look at the clocks; ask if it is time to."""
        now = asyncio.get_running_loop().time()
        trusted = self._clock.look() is State.TRUSTED
        source = self._source
        pause = source.rest if trusted and not self._silent else source.hurry
        if now - self._asked >= pause:
            try:
                evidence = await source.ask()
            except Exception as error:  # noqa: BLE001 - no evidence is evidence too
                evidence = Evidence(problem=f"the source of time fails: {error!r}")
            self._clock.observe(evidence)
            self._asked, self._silent = now, evidence.silent
        state = self._clock.state
        if state is self._told:
            return
        self._told = state
        if state is State.TRUSTED:
            log.info("clock", state=state.value)
        else:
            log.error("clock", state=state.value, reason=self._clock.reason)
