"""`/v1/documents`: PDF in, signed PDF out, at once or later."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Stream

from hashseal_core.errors import HashsealError
from hashseal_core.problems import error_from, problem_of
from hashseal_gateway.documents.attempts import RESULT
from hashseal_gateway.documents.model import PENDING, Asked, Document, State, Way
from hashseal_gateway.users.model import Caller, Permission
from hashseal_gateway.web import wire
from hashseal_gateway.web.parts import (
    AnyRequest,
    Parts,
    body_of,
    caller_of,
    idempotency_key,
    json,
    scope_of,
    wants_async,
)
from hashseal_gateway.web.problems import request_id
from hashseal_gateway.web.upload import PDF, take

_WHOLE = 4 << 20
_PIECE = 1 << 20
_ACCEPTED = 202


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @post("/v1/documents", status_code=200)
    async def sign_document(request: AnyRequest) -> Response[bytes] | Stream:
        caller = await caller_of(parts, request)
        caller.require(Permission.SIGN)
        key = idempotency_key(request)
        later = wants_async(request)
        identity = secrets.token_hex(12)
        async with parts.admission.admitted():
            folder = parts.folder.new_place(identity)
            kept = False
            try:
                taken = await take(body_of(request), folder, parts.limits)
                received, name = taken.documents[0]
                asked = Asked(
                    id=identity,
                    caller=caller,
                    way=Way.ASYNC if later else Way.CALL,
                    options=taken.options,
                    request_key=parts.documents.request_key(caller.id, key),
                    name=name,
                )
                if later:
                    kept = True  # what becomes of the folder is the service's to say
                    return accepted(request, await parts.documents.accept(asked, received))
                made = await parts.documents.sign(asked, received, folder / RESULT)
                return await file_of(request, made.path, headers_of(made.document))
            finally:
                if not kept:
                    await asyncio.to_thread(parts.folder.discard, identity)

    @get("/v1/documents/{document_id:str}")
    async def show_document(request: AnyRequest, document_id: FromPath[str]) -> Response[bytes]:
        caller = await caller_of(parts, request)
        return json(request, status_of(await found(parts, caller, document_id)))

    @get("/v1/documents/{document_id:str}/content")
    async def fetch_content(
        request: AnyRequest, document_id: FromPath[str]
    ) -> Response[bytes] | Stream:
        caller = await caller_of(parts, request)
        caller.require(Permission.SIGN)
        document = await parts.document_store.find(document_id, caller.id)
        path = await parts.documents.content(document)

        async def delivered() -> None:
            with contextlib.suppress(HashsealError):  # then it can be fetched once more
                await parts.documents.delivered(document)

        return await file_of(request, path, headers_of(document), delivered)

    @post("/v1/documents/{document_id:str}/redeliver", status_code=200)
    async def redeliver(request: AnyRequest, document_id: FromPath[str]) -> Response[bytes]:
        caller = await caller_of(parts, request)
        caller.require(Permission.SIGN)
        document = await parts.document_store.find(document_id, caller.id)
        return json(request, status_of(await parts.documents.redeliver(document)))

    return [sign_document, show_document, fetch_content, redeliver]


async def found(parts: Parts, caller: Caller, identity: str) -> Document:
    """A document that the caller may know of.

    Raises:
        DocumentNotFound: there is none.
    """
    everything = caller.may(Permission.SEE_EVERYTHING)
    return await parts.document_store.find(identity, None if everything else caller.id)


def accepted(request: AnyRequest, document: Document) -> Response[bytes]:
    """202, and where to ask."""
    status = status_of(document)
    headers = {"Location": status.status_url, "Preference-Applied": "respond-async"}
    return json(request, status, _ACCEPTED, headers)


def status_of(document: Document) -> wire.DocumentStatus:
    """What is told of a document."""
    url = f"/v1/documents/{document.id}"
    problem = None
    if document.problem is not None:
        row = problem_of(error_from(document.problem.code, document.problem.detail))
        problem = wire.DocumentProblem(
            code=row.code,
            detail=document.problem.detail,
            action=row.action,
            retryable=document.state in PENDING,
        )
    return wire.DocumentStatus(
        id=document.id,
        state=document.state,
        created_at=document.created_at,
        digest_before=document.digest_before,
        size_before=document.size_before,
        status_url=url,
        external_id=document.external_id,
        name=document.name,
        batch_id=document.batch_id,
        seal_id=document.seal_id,
        level=document.level or None,
        signature_id=document.signature_id,
        digest_after=document.digest_after,
        size_after=document.size_after,
        finished_at=document.finished_at,
        expires_at=document.expires_at,
        findings=document.findings,
        problem=problem,
        content_url=f"{url}/content" if document.state is State.SIGNED else None,
    )


def headers_of(document: Document) -> dict[str, str]:
    """What is told of a signed file beside it."""
    headers = {
        "Hashseal-Document-Id": document.id,
        "Hashseal-Signature-Id": document.signature_id or "",
        "Hashseal-Seal-Id": document.seal_id or "",
        "Hashseal-Level": document.level,
        "Hashseal-Digest-Before": f"sha-256={document.digest_before}",
        "Hashseal-Digest-After": f"sha-256={document.digest_after or ''}",
        "Content-Disposition": 'attachment; filename="signed.pdf"',
    }
    if document.findings:
        headers["Hashseal-Findings"] = ", ".join(document.findings)
    return headers


async def file_of(
    request: AnyRequest,
    path: Path,
    headers: dict[str, str],
    delivered: Callable[[], Awaitable[None]] | None = None,
) -> Response[bytes] | Stream:
    """The file; it may lose its name at once, what is open can be read to its end."""
    file = path.open("rb")
    size = os.fstat(file.fileno()).st_size
    headers = {**headers, "X-Request-Id": request_id(scope_of(request))}
    if size <= _WHOLE:
        with file:
            octets = file.read()
        if delivered is not None:
            await delivered()
        return Response(octets, media_type=PDF, headers=headers, status_code=200)
    headers["Content-Length"] = str(size)
    return Stream(_pieces(file, delivered), media_type=PDF, headers=headers, status_code=200)


async def _pieces(
    file: BinaryIO, delivered: Callable[[], Awaitable[None]] | None
) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
    if delivered is not None:
        await delivered()
