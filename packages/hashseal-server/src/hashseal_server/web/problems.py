"""Every error as problem details (RFC 9457), rendered in one place; nothing is echoed."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from structlog.typing import FilteringBoundLogger

from hashseal_core import errors
from hashseal_core.problems import details_of, problem_of
from hashseal_server.infra.request_id import Scope, request_id

__all__ = ["Scope", "on_error", "render", "request_id"]
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "2"
_BY_STATUS: dict[int, errors.HashsealError] = {
    401: errors.TokenMissing("send Authorization: Bearer with an API token"),
    404: errors.NotFound("there is nothing at this address"),
    405: errors.MethodNotAllowed("this address does not take that method"),
    413: errors.BodyTooLarge("a body has 256 KiB at most"),
}


def render(
    error: Exception, scope: Scope, log: FilteringBoundLogger
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to any exception."""
    identity = request_id(scope)
    if isinstance(error, errors.HashsealError):
        shown = error
    elif isinstance(error, HTTPException):
        fallback = errors.InvalidRequest("the request cannot be taken as it is")
        shown = _BY_STATUS.get(error.status_code, fallback)
    else:
        shown = errors.Internal("something failed inside; nothing was charged")
        log.error("internal", request_id=identity, exc_info=error)
    row = problem_of(shown)
    scope["state"]["problem"] = row.code
    body = details_of(shown, identity)
    headers = {"X-Request-Id": identity}
    if isinstance(shown, errors.RateLimited):
        headers |= {
            "Retry-After": str(shown.seconds),
            "RateLimit-Limit": str(shown.limit),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(shown.seconds),
        }
    elif row.retryable:
        headers["Retry-After"] = RETRY_AFTER
    if isinstance(shown, errors.ScopeMissing):  # RFC 6750, 3.1
        headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{shown.scope}"'
    elif isinstance(shown, errors.TokenInvalid):
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    elif row.status == 401:  # noqa: PLR2004
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, HTTPException) and error.headers and "allow" in error.headers:
        headers["Allow"] = error.headers["allow"]
    return row.status, headers, msgspec.json.encode(body)


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to any exception of a route."""
    status, headers, body = render(error, request.scope, request.app.state.log)  # type: ignore[arg-type]
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)
