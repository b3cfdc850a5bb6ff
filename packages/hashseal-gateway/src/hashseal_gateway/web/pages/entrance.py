"""Logging in and out."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from hashseal_core.errors import Denied, HashsealError, RateLimited, TokenInvalid
from hashseal_gateway.web.pages import visitors
from hashseal_gateway.web.pages.rendering import page, redirection
from hashseal_gateway.web.pages.visitors import LOG_IN
from hashseal_gateway.web.parts import AnyRequest, Parts

_STATUS: dict[type[HashsealError], int] = {TokenInvalid: 403, Denied: 403, RateLimited: 429}


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get(LOG_IN)
    async def show_log_in(request: AnyRequest) -> Response[Any]:
        there = visitors.next_address(request.query_params.get("next", "/"))
        name = visitors.cookie_name(parts, request)
        if await parts.sessions.find(request.cookies.get(name)) is not None:
            return redirection(there)
        return _log_in_page(parts, request, there)

    @post(LOG_IN)
    async def log_in(request: AnyRequest) -> Response[Any]:
        form = await visitors.read_form(request)
        there = visitors.next_address(form.text("next") or "/")
        name = form.text("name")
        try:
            visitors.require_visit(parts, request, form)
            secret = await parts.sessions.log_in(
                name,
                form.secret("password"),
                form.text("code").replace(" ", ""),
                parts.front.address_of(request),
            )
        except (TokenInvalid, Denied, RateLimited) as error:
            request.scope["state"]["problem"] = error.code
            return _log_in_page(parts, request, there, name=name, problem=error)
        if (old := request.cookies.get(visitors.cookie_name(parts, request))) is not None:
            await parts.sessions.end(old)
        answer = redirection(there)
        visitors.set_session(parts, request, answer, secret)
        return answer

    @post("/logout")
    async def log_out(request: AnyRequest) -> Response[Any]:
        visitor = await visitors.visitor_of(parts, request, before_password=True)
        await visitors.form_of(parts, visitor)
        await parts.sessions.end(visitor.secret)
        answer = redirection(f"{LOG_IN}?said=logged-out")
        visitors.unset_session(parts, request, answer)
        return answer

    return [show_log_in, log_in, log_out]


def _log_in_page(
    parts: Parts,
    request: AnyRequest,
    there: str,
    *,
    name: str = "",
    problem: HashsealError | None = None,
) -> Response[bytes]:
    visit = visitors.visit_of(parts, request)
    headers = {}
    if isinstance(problem, RateLimited):
        headers["Retry-After"] = str(problem.seconds)
    answer = page(
        None,
        "login.html",
        status=200 if problem is None else _STATUS[type(problem)],
        headers=headers,
        token=parts.sessions.form_token(visit),
        there=there,
        name=name,
        problem=problem,
        said="You are logged out." if request.query_params.get("said") == "logged-out" else None,
    )
    visitors.set_visit(parts, request, answer, visit)
    return answer
