"""What goes wrong on a page, as a page: the problem's words, and what to do."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from litestar import Response

from hashseal_core.errors import Denied, TokenMissing
from hashseal_core.problems import problem_of
from hashseal_gateway.web import problems
from hashseal_gateway.web.pages.rendering import page, redirection, stamp
from hashseal_gateway.web.pages.visitors import (
    LOG_IN,
    NEW_PASSWORD,
    NotLoggedIn,
    PasswordIsTemporary,
    Visitor,
)
from hashseal_gateway.web.parts import AnyRequest
from hashseal_gateway.web.problems import RETRY_AFTER, error_of, request_id


def on_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """The answer to any exception of a page."""
    if problems.MEDIA_TYPE in request.headers.get("accept", ""):  # a script of ours, not a browser
        return stamp(problems.on_error(request, _refusal(error)))
    return stamp(_answer(request, error))


def _refusal(error: Exception) -> Exception:
    """What a script is told where a browser is sent elsewhere."""
    if isinstance(error, NotLoggedIn):
        return TokenMissing("you are not logged in any more")
    if isinstance(error, PasswordIsTemporary):
        return Denied("choose a password of your own first, on the page Profile")
    return error


def _answer(request: AnyRequest, error: Exception) -> Response[Any]:
    if isinstance(error, NotLoggedIn):
        there = "" if error.address == "/" else f"?next={quote(error.address, safe='/')}"
        return redirection(LOG_IN + there)
    if isinstance(error, PasswordIsTemporary):
        return redirection(NEW_PASSWORD)
    shown = error_of(request, error)
    row = problem_of(shown)
    scope: Any = request.scope
    scope["state"]["problem"] = row.code
    visitor: Visitor | None = scope["state"].get("visitor")
    identity = request_id(scope)
    headers = {"X-Request-Id": identity}
    if row.retryable:
        headers["Retry-After"] = RETRY_AFTER
    return page(
        visitor,
        "problem.html",
        status=row.status,
        headers=headers,
        row=row,
        detail=shown.detail,
        request_id=identity,
    )
