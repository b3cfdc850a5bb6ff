"""The work on documents that wait: one attempt after the other, each goes as far as it can.

What was reached is recorded after each step, so an attempt that was killed is begun anew where it
was: the prepared file is kept, its call is repeated under its key and charged once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from hashseal_core.errors import (
    AnswerMismatch,
    ConfigurationInvalid,
    ContentGone,
    HashsealError,
    QuotaExhausted,
    Unavailable,
)
from hashseal_gateway.documents import messages
from hashseal_gateway.documents.attempts import (
    PREPARED,
    RESULT,
    SOURCE,
    make_durable,
    order_of,
    password_place,
    settled,
    told,
    values_of,
)
from hashseal_gateway.documents.model import PENDING, Document, Event, State
from hashseal_gateway.documents.ports import Places, Policy, Seals, Signer, Store, Vault

PASSING = (Unavailable, QuotaExhausted, AnswerMismatch, ConfigurationInvalid)
"""Errors after which a document that may wait is tried again: none is the document's fault."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0


class Work:
    """Attempts at documents that wait."""

    def __init__(
        self,
        store: Store,
        seals: Seals,
        signer: Signer,
        places: Places,
        vault: Vault,
        policy: Policy,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._seals = seals
        self._signer = signer
        self._places = places
        self._vault = vault
        self._policy = policy
        self._now = now

    async def attempt(self, identity: str) -> float | None:
        """Go on with a document; seconds until the next attempt, None at its end.

        Raises:
            StorageUnavailable: how it ended could not be recorded; attempt it again.
        """
        document = await self._store.find(identity)
        if document.state not in PENDING:
            if document.state in {State.SIGNED, State.DELIVERED}:
                self._leave_result(document)  # killed between the record and the removal
            return None
        began = time.monotonic()
        try:
            signed = await self._worked(document)
        except PASSING as error:
            waited = self._now() - document.created_at
            if waited < self._policy.patience:
                await self._postponed(document, error)
                return min(LONGEST_PAUSE, max(FIRST_PAUSE, waited.total_seconds() / 4))
            await self._refused(document, error, began)
        except HashsealError as error:
            await self._refused(document, error, began)
        else:
            await self._finished(document, signed, began)
        return None

    async def _worked(self, document: Document) -> messages.Signed:
        """What is still to be done of it.

        Raises:
            HashsealError: it went no further.
        """
        if document.order is None or document.seal_id is None:
            known = await settled(document, self._seals, self._policy.level)
            await self._store.settle(document.id, known.seal_id or "", order_of(known))
            document = await self._store.find(document.id)
        stored = await self._store.password(document.id)
        place = password_place(document.id)
        password = None if stored is None else self._vault.opened(stored, place)
        folder = self._places.place(document.id)
        if document.prepared is None or not (folder / PREPARED).is_file():
            document = await self._prepared(document, password)
        return await self._signer.signed(
            messages.Resume(
                source=str(folder / PREPARED),
                target=str(folder / RESULT),
                prepared=document.prepared or "",
                password=password,
            ),
            document.size_before,
        )

    async def _prepared(self, document: Document, password: str | None) -> Document:
        folder = self._places.place(document.id)
        if not (folder / SOURCE).is_file():
            raise ContentGone("the document is not here any more; send it again")
        made = await self._signer.prepared(
            messages.Prepare(
                source=str(folder / SOURCE),
                target=str(folder / PREPARED),
                seal_id=document.seal_id or "",
                options=order_of(document),
                signing_time=document.signing_time,
                key=document.service_key,
                password=password,
                refuse=tuple(self._policy.refuse),
            ),
            document.size_before,
        )
        await asyncio.to_thread(make_durable, folder / PREPARED)
        await self._store.record_prepared(document.id, made.prepared, made.hash, made.findings)
        return await self._store.find(document.id)

    async def _finished(self, document: Document, signed: messages.Signed, began: float) -> None:
        folder = self._places.place(document.id)
        await asyncio.to_thread(make_durable, folder / RESULT)
        entry = await told(self._store, document, None, began=began, now=self._now, signed=signed)
        values = values_of(signed, self._now())
        until = self._now() + self._policy.kept
        if await self._store.happened(document, Event.SIGN, entry, **values, expires_at=until):
            self._leave_result(document)

    def _leave_result(self, document: Document) -> None:
        """Of a document on which nobody works any more, only the signed file stays."""
        folder = self._places.place(document.id)
        (folder / SOURCE).unlink(missing_ok=True)
        (folder / PREPARED).unlink(missing_ok=True)

    async def _postponed(self, document: Document, error: HashsealError) -> None:
        why = {"problem_code": error.code, "problem_detail": error.detail}
        await self._store.happened(document, Event.POSTPONE, None, **why)

    async def _refused(self, document: Document, error: HashsealError, began: float) -> None:
        entry = await told(self._store, document, error, began=began, now=self._now)
        done = await self._store.happened(
            document,
            Event.REFUSE,
            entry,
            problem_code=error.code,
            problem_detail=error.detail,
            finished_at=self._now(),
            password=None,
        )
        if done:
            self._places.discard(document.id)
