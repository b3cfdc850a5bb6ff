"""The endpoints that are called all the time, as plain ASGI: signing, timestamps, OCSP.

They answer as every other route does, with the same problems, headers and limits; the framework in
between would cost more than all the rest of a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, TypeVar

from structlog.typing import FilteringBoundLogger

from hashseal_core import protocol
from hashseal_core.errors import (
    BodyTooLarge,
    HashsealError,
    MalformedRequest,
    MethodNotAllowed,
    UnsupportedMediaType,
)
from hashseal_server.accounts import tokens
from hashseal_server.accounts.model import Principal
from hashseal_server.infra.commit import RequestIdentity, hash_of_key
from hashseal_server.signing.model import Arrival, Found
from hashseal_server.web.bodies import idempotency_key, read
from hashseal_server.web.observing import App, Receive, Send
from hashseal_server.web.parts import Parts
from hashseal_server.web.problems import MEDIA_TYPE, Scope, render, request_id

Headers: TypeAlias = Mapping[bytes, bytes]
Handler: TypeAlias = Callable[[Scope, Headers, Receive], Awaitable[tuple[str, bytes]]]
_Shape = TypeVar("_Shape", bound=protocol.Request)
_KNOWN = 10_000
_PLAIN = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Front:
    """Hot endpoints first; everything else goes to `app`."""

    def __init__(self, app: App, hot: Mapping[str, Handler], log: FilteringBoundLogger) -> None:
        self.inner = app
        self.handlers = hot
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        handler = self.handlers.get(scope["path"]) if scope["type"] == "http" else None
        if handler is None:
            await self.inner(scope, receive, send)
            return
        scope["path_template"] = scope["path"]
        status, headers = 200, {"x-request-id": request_id(scope)}
        try:
            _require_post(scope)
            media_type, body = await handler(scope, dict(scope["headers"]), receive)
        except Exception as error:  # noqa: BLE001 - every error has its answer
            status, headers, body = render(error, scope, self._log)
            media_type = MEDIA_TYPE
            if isinstance(error, MethodNotAllowed):
                headers["allow"] = "POST"
        sent = [
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(body)),
            *_PLAIN,
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": body})


def _require_post(scope: Scope) -> None:
    if scope["method"] != "POST":
        raise MethodNotAllowed("this address takes POST only")


def handlers(parts: Parts) -> dict[str, Handler]:
    """The hot endpoints of this process's roles, by path."""
    found: dict[str, Handler] = {}
    if "api" in parts.roles:
        found["/v1/documents/sign"] = _signing(parts)
        found["/v1/timestamps"] = _timestamping(parts)
    if "tsa" in parts.roles:
        found["/tsa"] = _tsa(parts)
    if "status" in parts.roles:
        found["/ocsp"] = _ocsp(parts)
    return found


def _signing(parts: Parts) -> Handler:
    async def handler(scope: Scope, headers: Headers, receive: Receive) -> tuple[str, bytes]:
        caller, request, asked, found = await _call(
            parts, (scope, headers, receive), protocol.SignDocuments, "documents/sign"
        )
        async with parts.admission.admitted(caller.account_id):
            return "application/json", await parts.signing.sign(caller, asked, request, found)

    return handler


def _timestamping(parts: Parts) -> Handler:
    async def handler(scope: Scope, headers: Headers, receive: Receive) -> tuple[str, bytes]:
        caller, request, asked, found = await _call(
            parts, (scope, headers, receive), protocol.TimestampDocument, "timestamps"
        )
        async with parts.admission.admitted(caller.account_id):
            return "application/json", await parts.signing.timestamp(caller, asked, request, found)

    return handler


async def _call(
    parts: Parts, came: tuple[Scope, Headers, Receive], shape: type[_Shape], operation: str
) -> tuple[Principal, RequestIdentity, _Shape, Found]:
    """Who asks, for what, and what is known about it: one look at the database for all.

    Raises:
        InvalidRequest, Denied, Unavailable: whoever cannot say who they are is told nothing else.
    """
    scope, headers, receive = came
    authorization = _text(headers, b"authorization")
    token_id, text = tokens.read(authorization)
    parts.admission.require_chance(parts.owners.get(token_id))
    try:
        key = idempotency_key(_text(headers, b"idempotency-key"))
        body = await _body(receive, protocol.MAX_BODY)
        asked = read(_text(headers, b"content-type") or "", body, shape)
    except HashsealError:
        await _known(parts, scope, await parts.accounts.authenticate(authorization))
        raise
    seal_id = asked.seal_id if isinstance(asked, protocol.SignDocuments) else ""
    with parts.tracing.step("look-up"):
        found = await parts.signing.look_up(Arrival(token_id, hash_of_key(key), seal_id))
    caller = parts.accounts.recognise(text, found.owner)
    await _known(parts, scope, caller)
    return caller, RequestIdentity(caller.account_id, key, operation, body), asked, found


async def _known(parts: Parts, scope: Scope, caller: Principal) -> None:
    scope["state"]["account"] = caller.account_id
    if len(parts.owners) >= _KNOWN:
        parts.owners.clear()
    parts.owners[caller.token_id] = caller.account_id
    await parts.rates.spend(caller.token_id)


def _tsa(parts: Parts) -> Handler:
    async def handler(_scope: Scope, headers: Headers, receive: Receive) -> tuple[str, bytes]:
        body = await _message(headers, receive, "application/timestamp-query")
        return "application/timestamp-reply", await parts.timestamps.respond(body)

    return handler


def _ocsp(parts: Parts) -> Handler:
    async def handler(_scope: Scope, headers: Headers, receive: Receive) -> tuple[str, bytes]:
        body = await _message(headers, receive, "application/ocsp-request")
        return "application/ocsp-response", await parts.authority.ocsp(body)

    return handler


async def _message(headers: Headers, receive: Receive, media_type: str) -> bytes:
    sent = _text(headers, b"content-type") or ""
    if sent.partition(";")[0].strip().lower() != media_type:
        raise UnsupportedMediaType(f"send {media_type}")
    try:
        return await _body(receive, protocol.MAX_TIMESTAMP_QUERY)
    except BodyTooLarge as error:
        limit = protocol.MAX_TIMESTAMP_QUERY
        raise MalformedRequest(f"a message has {limit} octets at most") from error


def _text(headers: Headers, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


async def _body(receive: Receive, limit: int) -> bytes:
    """The whole body, never more than `limit` octets of it in memory.

    Raises:
        BodyTooLarge: it has more.
        MalformedRequest: the caller has gone before its end.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False) and len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise MalformedRequest("the request ended too early")
    if len(body) > limit:
        raise BodyTooLarge(f"a body has {limit // 1024} KiB at most")
    return body
