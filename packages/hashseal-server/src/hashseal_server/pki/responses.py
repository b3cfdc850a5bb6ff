"""OCSP responses of the built-in authority: kept ones for all, fresh ones within an allowance.

A response is made for a certificate and its state, kept, and given until it goes stale or the state
changes. It is verified each time before it leaves (I7), and given only for the state that was read
with it (I11). What cannot be kept, since it has a nonce or is about what was never issued, is
signed on the spot, so many a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from hashseal_core.errors import EvidenceUnavailable, Untrustworthy
from hashseal_server.infra.allowance import Allowance
from hashseal_server.keystore.port import KeyStore
from hashseal_server.pki import revocation
from hashseal_server.pki.response_store import Due, Kept, Produced
from hashseal_server.pki.revocation import Responder, Status, StatusRequest

LIFETIME = timedelta(hours=24)
SKEW = timedelta(minutes=5)
_RENEWED = LIFETIME / 2
"""What lasts no longer than this is made anew by the job."""
LEAST = LIFETIME / 4
"""What lasts no longer than this is not given any more."""
_BATCH = 64
_ATTEMPTS = 5


class Store(Protocol):
    """See `hashseal_server.pki.response_store`."""

    async def find(self, serial: int, issuer: str, hash_algorithm: str) -> Kept: ...
    async def keep(self, produced: Sequence[Produced]) -> frozenset[int]: ...
    async def due(
        self, hash_algorithm: str, *, before: datetime, now: datetime, after: int, limit: int
    ) -> list[Due]: ...
    async def forget(self, before: datetime) -> int: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One OCSPResponse, DER, and its nextUpdate."""

    der: bytes
    next_update: datetime


class Responses:
    """The responders of all authorities; `label` names the authority that is asked for."""

    def __init__(
        self,
        *,
        store: Store,
        keystore: KeyStore,
        now: Callable[[], datetime],
        allowance: Allowance,
    ) -> None:
        self._store = store
        self._keystore = keystore
        self._now = now
        self._allowance = allowance
        self._making = asyncio.Lock()

    async def answer(self, label: str, responder: Responder, request: StatusRequest) -> Answer:
        """The response to this request, kept or new.

        Raises:
            Overloaded: it would have to be signed now, and too many are.
            FaultySignature, KeystoreUnavailable, StorageUnavailable, EvidenceUnavailable: none.
        """
        kept = await self._find(label, request)
        if request.nonce is not None or not kept.status.issued:
            self._allowance.spend()
            return self._sign(request, kept.status, responder)
        if (answer := self._usable(kept, responder, request)) is not None:
            return answer
        # Who comes while it is being made waits for it instead of making it again.
        async with self._making:
            for _ in range(_ATTEMPTS):
                kept = await self._find(label, request)
                if (answer := self._usable(kept, responder, request)) is not None:
                    return answer
                made = self._sign(request, kept.status, responder)
                if await self._store.keep([self._row(label, request, kept.status, made)]):
                    return made
        raise EvidenceUnavailable("the certificate's state changes all the time")

    async def renew(self, responders: Mapping[str, Responder], ended: str | None) -> str | None:
        """Make a batch of responses anew, well before they go stale; where the next batch begins.

        Raises:
            FaultySignature, KeystoreUnavailable, StorageUnavailable: the batch is not there.
        """
        now = self._now()
        due = await self._store.due(
            revocation.USUAL.name,
            before=now + _RENEWED,
            now=now,
            after=int(ended or "0", 16),
            limit=_BATCH,
        )

        def make() -> list[Produced]:
            made = []
            for one in due:
                responder = responders[one.issuer]
                request = revocation.request_for(one.serial, responder.issuer, revocation.USUAL)
                answer = self._sign(request, one.status, responder)
                made.append(self._row(one.issuer, request, one.status, answer))
            return made

        if due:
            await self._store.keep(await asyncio.to_thread(make))
        if len(due) == _BATCH:
            return format(due[-1].serial, "x")
        await self._store.forget(now)
        return None

    async def _find(self, label: str, request: StatusRequest) -> Kept:
        return await self._store.find(request.serial, label, request.hash_algorithm.name)

    def _usable(self, kept: Kept, responder: Responder, request: StatusRequest) -> Answer | None:
        """What was kept, if it lasts long enough and is what we would answer."""
        now = self._now()
        if kept.response is None or kept.next_update is None or kept.next_update <= now + LEAST:
            return None
        try:
            revocation.require_genuine(kept.response, request, kept.status, responder, at=now)
        except Untrustworthy:
            return None
        return Answer(kept.response, kept.next_update)

    def _sign(self, request: StatusRequest, status: Status, responder: Responder) -> Answer:
        now = self._now().replace(microsecond=0)
        signed = revocation.ocsp_response(
            request,
            status,
            responder,
            this_update=now - SKEW,
            next_update=now + LIFETIME,
            keystore=self._keystore,
        )
        return Answer(signed, now + LIFETIME)

    def _row(self, label: str, request: StatusRequest, status: Status, made: Answer) -> Produced:
        return Produced(
            serial=request.serial,
            hash_algorithm=request.hash_algorithm.name,
            responder=label,
            status=status,
            der=made.der,
            produced_at=self._now(),
            next_update=made.next_update,
        )
