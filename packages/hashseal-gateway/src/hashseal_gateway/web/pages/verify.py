"""The page that says whether a file is what was signed."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from hashseal_gateway.users.model import Permission
from hashseal_gateway.web.examining import examined, words_of
from hashseal_gateway.web.pages.rendering import page
from hashseal_gateway.web.pages.visitors import TOKEN, Visitor, require_token, visitor_of
from hashseal_gateway.web.parts import AnyRequest, Parts
from hashseal_gateway.web.report_words import ReportWords
from hashseal_gateway.web.upload import Taken

FIELDS = (TOKEN, "password")


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    def shown(visitor: Visitor, report: ReportWords | None) -> Response[Any]:
        return page(visitor, "verify.html", report=report, most=parts.limits.each >> 20)

    @get("/verify")
    async def show_verify(request: AnyRequest) -> Response[Any]:
        return shown(await visitor_of(parts, request, Permission.VERIFY), None)

    @post("/verify", status_code=200)
    async def verify_file(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.VERIFY)

        def allow(taken: Taken) -> None:
            require_token(parts, visitor, taken.fields.get(TOKEN, ""))

        found = await examined(parts, visitor.caller, request, fields=FIELDS, allow=allow)
        return shown(visitor, words_of(parts, found))

    return [show_verify, verify_file]
