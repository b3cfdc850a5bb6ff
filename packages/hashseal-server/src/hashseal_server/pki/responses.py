"""OCSP responses of the built-in authority: kept ones for all, fresh ones within an allowance.

A response is made for a certificate and its state, kept, and given until it goes stale or the state
changes. It is verified each time before it leaves (I7), and given only for the state that was read
with it (I11). What cannot be kept, since it has a nonce or is about what was never issued, is
signed on the spot, so many a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from hashseal_core.errors import EvidenceUnavailable, Untrustworthy
from hashseal_server.infra.allowance import Allowance
from hashseal_server.keystore.port import KeyStore
from hashseal_server.pki import status as statuses
from hashseal_server.pki.response_store import Due, Kept, Produced
from hashseal_server.pki.status import CertificateId, Responder, Status, StatusRequest

LIFETIME = timedelta(hours=24)
SKEW = timedelta(minutes=5)
_RENEWED = LIFETIME / 2
"""What lasts no longer than this is made anew by the job."""
LEAST = LIFETIME / 4
"""What lasts no longer than this is not given any more."""
_BATCH = 64
_ATTEMPTS = 5


Choose: TypeAlias = Callable[[int | None], Awaitable[Responder | None]]
"""The responder with this serial number: the newest, as the database says."""


class Store(Protocol):
    """See `hashseal_server.pki.response_store`."""

    async def find(self, serial: int, issuer: str, hash_algorithm: str, now: datetime) -> Kept: ...
    async def keep(self, produced: Sequence[Produced]) -> frozenset[int]: ...
    async def due(
        self,
        hash_algorithm: str,
        *,
        issuers: Sequence[str],
        before: datetime,
        now: datetime,
        after: int,
        limit: int,
    ) -> list[Due]: ...
    async def forget(self, before: datetime) -> int: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One OCSPResponse, DER; `kept` is one that anybody gets who asks the same."""

    der: bytes
    this_update: datetime
    next_update: datetime
    kept: bool = True


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

    async def answer(self, label: str, choose: Choose, request: StatusRequest) -> Answer | None:
        """The response to this request, kept or new; None when the authority has no responder.

        Raises:
            Overloaded: it would have to be signed now, and too many are.
            FaultySignature, KeystoreUnavailable, StorageUnavailable, EvidenceUnavailable: none.
        """
        found = [await self._find(label, asked) for asked in request.asked]
        if (responder := await choose(found[0].responder)) is None:
            return None
        alone = len(found) == 1 and request.nonce is None
        if not alone or not found[0].status.issued:
            self._allowance.spend()
            made = await self._sign(request, [one.status for one in found], responder)
            return replace(made, kept=False)
        if (answer := self._usable(found[0], responder, request)) is not None:
            return answer
        # Who comes while it is being made waits for it instead of making it again.
        async with self._making:
            for _ in range(_ATTEMPTS):
                kept = await self._find(label, request.asked[0])
                if (responder := await choose(kept.responder)) is None:
                    return None
                if (answer := self._usable(kept, responder, request)) is not None:
                    return answer
                made = await self._sign(request, [kept.status], responder)
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
            statuses.USUAL.name,
            issuers=list(responders),
            before=now + _RENEWED,
            now=now,
            after=int(ended or "0", 16),
            limit=_BATCH,
        )

        def make() -> list[Produced]:
            made = []
            for one in due:
                responder = responders[one.issuer]
                request = statuses.request_for(one.serial, responder.issuer, statuses.USUAL)
                answer = self._made(request, [one.status], responder)
                made.append(self._row(one.issuer, request, one.status, answer))
            return made

        if due:
            await self._store.keep(await asyncio.to_thread(make))
        if len(due) == _BATCH:
            return format(due[-1].serial, "x")
        await self._store.forget(now)
        return None

    async def _find(self, label: str, asked: CertificateId) -> Kept:
        return await self._store.find(asked.serial, label, asked.hash_algorithm.name, self._now())

    def _usable(self, kept: Kept, responder: Responder, request: StatusRequest) -> Answer | None:
        """What was kept, if it lasts long enough and is what we would answer."""
        now = self._now()
        if kept.response is None or kept.next_update is None or kept.next_update <= now + LEAST:
            return None
        try:
            this_update = statuses.require_genuine(
                kept.response, request.asked[0], kept.status, responder, at=now
            )
        except Untrustworthy:
            return None
        return Answer(kept.response, this_update, kept.next_update)

    async def _sign(
        self, request: StatusRequest, known: Sequence[Status], responder: Responder
    ) -> Answer:
        """In a thread: a signer behind a socket is waited for."""
        return await asyncio.to_thread(self._made, request, known, responder)

    def _made(
        self, request: StatusRequest, known: Sequence[Status], responder: Responder
    ) -> Answer:
        now = self._now().replace(microsecond=0)
        until = min(now + LIFETIME, responder.certificate.not_valid_after_utc)
        signed = statuses.ocsp_response(
            request,
            known,
            responder,
            this_update=now - SKEW,
            next_update=until,
            keystore=self._keystore,
        )
        return Answer(signed, now - SKEW, until)

    def _row(self, label: str, request: StatusRequest, status: Status, made: Answer) -> Produced:
        return Produced(
            serial=request.asked[0].serial,
            hash_algorithm=request.asked[0].hash_algorithm.name,
            responder=label,
            status=status,
            der=made.der,
            produced_at=self._now(),
            next_update=made.next_update,
        )
