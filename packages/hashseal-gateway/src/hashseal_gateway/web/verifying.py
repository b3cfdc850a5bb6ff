"""`POST /v1/verify`: a report on a signed PDF, as JSON or as a page that stands by itself."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

from litestar import Response, post
from litestar.datastructures.headers import Accept
from litestar.handlers import HTTPRouteHandler
from markupsafe import Markup

from hashseal_gateway.users.model import Permission
from hashseal_gateway.web import wire
from hashseal_gateway.web.examining import examined, words_of
from hashseal_gateway.web.pages.assets import assets
from hashseal_gateway.web.pages.rendering import HEADERS, HTML, environment
from hashseal_gateway.web.parts import AnyRequest, Parts, caller_of, json, scope_of
from hashseal_gateway.web.problems import request_id
from hashseal_gateway.web.report_words import ReportWords

JSON_TYPE, HTML_TYPE = "application/json", "text/html"
_STYLE = "report.css"


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handler."""

    @post("/v1/verify", status_code=200)
    async def verify(request: AnyRequest) -> Response[bytes]:
        caller = await caller_of(parts, request)
        caller.require(Permission.VERIFY)
        found = await examined(parts, caller, request)
        if wants_page(request.headers.get("accept", "*/*")):
            return _page(request, words_of(parts, found))
        received = found.received
        answer = wire.Verification(received.digest, received.size, found.report)
        return json(request, answer, headers={"Vary": "Accept"})

    return [verify]


def wants_page(accept: str) -> bool:
    """The header asks for HTML rather than JSON (RFC 9110, 12.5.1); JSON when it says neither."""
    return Accept(accept).best_match([JSON_TYPE, HTML_TYPE], default=JSON_TYPE) == HTML_TYPE


@lru_cache(maxsize=1)
def _style() -> tuple[str, str]:
    """What the page is drawn with, and the source for its policy that allows this and no other."""
    found = assets().find(_STYLE)
    octets = b"" if found is None else found.octets
    digest = base64.b64encode(hashlib.sha256(octets).digest()).decode()
    return octets.decode(), f"'sha256-{digest}'"


def _page(request: AnyRequest, report: ReportWords) -> Response[bytes]:
    style, allowed = _style()
    template = environment().get_template("report.html")
    text = template.render(report=report, style=Markup(style))  # noqa: S704 - a file of ours
    policy = f"default-src 'none'; style-src {allowed}; base-uri 'none'; frame-ancestors 'none'"
    headers = {
        **HEADERS,
        "Content-Security-Policy": f"{policy}; form-action 'none'; sandbox",
        "Vary": "Accept",
        "X-Request-Id": request_id(scope_of(request)),
    }
    return Response(text.encode(), media_type=HTML, headers=headers, status_code=200)
