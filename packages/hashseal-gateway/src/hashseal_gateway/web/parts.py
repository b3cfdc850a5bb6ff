"""What the endpoints need, joined by the composition root."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, cast

import msgspec
from litestar import Request, Response
from structlog.typing import FilteringBoundLogger

from hashseal_core import protocol
from hashseal_core.errors import IdempotencyKeyInvalid
from hashseal_gateway.documents.batch import Batches
from hashseal_gateway.documents.service import Documents
from hashseal_gateway.documents.store import DocumentStore
from hashseal_gateway.documents.verification import Verifier
from hashseal_gateway.infra.admission import Admission
from hashseal_gateway.infra.data_folder import DataFolder
from hashseal_gateway.infra.db import Database
from hashseal_gateway.infra.service import Service
from hashseal_gateway.log.store import LogStore
from hashseal_gateway.seals.service import Seals
from hashseal_gateway.users.model import Caller
from hashseal_gateway.users.service import Users
from hashseal_gateway.users.sessions import Sessions
from hashseal_gateway.web.front import Front
from hashseal_gateway.web.observing import Figures
from hashseal_gateway.web.problems import Scope, request_id
from hashseal_gateway.web.upload import Body, Limits

AnyRequest = Request[Any, Any, Any]
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LENGTH = re.compile(r"[0-9]{1,18}")


class Clock(Protocol):
    """The time, UTC."""

    def __call__(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints need."""

    users: Users
    sessions: Sessions
    front: Front
    seals: Seals
    documents: Documents
    batches: Batches
    document_store: DocumentStore
    log_store: LogStore
    verifier: Verifier
    folder: DataFolder
    database: Database
    service: Service
    admission: Admission
    limits: Limits
    batch_limits: Limits
    log: FilteringBoundLogger
    now: Clock
    figures: Figures = field(default_factory=Figures)


async def caller_of(parts: Parts, request: AnyRequest) -> Caller:
    """Who asks; the log of requests knows the key's id from now on.

    Raises:
        TokenMissing, TokenInvalid: nobody that is known.
    """
    caller = await parts.users.caller(request.headers.get("authorization"))
    request.scope["state"]["caller"] = caller.id
    return caller


def scope_of(request: AnyRequest) -> Scope:
    """The request's scope, with its id."""
    scope = cast("Scope", request.scope)
    request_id(scope)
    return scope


def path_of(request: AnyRequest) -> str:
    """The path that is asked for; `request.url` is none if the query is not UTF-8."""
    return str(request.scope["path"])


def body_of(request: AnyRequest) -> Body:
    """The body, to be read once."""
    length = request.headers.get("content-length", "")
    return Body(
        content_type=request.headers.get("content-type", ""),
        content_length=int(length) if _LENGTH.fullmatch(length) else None,
        query=cast("Mapping[str, str]", request.query_params),
        stream=request.stream(),
    )


def idempotency_key(request: AnyRequest) -> str | None:
    """The Idempotency-Key header, if there is one.

    Raises:
        IdempotencyKeyInvalid: it has other characters, or is too long.
    """
    key: str | None = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise IdempotencyKeyInvalid("the key is not 1 to 64 of A-Z a-z 0-9 _ -")
    return key


def wants_async(request: AnyRequest) -> bool:
    """The caller prefers to be answered before the document is signed (RFC 7240, 4.1)."""
    words = request.headers.get("prefer", "").lower().split(",")
    return any(word.partition(";")[0].strip() == "respond-async" for word in words)


def json(
    request: AnyRequest,
    answer: protocol.Answer,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response[bytes]:
    """An answer as JSON."""
    known = {"X-Request-Id": request_id(scope_of(request)), **(headers or {})}
    return Response(
        msgspec.json.encode(answer),
        media_type="application/json",
        headers=known,
        status_code=status,
    )
