"""Signing documents: at once, or accepted now and worked on until they are signed.

A call that is repeated under its idempotency key, also after this process was killed, is prepared
again from the same source with the same options and the same claimed time, so the same hash is sent
under the same key and charged once. What was prepared otherwise than recorded is not sent.

Of documents that wait the prepared file itself is kept (`hashseal_gateway.documents.work`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from hashseal_core.errors import (
    ContentGone,
    DocumentNotReady,
    HashsealError,
    IdempotencyKeyReused,
)
from hashseal_core.problems import error_from
from hashseal_gateway.documents import messages
from hashseal_gateway.documents.attempts import (
    RESULT,
    SOURCE,
    make_durable,
    order_of,
    password_place,
    settled,
    told,
    values_of,
)
from hashseal_gateway.documents.model import (
    PENDING,
    Asked,
    Document,
    Event,
    Received,
    State,
    digest_of_request,
)
from hashseal_gateway.documents.ports import Log, Places, Policy, Seals, Signer, Store, Vault
from hashseal_gateway.documents.work import PASSING


@dataclass(frozen=True, slots=True)
class Result:
    """A signed file, and what is remembered of it."""

    path: Path
    document: Document


class Documents:
    """What may be done with documents."""

    def __init__(
        self,
        store: Store,
        log: Log,
        seals: Seals,
        signer: Signer,
        places: Places,
        vault: Vault,
        policy: Policy,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._log = log
        self._seals = seals
        self._signer = signer
        self._places = places
        self._vault = vault
        self._policy = policy
        self._now = now
        self._key = vault.derived("idempotency keys")
        self.enqueue: Callable[[Document], Awaitable[None]] | None = None
        """Begins the work on a document that waits; set by whoever has durable jobs."""

    def request_key(self, caller_id: str, key: str | None) -> str:
        """The idempotency key of a caller as it is remembered: keyed, and the caller's alone."""
        return self._derived(f"{caller_id} {key or secrets.token_hex(16)}")

    async def sign(self, asked: Asked, received: Received, target: Path) -> Result:
        """Sign at once, into `target`; the log says how it ended.

        Raises:
            HashsealError: nothing was made.
        """
        began = time.monotonic()
        document = self._new(asked, received, State.OPEN)
        try:
            known = await settled(document, self._seals, self._policy.level)
            document = await self._open(known, None)
            signed = await self._signer.signed(
                messages.Sign(
                    source=str(received.path),
                    target=str(target),
                    seal_id=document.seal_id or "",
                    options=order_of(document),
                    signing_time=document.signing_time,
                    key=document.service_key,
                    password=asked.options.password,
                    refuse=tuple(self._policy.refuse),
                ),
                received.size,
                self._recording(document),
            )
            entry = await told(
                self._store, document, None, began=began, now=self._now, signed=signed
            )
            values = values_of(signed, self._now())
            await self._store.happened(document, Event.SIGN, entry, **values)
        except HashsealError as error:
            with contextlib.suppress(HashsealError):  # the first error is the one to tell
                entry = await told(self._store, document, error, began=began, now=self._now)
                await self._log.add(entry)
            raise
        return Result(target, await self._store.find(document.id))

    async def accept(self, asked: Asked, received: Received) -> Document:
        """Take a document that is worked on later; it is durable on return.

        `received` is in the folder of `asked.id`, and is kept unless the same request was accepted
        before.

        Raises:
            HashsealError: it is not accepted, and nothing of it stays.
        """
        document = self._new(asked, received, State.ACCEPTED)
        stored: Document | None = None
        try:
            with contextlib.suppress(*PASSING):  # the work will find the seal
                document = await settled(document, self._seals, self._policy.level)
            await asyncio.to_thread(make_durable, received.path)
            stored = await self._open(document, asked.options.password)
            if stored.state is State.FAILED:
                stored = await self._again(stored, received, asked.options.password)
        finally:
            if stored is None or stored.id != document.id:
                self._places.discard(document.id)
        await self.begin(stored)
        return stored

    async def begin(self, document: Document) -> None:
        """Have the work on a document that waits begun, if somebody does such work."""
        if self.enqueue is not None and document.state in PENDING:
            await self.enqueue(document)

    async def resume_all(self) -> int:
        """Begin the work on every document that waits, as after a start; how many."""
        found = await self._store.pending()
        for document in found:
            await self.begin(document)
        return len(found)

    async def content(self, document: Document) -> Path:
        """The signed file.

        Raises:
            DocumentNotReady: it is not signed yet.
            ContentGone: it was fetched, or kept as long as it is kept.
            HashsealError: it failed; the error it failed with.
        """
        if document.state in PENDING:
            raise DocumentNotReady("the document is not signed yet")
        if document.state is State.FAILED and document.problem is not None:
            raise error_from(document.problem.code, document.problem.detail)
        path = self._places.place(document.id) / RESULT
        if document.state is not State.SIGNED or not path.is_file():
            raise ContentGone("the signed file was fetched, or is not kept here any more")
        return path

    async def delivered(self, document: Document) -> None:
        """The signed file was fetched, to its last octet.

        Raises:
            StorageUnavailable: that was not recorded; it can be fetched once more.
        """
        until = self._now() + self._policy.kept_after_delivery
        await self._store.happened(document, Event.FETCH, None, expires_at=until)

    async def redeliver(self, document: Document) -> Document:
        """Let a signed file be fetched again that was fetched a short while ago.

        Raises:
            DocumentNotReady: it is not signed yet.
            ContentGone: it is not kept any more.
        """
        if document.state in PENDING:
            raise DocumentNotReady("the document is not signed yet")
        path = self._places.place(document.id) / RESULT
        until = self._now() + self._policy.kept
        if not path.is_file() or not await self._store.happened(
            document, Event.OFFER, None, expires_at=until
        ):
            raise ContentGone("the signed file is not kept here any more")
        return await self._store.find(document.id)

    async def expire(self, document: Document) -> None:
        """Keep the signed file no longer.

        Raises:
            StorageUnavailable: it is kept still.
        """
        if await self._store.happened(document, Event.FORGET, None):
            self._places.discard(document.id)

    def _new(self, asked: Asked, received: Received, state: State) -> Document:
        now = self._now()
        return Document(
            id=asked.id,
            caller=asked.caller,
            way=asked.way,
            batch_id=asked.batch_id,
            position=asked.position,
            name=asked.name,
            external_id=asked.options.external_id,
            request_key=asked.request_key,
            request_digest=digest_of_request(received, asked),
            service_key=self._derived(f"call {asked.request_key}"),
            signing_time=now.replace(microsecond=0),
            asked=msgspec.structs.replace(asked.options, password=None),
            order=None,
            seal_id=None,
            state=state,
            problem=None,
            prepared=None,
            hash=None,
            digest_before=received.digest,
            digest_after=None,
            size_before=received.size,
            size_after=None,
            signature_id=None,
            findings=(),
            runs=1,
            created_at=now,
            finished_at=None,
            expires_at=None,
        )

    async def _open(self, document: Document, password: str | None) -> Document:
        """The document as it is recorded: this one, or that of the same request before.

        Raises:
            IdempotencyKeyReused: the key belongs to another request.
        """
        stored = await self._store.open(document, self._sealed(password, document.id))
        if stored.request_digest != document.request_digest:
            raise IdempotencyKeyReused("the idempotency key belongs to another request")
        return stored

    async def _again(self, stored: Document, received: Received, password: str | None) -> Document:
        """A document that failed, accepted once more with file and password sent again."""
        source = self._places.new_place(stored.id) / SOURCE
        await asyncio.to_thread(received.path.replace, source)
        await asyncio.to_thread(make_durable, source)
        await self._store.happened(
            stored,
            Event.ACCEPT,
            None,
            runs=stored.runs + 1,
            problem_code=None,
            problem_detail=None,
            finished_at=None,
            created_at=self._now(),
            password=self._sealed(password, stored.id),
        )
        return await self._store.find(stored.id)

    def _recording(self, document: Document) -> Callable[[messages.Record], Awaitable[None]]:
        async def record(question: messages.Record) -> None:
            await self._store.record_prepared(
                document.id, question.prepared, question.hash, question.findings
            )

        return record

    def _sealed(self, password: str | None, identity: str) -> bytes | None:
        """A file's password as it is stored with a document."""
        return None if password is None else self._vault.sealed(password, password_place(identity))

    def _derived(self, text: str) -> str:
        return hmac.digest(self._key, text.encode(), "sha256").hex()
