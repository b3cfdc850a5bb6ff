"""Every error as problem details (RFC 9457), rendered in one place; nothing is echoed."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping
from typing import Any, TypeAlias

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from hashseal_core import errors
from hashseal_core.problems import details_of, problem_of

Scope: TypeAlias = MutableMapping[str, Any]
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "2"
_BY_STATUS: dict[int, errors.HashsealError] = {
    404: errors.NotFound("there is nothing at this address"),
    405: errors.MethodNotAllowed("this address does not take that method"),
    413: errors.DocumentTooLarge("the body is larger than what is taken here"),
}
_UNAUTHORIZED = 401


def request_id(scope: Scope) -> str:
    """The id of this request, made when first asked for."""
    state = scope.setdefault("state", {})
    known = state.get("request_id")
    if not isinstance(known, str):
        known = secrets.token_hex(8)
        state["request_id"] = known
    return known


def error_of(request: Request[Any, Any, Any], error: Exception) -> errors.HashsealError:
    """Any exception of a route as one of ours; what nobody foresaw goes into the log."""
    if isinstance(error, errors.HashsealError):
        return error
    if isinstance(error, HTTPException):
        fallback = errors.InvalidRequest("the request cannot be taken as it is")
        return _BY_STATUS.get(error.status_code, fallback)
    scope: Any = request.scope
    request.app.state.log.error("internal", request_id=request_id(scope), exc_info=error)
    return errors.Internal("something failed inside the gateway")


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to any exception of a route of the API."""
    scope: Any = request.scope
    identity = request_id(scope)
    shown = error_of(request, error)
    row = problem_of(shown)
    scope["state"]["problem"] = row.code
    headers = {"X-Request-Id": identity}
    if row.retryable:
        headers["Retry-After"] = RETRY_AFTER
    if row.status == _UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, HTTPException) and error.headers and "allow" in error.headers:
        headers["Allow"] = error.headers["allow"]
    body = msgspec.json.encode(details_of(shown, identity))
    return Response(body, status_code=row.status, media_type=MEDIA_TYPE, headers=headers)
