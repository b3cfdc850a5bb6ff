"""Every error as problem details (RFC 9457), rendered in one place; nothing is echoed."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from hashseal_core import errors, protocol
from hashseal_core.problems import problem_of

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "2"
_BY_STATUS: dict[int, errors.HashsealError] = {
    401: errors.TokenMissing("send Authorization: Bearer with an API token"),
    404: errors.NotFound("there is nothing at this address"),
    405: errors.MethodNotAllowed("this address does not take that method"),
    413: errors.BodyTooLarge("a body has 256 KiB at most"),
}


def request_id(request: Request[Any, Any, Any]) -> str:
    """The id of this request, made when first asked for."""
    state = request.scope.setdefault("state", {})
    known = state.get("request_id")
    if not isinstance(known, str):
        known = secrets.token_hex(8)
        state["request_id"] = known
    return known


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to any exception."""
    request_id(request)
    if isinstance(error, errors.HashsealError):
        shown = error
    elif isinstance(error, HTTPException):
        fallback = errors.InvalidRequest("the request cannot be taken as it is")
        shown = _BY_STATUS.get(error.status_code, fallback)
    else:
        shown = errors.Internal("something failed inside; nothing was charged")
        request.app.state.log.error("internal", request_id=request_id(request), exc_info=error)
    row = problem_of(shown)
    request.scope["state"]["problem"] = row.code
    body = protocol.ProblemDetails(
        type=row.type,
        title=row.title,
        status=row.status,
        code=row.code,
        detail=shown.detail,
        action=row.action,
        request_id=request_id(request),
        field=shown.field,
        retryable=row.retryable,
    )
    headers = {"X-Request-Id": body.request_id}
    if isinstance(shown, errors.RateLimited):
        headers |= {
            "Retry-After": str(shown.seconds),
            "RateLimit-Limit": str(shown.limit),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(shown.seconds),
        }
    elif row.retryable:
        headers["Retry-After"] = RETRY_AFTER
    if row.status == 401:  # noqa: PLR2004
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, HTTPException) and error.headers and "allow" in error.headers:
        headers["Allow"] = error.headers["allow"]
    return Response(
        msgspec.json.encode(body), status_code=row.status, media_type=MEDIA_TYPE, headers=headers
    )
