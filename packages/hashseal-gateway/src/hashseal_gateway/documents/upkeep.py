"""What must go after its time: files nobody fetched, remembered keys, old entries, sessions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from hashseal_gateway.documents.model import Document
from hashseal_gateway.documents.service import Documents

_BATCH = 500


class Store(Protocol):
    """Where documents are remembered."""

    async def expired(self, now: datetime, limit: int) -> list[Document]: ...
    async def forget(self, before: datetime, limit: int) -> int: ...


class Log(Protocol):
    """The signing log."""

    async def forget(self, before: datetime, limit: int) -> int: ...


class Sessions(Protocol):
    """Who is logged in."""

    async def forget(self) -> None: ...


class Upkeep:
    """A bounded piece of it each time."""

    def __init__(
        self,
        store: Store,
        log: Log,
        documents: Documents,
        sessions: Sessions,
        *,
        remembered: timedelta,
        logged: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._log = log
        self._documents = documents
        self._sessions = sessions
        self._remembered = remembered
        self._logged = logged
        self._now = now

    async def once(self) -> None:
        """One piece.

        Raises:
            StorageUnavailable: the rest is left to the next time.
        """
        at = self._now()
        for document in await self._store.expired(at, _BATCH):
            await self._documents.expire(document)
        await self._store.forget(at - self._remembered, _BATCH)
        await self._log.forget(at - self._logged, _BATCH)
        await self._sessions.forget()
