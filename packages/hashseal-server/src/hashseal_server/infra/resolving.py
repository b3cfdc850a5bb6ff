"""Names to addresses, in threads: a name server that never answers holds up its own name alone.

`getaddrinfo` keeps its thread after whoever asked has gone, for as long as the system's resolver
tries. So a name is looked up once at a time, those of one owner have few threads, and a name whose
look-up hung is passed over until that has ended, and for a minute at least.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import TypeAlias
from weakref import WeakValueDictionary

from hashseal_core.errors import OutboundFailed

Resolve: TypeAlias = Callable[[str], Sequence[str]]
"""Addresses of a name, as text; blocks; raises `OSError` when there are none."""
BUSY = "busy"
"""The reason when no thread was free: nobody was asked, so nobody has failed."""
OWNER: ContextVar[str | None] = ContextVar("OWNER", default=None)
"""On whose behalf names are looked up; None is the service itself, which has no limit."""
THREADS, THREADS_EACH = 64, 4
_WAITED = 2.0
"""Seconds for which a free thread is waited for."""
_PASSED_OVER = 60.0


class Names:
    """The look-ups of one way out.

    Args:
        resolve: how names become addresses.
        seconds: that a look-up may take.
        passed_over: seconds for which a name is not looked up after it took longer.
    """

    def __init__(
        self, resolve: Resolve, seconds: float, *, passed_over: float = _PASSED_OVER
    ) -> None:
        self._resolve = resolve
        self._seconds = seconds
        self._passed_over = passed_over
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")
        self._free = asyncio.Semaphore(THREADS)
        self._own: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._under_way: dict[str, asyncio.Future[Sequence[str]]] = {}
        self._hung: dict[str, float] = {}

    async def addresses(self, host: str) -> Sequence[str]:
        """Addresses of a name, as text.

        Raises:
            OSError, UnicodeError: it has none.
            TimeoutError: it takes too long, or did a moment ago.
            OutboundFailed: `BUSY`, no thread was free.
        """
        self._require_chance(host)
        if host not in self._under_way:
            await self._begin(host)
        asked = self._under_way[host]
        await asyncio.wait([asked], timeout=self._seconds)
        if not asked.done():
            now = asyncio.get_running_loop().time()
            self._hung = {one: until for one, until in self._hung.items() if until > now}
            self._hung[host] = now + self._passed_over
            raise TimeoutError
        return asked.result()

    def close(self) -> None:
        """Begin no more look-ups."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _require_chance(self, host: str) -> None:
        until = self._hung.get(host)
        if until is None:
            return
        if host in self._under_way or asyncio.get_running_loop().time() < until:
            raise TimeoutError
        del self._hung[host]

    async def _begin(self, host: str) -> None:
        """Look it up in a thread, when one is free; somebody else may have begun meanwhile."""
        slots = [self._free]
        if (owner := OWNER.get()) is not None:
            slots.insert(0, self._own.setdefault(owner, asyncio.Semaphore(THREADS_EACH)))
        held: list[asyncio.Semaphore] = []
        try:
            async with asyncio.timeout(_WAITED):
                for slot in slots:
                    await slot.acquire()
                    held.append(slot)
        except TimeoutError as error:
            _release(held)
            raise OutboundFailed("too many names are being looked up", reason=BUSY) from error
        except BaseException:
            _release(held)
            raise
        if host in self._under_way:
            _release(held)
            return
        loop = asyncio.get_running_loop()
        try:
            asked = loop.run_in_executor(self._threads, self._resolve, host)
        except BaseException:
            _release(held)
            raise
        self._under_way[host] = asked
        asked.add_done_callback(partial(self._ended, host, held))

    def _ended(
        self, host: str, held: Sequence[asyncio.Semaphore], asked: asyncio.Future[Sequence[str]]
    ) -> None:
        del self._under_way[host]
        _release(held)
        if not asked.cancelled():
            asked.exception()  # whoever asked may have gone


def _release(held: Sequence[asyncio.Semaphore]) -> None:
    for slot in held:
        slot.release()
