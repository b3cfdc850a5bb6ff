"""One process owns a unit at a time, and states times that were reserved for it alone (I8).

Invariants:

- a unit's times are reserved in blocks, in the database, before any of them is stated; blocks of
  two owners do not overlap, and a later owner's are later;
- an owner states times until `Term.ends` on the clock that nobody sets, which is before its lease
  ends by the database's clock; it looks before it signs and again before the token leaves;
- nothing of this is asked of the database for a token: the lease is kept in the background.

A process that finds no unit free has one made, up to a limit. A unit that shall be left, or whose
key comes to its end, is used until another is held. When making one fails, key store or authority
are left alone for a while, longer with each failure; a unit that gets free meanwhile is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from hashseal_core.errors import HashsealError, TimestampUnavailable
from hashseal_server.tsa.backoff import Backoff
from hashseal_server.tsa.clock import TrustedClock, milliseconds, of_milliseconds
from hashseal_server.tsa.store import Claim, Lease
from hashseal_server.tsa.token import IssuedUnit, TimestampingUnit, unit_of

LASTING = 5_000
"""Milliseconds that a lease lasts."""
RESERVED = LASTING + 1_000
"""Milliseconds ahead for which times are reserved: whoever waits for them by another clock that is
trusted begins behind the end of the one before, even if the database's clock was set meanwhile."""
_EVERY, _AGAIN, _PATIENCE = 1.5, 0.25, 1.0
_OVERDUE = 1_500_000_000
"""Nanoseconds before the end of a term when it should have been prolonged in the background."""
_SPARE = 500
"""Milliseconds that an owner ends before its lease does."""
_MILLISECOND = 1_000_000
_LAST_MINUTES = timedelta(minutes=5)
"""Before the end of a key, when its owner looks for another."""
_ROUNDS = 5
"""After so many the owner looks whether its unit is still one."""
_ATTEMPTS = 4
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 15.0
"""Seconds between attempts to make a unit: each may leave a key and a plan that came to nothing."""


class Leases(Protocol):
    """See `hashseal_server.tsa.store`."""

    async def all(self, serials: Sequence[int]) -> dict[int, Lease]: ...
    async def take(
        self, serial: int, owner: str, *, now: int, mark: int, lasting: int
    ) -> Claim | None: ...
    async def keep(self, claim: Claim, *, mark: int, lasting: int) -> Lease | None: ...
    async def give_back(self, claim: Claim, *, mark: int) -> None: ...


class Copies(Protocol):
    """See `hashseal_server.tsa.store.Marks`."""

    def of(self, serial: int) -> int: ...
    def keep(self, serial: int, mark: int) -> None: ...
    def end(self, serial: int, mark: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Term:
    """An ownership now: times up to `mark` (Unix milliseconds), until `ends` (elapsed)."""

    unit: TimestampingUnit
    claim: Claim
    mark: int
    ends: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand: which unit is held and for how many seconds, or why none.

    `failures` is how often in a row it failed lately to make one.
    """

    serial: int | None
    seconds: float
    reason: str | None
    failures: int = 0


class Custody:
    """The unit of this process.

    `units` are those that the authority issued and did not revoke, newest first; `issue` makes one
    more. At most `limit` are used at a time.
    """

    def __init__(
        self,
        *,
        leases: Leases,
        copies: Copies,
        clock: TrustedClock,
        units: Callable[[], Awaitable[Sequence[IssuedUnit]]],
        issue: Callable[[], Awaitable[object]],
        owner: str,
        limit: int,
    ) -> None:
        self._leases = leases
        self._copies = copies
        self._clock = clock
        self._units = units
        self._issue = issue
        self._owner = owner
        self._limit = limit
        self._log: FilteringBoundLogger | None = None
        self._term: Term | None = None
        self._before: Term | None = None  # left, but tokens of it may be under way
        self._reason: str | None = "no timestamping unit is held yet"
        self._turn = asyncio.Lock()
        self._tried = 0
        self._ended = False
        self._rounds = 0
        self._keeping: asyncio.Task[None] | None = None
        self._trying: asyncio.Task[None] | None = None
        self._making: asyncio.Task[object] | None = None
        self._backoff = Backoff(_FIRST_WAIT, _LONGEST_WAIT)

    def current(self) -> Term:
        """The unit that this process owns now.

        Raises:
            TimestampUnavailable: it owns none, or may not any more.
        """
        term = self._term
        if term is None:
            raise TimestampUnavailable(self._reason or "no timestamping unit is held")
        self.require(term)
        return term

    def require(self, term: Term, stated: int | None = None) -> None:
        """Make sure that a unit is still owned, and that its time `stated` was reserved.

        Raises:
            TimestampUnavailable: it is not.
        """
        for now in (self._term, self._before):
            if now is not None and now.claim == term.claim:
                break  # it may have been prolonged meanwhile
        else:
            raise TimestampUnavailable("the timestamping unit is owned no more")
        if self._clock.elapsed() >= now.ends:
            raise TimestampUnavailable("the lease of the timestamping unit has run out")
        if stated is not None and stated > now.mark:
            raise TimestampUnavailable("no time that late is reserved for the timestamping unit")

    def standing(self) -> Standing:
        """How things stand."""
        term, failures = self._term, self._backoff.failures
        if term is None:
            return Standing(None, 0.0, self._reason, failures)
        seconds = max(0, term.ends - self._clock.elapsed()) / (1000 * _MILLISECOND)
        reason = None if seconds else "the lease of the timestamping unit has run out"
        return Standing(term.claim.serial, seconds, reason, failures)

    async def begin(self, log: FilteringBoundLogger) -> None:
        """Take a unit if there is one, and keep on from now, in this event loop; once."""
        self._log = log
        await self._try()
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep_on())

    async def ready(self) -> None:
        """See to it that the unit is owned for a while, as after a sleep or an outage.

        It never fails, and takes a second at most: it waits for the database no longer than that.
        """
        if self._owned(_OVERDUE) or self._ended:
            return
        if self._trying is None or self._trying.done():
            self._trying = asyncio.create_task(self._try())
        await asyncio.wait({self._trying}, timeout=_PATIENCE)

    async def _try(self) -> None:
        async with self._turn:
            waited = self._clock.elapsed() - self._tried
            if not self._owned(_OVERDUE) and (waited > _AGAIN * 1e9 or not self._tried):
                await self.look_after()

    async def end(self) -> None:
        """Give the unit back, for good: another process may have it at once."""
        self._ended = True
        for task in (self._keeping, self._trying, self._making):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        async with self._turn:
            if (term := self._term) is not None:
                self._term = self._before = None
                self._reason = "the process ends"
                with contextlib.suppress(HashsealError):  # then the lease runs out by itself
                    await self._give_back(term)

    def _owned(self, longer: int = 0) -> bool:
        term = self._term
        return term is not None and self._clock.elapsed() + longer < term.ends

    async def _keep_on(self) -> None:
        while True:
            await asyncio.sleep(_EVERY if self._owned() else _AGAIN)
            async with self._turn:
                await self.look_after()

    async def look_after(self) -> None:
        """One turn of what `begin` does again and again; never fails."""
        if self._ended:
            return
        self._tried = self._clock.elapsed()
        try:
            await self._round()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and tried again
            code = error.code if isinstance(error, HashsealError) else repr(error)
            self._tell(f"units cannot be looked after ({code})")

    async def _round(self) -> None:
        """Keep what is held; take a unit if none is, or if the one held shall be left."""
        now = self._now()
        term, leaving = await self._kept(now) if self._term is not None else (None, False)
        if term is not None and not leaving:
            return
        if now is None:
            self._tell(f"the clock is not trusted: {self._clock.reason}")
            return
        taken = await self._take(now)
        if taken is None:
            return
        self._before = term  # nobody may take it: its lease runs out behind the last token
        self._term, self._reason, self._rounds = taken, None, 0
        self._backoff.succeeded()
        if self._log is not None:
            self._log.info("timestamping-unit", serial=f"{taken.claim.serial:x}", state="held")

    async def _kept(self, now: int | None) -> tuple[Term | None, bool]:
        """The present ownership, prolonged, or None; and whether the unit shall be left.

        While the clock is not trusted no more times are reserved: a mark from a clock that is ahead
        would spoil the unit.
        """
        term = self._term
        if term is None:
            return None, False
        began = self._clock.elapsed()
        mark = term.mark if now is None else max(term.mark, now + RESERVED)
        self._copies.keep(term.claim.serial, mark)
        lease = await self._leases.keep(term.claim, mark=mark, lasting=LASTING)
        if lease is None:
            self._lose(term, "another process has taken the timestamping unit")
            return None, False
        self._rounds += 1
        if self._rounds % _ROUNDS == 0 and term.claim.serial not in {
            unit.serial for unit in await self._units()
        }:
            self._lose(term, "the timestamping unit has been revoked")
            return None, False
        term = replace(term, mark=lease.mark, ends=_end(began))
        self._term = term
        at = of_milliseconds(self._clock.last if now is None else now)
        return term, lease.left or at > term.unit.ends_at - _LAST_MINUTES

    async def _take(self, now: int) -> Term | None:
        """A unit that is free, or a new one."""
        self._settled()
        for _ in range(_ATTEMPTS):
            at = of_milliseconds(now)
            known = [unit_of(one) for one in await self._units()]
            usable = [one for one in known if one.begins_at <= at < one.ends_at - _LAST_MINUTES]
            leases = await self._leases.all([one.serial for one in usable])
            active = [one for one in usable if not leases[one.serial].left]
            ahead = 0
            for unit in active:
                lease = leases[unit.serial]
                mark = max(lease.mark, self._copies.of(unit.serial))
                if lease.held or (self._term and unit.serial == self._term.claim.serial):
                    continue
                if mark > now:
                    ahead = max(ahead, mark - now)
                elif (taken := await self._own(unit, now)) is not None:
                    return taken
            if ahead > 2 * RESERVED and not self._clock.has_evidence:
                self._tell(
                    f"the clock is {ahead / 1000:.0f} s behind what a timestamping unit has "
                    "stated; set the clock, or leave the unit with `hashseal-server tsu leave`"
                )
                return None
            if len(active) >= self._limit:
                self._tell("every timestamping unit is held by another process")
                return None
            if not await self._made():
                return None
        self._tell("other processes take every timestamping unit first")
        return None

    async def _made(self) -> bool:
        """Whether one more unit has been made; not now if that failed a moment ago.

        It is not waited for long: the lease of a unit that is held, and one that gets free
        meanwhile, are not kept waiting. The next round looks again.
        """
        if self._making is None:
            if self._backoff.waits(self._clock.elapsed()):
                return False
            self._making = asyncio.ensure_future(self._issue())
        await asyncio.wait({self._making}, timeout=_PATIENCE)
        if not self._making.done():
            if not self._owned():
                self._tell("a timestamping unit is being made")
            return False
        return self._settled()

    def _settled(self) -> bool:
        """Whether what was begun has made a unit; when it failed, it is told and waited for."""
        if self._making is None or not self._making.done():
            return False
        made, self._making = self._making, None
        error = made.exception()
        if error is None:
            self._backoff.succeeded()
            return True
        wait = self._backoff.failed(self._clock.elapsed())
        code = error.code if isinstance(error, HashsealError) else type(error).__name__
        if self._log is not None:
            self._log.error(
                "timestamping-unit-not-made",
                code=code,
                why=str(error),
                failures=self._backoff.failures,
                again_in_seconds=wait,
                exc_info=None if isinstance(error, HashsealError) else error,
            )
        self._tell(f"no timestamping unit can be made ({code})")
        return False

    async def _own(self, unit: TimestampingUnit, now: int) -> Term | None:
        began = self._clock.elapsed()
        mark = now + RESERVED
        claim = await self._leases.take(
            unit.serial, self._owner, now=now, mark=mark, lasting=LASTING
        )
        if claim is None:
            return None
        self._copies.keep(unit.serial, mark)
        return Term(unit, claim, mark, _end(began))

    async def _give_back(self, term: Term) -> None:
        """For another to begin where this process ended."""
        mark = min(self._clock.last, term.mark)
        # The copy first: afterwards it is that of whoever takes the unit.
        self._copies.end(term.claim.serial, mark)
        await self._leases.give_back(term.claim, mark=mark)

    def _now(self) -> int | None:
        try:
            return milliseconds(self._clock.read())
        except TimestampUnavailable:
            return None

    def _lose(self, term: Term, reason: str) -> None:
        self._term = self._before = None
        self._rounds = 0
        self._tell(f"{reason}: {term.claim.serial:x}")

    def _tell(self, reason: str) -> None:
        if self._log is not None and reason != self._reason and not self._owned():
            self._log.error("timestamping-unit", state="none", reason=reason)
        self._reason = reason


def _end(began: int) -> int:
    return began + (LASTING - _SPARE) * _MILLISECOND
