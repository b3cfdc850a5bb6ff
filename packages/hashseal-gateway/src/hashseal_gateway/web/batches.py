"""`/v1/batches`: many documents in one request."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hashseal_core.errors import IdempotencyKeyMissing
from hashseal_gateway.documents.model import PENDING, Document, State
from hashseal_gateway.users.model import Permission
from hashseal_gateway.web import wire
from hashseal_gateway.web.documents import status_of
from hashseal_gateway.web.parts import (
    AnyRequest,
    Parts,
    body_of,
    caller_of,
    idempotency_key,
    json,
)
from hashseal_gateway.web.upload import ZIP, take

_ACCEPTED = 202
_SIGNED = frozenset({State.SIGNED, State.DELIVERED, State.EXPIRED})


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @post("/v1/batches", status_code=_ACCEPTED)
    async def accept_batch(request: AnyRequest) -> Response[bytes]:
        caller = await caller_of(parts, request)
        caller.require(Permission.SIGN)
        key = idempotency_key(request)
        if key is None:
            raise IdempotencyKeyMissing("a batch needs an Idempotency-Key: it may be sent in part")
        identity = secrets.token_hex(12)
        async with parts.admission.admitted():
            folder = parts.folder.new_place(identity)
            try:
                body = body_of(request)
                taken = await take(body, folder, parts.batch_limits, archive=True)
                documents = taken.documents
                if body.content_type.partition(";")[0].strip().lower() == ZIP:
                    documents = await parts.batches.unpacked(documents[0][0], folder)
                made = await parts.batches.accept(caller, key, documents, taken.options)
            finally:
                await asyncio.to_thread(parts.folder.discard, identity)
        status = batch_status(made)
        return json(request, status, _ACCEPTED, {"Location": status.status_url})

    @get("/v1/batches/{batch_id:str}")
    async def show_batch(request: AnyRequest, batch_id: FromPath[str]) -> Response[bytes]:
        caller = await caller_of(parts, request)
        everything = caller.may(Permission.SEE_EVERYTHING)
        wanted = None if everything else caller.id
        return json(request, batch_status(await parts.document_store.of_batch(batch_id, wanted)))

    return [accept_batch, show_batch]


def batch_status(documents: Sequence[Document]) -> wire.BatchStatus:
    """Progress, and each document."""
    identity = documents[0].batch_id or ""
    states = [one.state for one in documents]
    return wire.BatchStatus(
        id=identity,
        status_url=f"/v1/batches/{identity}",
        documents=[status_of(one) for one in documents],
        total=len(documents),
        signed=sum(state in _SIGNED for state in states),
        failed=states.count(State.FAILED),
        pending=sum(state in PENDING for state in states),
    )
