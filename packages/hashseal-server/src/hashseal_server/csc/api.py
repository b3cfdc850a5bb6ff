"""The CSC API over HTTP: `/csc/v1` and `/csc/v2`. What the specification has beside it is 501."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
from litestar import Request, Response, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from structlog.typing import FilteringBoundLogger

from hashseal_core import csc, errors
from hashseal_core.problems import problem_of
from hashseal_server.accounts import tokens
from hashseal_server.accounts.model import READ, SIGN, Principal
from hashseal_server.accounts.networks import Network, Origin
from hashseal_server.accounts.service import Accounts
from hashseal_server.csc.reading import read
from hashseal_server.csc.service import Call, RemoteSigning
from hashseal_server.infra.admission import Admission
from hashseal_server.infra.rates import Rates
from hashseal_server.infra.request_id import Scope, request_id

AnyRequest = Request[Any, Any, Any]
VERSIONS = (csc.V1, csc.V2)
PREFIX = "/csc"
_ENCODER = msgspec.json.Encoder()
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RETRY_AFTER = "2"
_KNOWN = 10_000
_UNAUTHORISED, _BAD, _FORBIDDEN, _FAILED = 401, 400, 403, 500
_PLAIN_STATUS = frozenset({405, 413, 501})
"""Beside 400 what a request that cannot be taken is answered."""
_BY_STATUS: dict[int, errors.HashsealError] = {
    404: errors.MethodNotImplemented("this method is not implemented: see info"),
    405: errors.MethodNotAllowed("this address takes POST only"),
    413: errors.BodyTooLarge("a body has 256 KiB at most"),
}
"""What the framework found out."""
_SERVER_STATUS = frozenset({429, 500, 503})
_Shape = TypeVar("_Shape", bound=csc.CscRequest)
Answer: TypeAlias = msgspec.Struct | bytes


@dataclass(frozen=True, slots=True)
class Door:
    """What the endpoints need."""

    remote: RemoteSigning
    accounts: Accounts
    rates: Rates
    admission: Admission
    log: FilteringBoundLogger
    proxies: Sequence[Network] = ()
    owners: dict[str, str] = field(default_factory=dict)
    """Whose a token was when it was last seen: enough to refuse early, never to let anybody in."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to one method; `version` is that of the path."""

    door: Door
    request: AnyRequest
    version: str

    async def caller(self, scope: str) -> Principal:
        """Who asks, with a token of this scope; the account is there for the log from now on."""
        door, request = self.door, self.request
        client, written = request.client, request.headers.getall("x-forwarded-for", None)
        forwarded = ",".join(written) if written else None
        origin = Origin(client.host if client else None, forwarded, door.proxies)
        caller = await door.accounts.authenticate(request.headers.get("authorization"), origin)
        request.scope["state"]["account"] = caller.account_id
        if len(door.owners) >= _KNOWN:
            door.owners.clear()
        door.owners[caller.token_id] = caller.account_id
        await door.rates.spend(caller.actor)
        caller.require(scope)
        return caller

    async def signer(self) -> Principal:
        """Who asks for what only so many may do at once.

        Whoever could not be admitted now is told so before anything is looked up.
        """
        token_id, _ = tokens.read(self.request.headers.get("authorization"))
        self.door.admission.require_chance(self.door.owners.get(token_id))
        return await self.caller(SIGN)

    async def body(self, shape: type[_Shape]) -> _Shape:
        """The body, read."""
        return read(self.request.headers.get("content-type", ""), await self.request.body(), shape)

    async def call(self, caller: Principal) -> Call:
        """The call with its idempotency key, if it has one."""
        key = self.request.headers.get("idempotency-key")
        if key is not None and not _KEY.fullmatch(key):
            raise errors.IdempotencyKeyInvalid("the key is not 1 to 64 of A-Z a-z 0-9 _ -")
        return Call(caller, key, await self.request.body())


Act: TypeAlias = Callable[[Asked], Awaitable[Answer]]


def routes(door: Door) -> list[HTTPRouteHandler]:
    """Every method under both versions."""
    return [
        _route(door, version, f"{PREFIX}/{version}/{method}", act)
        for version in VERSIONS
        for method, act in ACTS.items()
    ]


def _route(door: Door, version: str, path: str, act: Act) -> HTTPRouteHandler:
    async def handler(request: AnyRequest) -> Response[bytes]:
        headers = {"X-Request-Id": request_id(cast("Scope", request.scope))}
        answer = await act(Asked(door, request, version))
        body = answer if isinstance(answer, bytes) else _ENCODER.encode(answer)
        return Response(body, media_type="application/json", headers=headers)

    return post(path, status_code=200)(handler)


def refusal(request: AnyRequest, error: Exception) -> Response[bytes]:
    """The answer to any exception at an address under `PREFIX`, also where nothing is."""
    scope = cast("Scope", request.scope)
    status, headers, body = refused(error, scope, request.app.state.log)
    headers["X-Request-Id"] = request_id(scope)
    return Response(body, status_code=status, media_type="application/json", headers=headers)


def refused(
    error: Exception, scope: Scope, log: FilteringBoundLogger
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to any exception (CSC API 2.0.0.2, 10)."""
    if isinstance(error, errors.HashsealError):
        shown = error
    elif isinstance(error, HTTPException) and error.status_code < _FAILED:
        fallback = errors.InvalidRequest("the request cannot be taken as it is")
        shown = _BY_STATUS.get(error.status_code, fallback)
    else:
        shown = errors.Internal("something failed inside; nothing was charged")
        log.error("internal", request_id=request_id(scope), exc_info=error)
    row = problem_of(shown)
    scope["state"]["problem"] = row.code
    described = shown.detail
    if isinstance(shown, errors.SealNotFound):
        described = "Invalid parameter credentialID"
    headers: dict[str, str] = {}
    if isinstance(shown, errors.RateLimited):
        headers["Retry-After"] = str(shown.seconds)
    elif row.retryable:
        headers["Retry-After"] = _RETRY_AFTER
    if isinstance(shown, errors.ScopeMissing):  # RFC 6750, 3.1
        headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{shown.scope}"'
    elif isinstance(shown, errors.TokenInvalid):
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    elif row.status == _UNAUTHORISED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(shown, errors.MethodNotAllowed):
        headers["Allow"] = "POST"
    body = _ENCODER.encode(csc.CscError(row.csc, described))
    return _status(row.status, row.csc), headers, body


def _status(status: int, name: str) -> int:
    """The specification knows few: the rest is 400 or 500 (10.1)."""
    if name == "server_error":
        return status if status in _SERVER_STATUS else _FAILED
    if name == "access_denied":
        return _FORBIDDEN
    return status if status in _PLAIN_STATUS | {_UNAUTHORISED} else _BAD


async def _info(asked: Asked) -> Answer:
    await asked.body(csc.CscInfoRequest)
    return asked.door.remote.info(asked.version)


async def _list(asked: Asked) -> Answer:
    caller = await asked.caller(READ)
    body = await asked.body(csc.CscListRequest)
    return await asked.door.remote.credentials(caller, body, asked.version)


async def _show(asked: Asked) -> Answer:
    caller = await asked.caller(READ)
    body = await asked.body(csc.CscCredentialRequest)
    return await asked.door.remote.credential(caller, body, asked.version)


async def _authorize(asked: Asked) -> Answer:
    caller = await asked.signer()
    body = await asked.body(csc.CscAuthorizeRequest)
    async with asked.door.admission.admitted(caller.account_id):
        return await asked.door.remote.authorize(caller, body)


async def _extend(asked: Asked) -> Answer:
    caller = await asked.signer()
    body = await asked.body(csc.CscExtendRequest)
    async with asked.door.admission.admitted(caller.account_id):
        return await asked.door.remote.extend(caller, body)


async def _sign_doc(asked: Asked) -> Answer:
    caller = await asked.signer()
    body, call = await asked.body(csc.CscSignDocRequest), await asked.call(caller)
    async with asked.door.admission.admitted(caller.account_id):
        return await asked.door.remote.sign_documents(call, body)


async def _sign_hash(asked: Asked) -> Answer:
    caller = await asked.signer()
    body, call = await asked.body(csc.CscSignHashRequest), await asked.call(caller)
    async with asked.door.admission.admitted(caller.account_id):
        return await asked.door.remote.sign_hashes(call, body)


async def _timestamp(asked: Asked) -> Answer:
    caller = await asked.signer()
    body, call = await asked.body(csc.CscTimestampRequest), await asked.call(caller)
    async with asked.door.admission.admitted(caller.account_id):
        return await asked.door.remote.timestamp(call, body)


ACTS: dict[str, Act] = {
    "info": _info,
    "credentials/list": _list,
    "credentials/info": _show,
    "credentials/authorize": _authorize,
    "credentials/extendTransaction": _extend,
    "signatures/signDoc": _sign_doc,
    "signatures/signHash": _sign_hash,
    "signatures/timestamp": _timestamp,
}
