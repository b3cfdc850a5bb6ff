"""The endpoints that are called all the time: signing, timestamps, OCSP.

They answer as every other route does, with the same problems, headers and limits; the framework in
between would cost more than all the rest of a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

from hashseal_core import protocol, tsp
from hashseal_core.errors import (
    HashsealError,
    InvalidValue,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
)
from hashseal_server.accounts import tokens
from hashseal_server.accounts.model import Principal, TokenId
from hashseal_server.accounts.networks import Origin
from hashseal_server.infra.commit import RequestIdentity, hash_of_key
from hashseal_server.signing.model import Arrival, Found
from hashseal_server.tsa.refusals import SYSTEM_FAILURE
from hashseal_server.tsa.relay import Relay
from hashseal_server.web.bodies import idempotency_key, read
from hashseal_server.web.callers import needed, origin
from hashseal_server.web.observing import App, Observer, Receive, Send
from hashseal_server.web.parts import Parts
from hashseal_server.web.problems import MEDIA_TYPE, Scope, render, request_id

Headers: TypeAlias = Mapping[bytes, bytes]
_Shape = TypeVar("_Shape", bound=protocol.Request)
_KNOWN = 10_000
_FORWARDED = b"x-forwarded-for"
_PLAIN = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
LIMIT = protocol.MAX_BODY
"""Octets of a body that are read; of a longer one, one more."""


@dataclass(slots=True)
class Asked:
    """A request to a hot endpoint, read to its end, or to one octet beyond `LIMIT`.

    `scope` has the state that an answer leaves behind: id of the request, account, problem.
    """

    path: str
    method: str
    headers: Headers
    body: bytes
    scope: Scope


class Reply(NamedTuple):
    """An answer; `headers` are those beside content-type, content-length and the usual ones."""

    status: int
    media_type: str
    body: bytes
    headers: Sequence[tuple[bytes, bytes]]


Handler: TypeAlias = Callable[[Asked], Awaitable[tuple[str, bytes]]]


class Hot:
    """The hot endpoints, by path."""

    def __init__(self, found: Mapping[str, Handler], observer: Observer) -> None:
        self.handlers = found
        self._observer = observer

    async def observed(self, asked: Asked) -> Reply:
        """`answer`, for whoever is not observed already."""
        traceparent = _text(asked.headers, b"traceparent")
        with self._observer.watch(asked.method, traceparent, asked.scope["state"]) as told:
            told.route = asked.path
            reply = await self.answer(asked)
            told.status = reply.status
        return reply

    async def answer(self, asked: Asked) -> Reply:
        """The answer, whatever comes in; errors are problem details."""
        try:
            if asked.method != "POST":
                raise MethodNotAllowed("this address takes POST only")  # noqa: TRY301
            media_type, body = await self.handlers[asked.path](asked)
        except Exception as error:  # noqa: BLE001 - every error has its answer
            return self.refusal(error, asked.scope)
        identity = request_id(asked.scope).encode()
        return Reply(200, media_type, body, (*_PLAIN, (b"x-request-id", identity)))

    def refusal(self, error: Exception, scope: Scope) -> Reply:
        """The answer to an error."""
        status, headers, body = render(error, scope, self._observer.log)
        if isinstance(error, MethodNotAllowed):
            headers["allow"] = "POST"
        named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        return Reply(status, MEDIA_TYPE, body, (*_PLAIN, *named))


class Front:
    """ASGI: hot endpoints first; everything else goes to `app`."""

    def __init__(self, app: App, hot: Hot) -> None:
        self.inner = app
        self.hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"] not in self.hot.handlers:
            if (error := _no_address(scope)) is None:
                await self.inner(scope, receive, send)
            else:
                scope.setdefault("state", {})
                await _send(self.hot.refusal(error, scope), send)
            return
        scope["path_template"] = scope["path"]
        scope.setdefault("state", {})
        try:
            body = await _body(receive)
        except MalformedRequest as error:
            reply = self.hot.refusal(error, scope)
        else:
            headers = headers_of(scope["headers"])
            reply = await self.hot.answer(
                Asked(scope["path"], scope["method"], headers, body, scope)
            )
        await _send(reply, send)


def headers_of(sent: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Headers by name; several of X-Forwarded-For are one list (RFC 9110, 5.2)."""
    found = dict(sent)
    if len(found) != len(sent) and _FORWARDED in found:
        found[_FORWARDED] = b",".join(value for name, value in sent if name == _FORWARDED)
    return found


async def _send(reply: Reply, send: Send) -> None:
    sent = [
        (b"content-type", reply.media_type.encode()),
        (b"content-length", b"%d" % len(reply.body)),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": sent})
    await send({"type": "http.response.body", "body": reply.body})


def _no_address(scope: Scope) -> HashsealError | None:
    """What is wrong with an address that has U+0000 in it: not every database takes that."""
    if scope["type"] == "http" and "\0" in scope["path"]:
        return NotFound("there is nothing at this address")
    if scope["type"] == "http" and b"%00" in scope.get("query_string", b""):
        return InvalidValue("no parameter has the character U+0000")
    return None


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
    async def handler(asked: Asked) -> tuple[str, bytes]:
        caller, request, wanted, found = await _call(
            parts, asked, protocol.SignDocuments, "documents/sign"
        )
        async with parts.admission.admitted(caller.account_id):
            return "application/json", await parts.signing.sign(caller, wanted, request, found)

    return handler


def _timestamping(parts: Parts) -> Handler:
    async def handler(asked: Asked) -> tuple[str, bytes]:
        caller, request, wanted, found = await _call(
            parts, asked, protocol.TimestampDocument, "timestamps"
        )
        async with parts.admission.admitted(caller.account_id):
            return "application/json", await parts.signing.timestamp(caller, wanted, request, found)

    return handler


async def _call(
    parts: Parts, asked: Asked, shape: type[_Shape], operation: str
) -> tuple[Principal, RequestIdentity, _Shape, Found]:
    """Who asks, for what, and what is known about it: one look at the database for all.

    Raises:
        InvalidRequest, Denied, Unavailable: whoever cannot say who they are is told nothing else.
    """
    headers, body = asked.headers, asked.body
    shown, source = _shown(parts, asked)
    try:
        key = idempotency_key(_text(headers, b"idempotency-key"))
        wanted = read(_text(headers, b"content-type") or "", body, shape)
    except HashsealError:
        await _known(parts, asked, await _authenticated(parts, asked, source))
        raise
    seal_id = wanted.seal_id if isinstance(wanted, protocol.SignDocuments) else ""
    with parts.tracing.step("look-up"):
        found = await parts.signing.look_up(Arrival(shown[0], hash_of_key(key), seal_id))
    caller = parts.accounts.recognise(shown, found.token, source)
    await _known(parts, asked, caller)
    return caller, RequestIdentity(caller.account_id, key, operation, body), wanted, found


def _shown(parts: Parts, asked: Asked) -> tuple[tuple[TokenId, str], Origin]:
    """Id and text of the token that was sent, and from where; nothing has been looked up yet.

    Raises:
        TokenMissing, TokenInvalid, Overloaded, RateLimited: it is not worth a look.
    """
    headers = asked.headers
    shown = tokens.read(_text(headers, b"authorization"))
    source = origin(parts, asked.scope, _text(headers, _FORWARDED))
    parts.admission.require_chance(parts.owners.get(shown[0]))
    parts.accounts.require_chance(shown[0], source)
    return shown, source


async def _authenticated(parts: Parts, asked: Asked, source: Origin) -> Principal:
    return await parts.accounts.authenticate(_text(asked.headers, b"authorization"), source)


async def _known(parts: Parts, asked: Asked, caller: Principal) -> None:
    asked.scope["state"]["account"] = caller.account_id
    if len(parts.owners) >= _KNOWN:
        parts.owners.clear()
    parts.owners[caller.token_id] = caller.account_id
    await parts.rates.spend(caller.actor)
    caller.require(needed(asked.method, asked.path))


def _tsa(parts: Parts) -> Handler:
    timestamps = parts.timestamps
    if isinstance(timestamps, Relay):
        return _relayed(parts, timestamps)

    async def handler(asked: Asked) -> tuple[str, bytes]:
        body = _message(asked, "application/timestamp-query")
        return await _stamped(parts, asked, timestamps.respond(body))

    return handler


async def _stamped(parts: Parts, asked: Asked, answer: Awaitable[bytes]) -> tuple[str, bytes]:
    try:
        return "application/timestamp-reply", await answer
    except Exception as error:  # noqa: BLE001 - RFC 3161 has an answer to that too
        render(error, asked.scope, parts.log)  # which puts it into the log
        return "application/timestamp-reply", tsp.refused(SYSTEM_FAILURE, "system failure")


def _relayed(parts: Parts, relay: Relay) -> Handler:
    """For accounts only: each token may cost the operator something."""

    async def handler(asked: Asked) -> tuple[str, bytes]:
        _, source = _shown(parts, asked)
        caller = await _authenticated(parts, asked, source)
        await _known(parts, asked, caller)
        body = _message(asked, "application/timestamp-query")
        async with parts.admission.admitted(caller.account_id):
            return await _stamped(parts, asked, relay.respond(body))

    return handler


def _ocsp(parts: Parts) -> Handler:
    async def handler(asked: Asked) -> tuple[str, bytes]:
        body = _message(asked, "application/ocsp-request")
        return "application/ocsp-response", await parts.authority.ocsp(body)

    return handler


def _message(asked: Asked, media_type: str) -> bytes:
    sent = _text(asked.headers, b"content-type") or ""
    if sent != media_type and sent.partition(";")[0].strip().lower() != media_type:
        raise UnsupportedMediaType(f"send {media_type}")
    if len(asked.body) > protocol.MAX_TIMESTAMP_QUERY:
        raise MalformedRequest(f"a message has {protocol.MAX_TIMESTAMP_QUERY} octets at most")
    return asked.body


def _text(headers: Headers, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


async def _body(receive: Receive) -> bytes:
    """The whole body, or one octet more than `LIMIT` of it.

    Raises:
        MalformedRequest: the caller has gone before its end.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False) and len(body) <= LIMIT:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise MalformedRequest("the request ended too early")
    return body[: LIMIT + 1]
