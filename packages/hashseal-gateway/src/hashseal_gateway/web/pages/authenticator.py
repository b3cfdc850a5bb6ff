"""A user's own authenticator: taken into use with its code, removed with password and code."""

from __future__ import annotations

import io
from typing import Any

import segno
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from markupsafe import Markup

from hashseal_core.errors import HashsealError
from hashseal_gateway.users.model import User
from hashseal_gateway.web.pages.profile import REFUSED, code_of, prove
from hashseal_gateway.web.pages.rendering import page, redirection
from hashseal_gateway.web.pages.visitors import Visitor, form_of, set_session, visitor_of
from hashseal_gateway.web.parts import AnyRequest, Parts


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get("/profile/totp")
    async def propose_totp(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request)
        user = await parts.users.find(visitor.caller.name)
        if user.has_totp:
            return redirection("/profile")
        _, _, sealed = await parts.users.propose_totp(user.name)
        return _totp_page(parts, visitor, user, sealed)

    @post("/profile/totp")
    async def confirm_totp(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request)
        form = await form_of(parts, visitor)
        user = await parts.users.find(visitor.caller.name)
        if user.has_totp:  # of whoever confirmed it, every other session has ended
            return redirection("/profile")
        sealed = form.text("sealed")
        parts.users.proposed_totp(user, sealed)
        try:
            await parts.sessions.prove(
                user.name, form.secret("password"), None, parts.front.address_of(request)
            )
            await parts.users.confirm_totp(user.name, sealed, code_of(form))
        except REFUSED as error:
            return _totp_page(parts, visitor, user, sealed, status=400, problem=error)
        answer = redirection("/profile?said=totp")
        set_session(parts, request, answer, await parts.sessions.begin(visitor.caller))
        return answer

    @post("/profile/totp/remove")
    async def remove_totp(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request)
        form = await form_of(parts, visitor)
        try:
            await prove(parts, visitor, form)
            await parts.users.remove_totp(visitor.caller.name)
        except REFUSED as error:
            user = await parts.users.find(visitor.caller.name)
            return page(visitor, "profile.html", status=400, user=user, problem=error)
        return redirection("/profile?said=totp-removed")

    return [propose_totp, confirm_totp, remove_totp]


def _totp_page(
    parts: Parts,
    visitor: Visitor,
    user: User,
    sealed: str,
    *,
    status: int = 200,
    problem: HashsealError | None = None,
) -> Response[bytes]:
    secret, address = parts.users.proposed_totp(user, sealed)
    spaced = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    return page(
        visitor,
        "totp.html",
        status=status,
        problem=problem,
        sealed=sealed,
        secret=spaced,
        picture=qr_code(address),
    )


def qr_code(text: str) -> Markup:
    """The text as a QR code: SVG without styles of its own, black on whatever is behind."""
    out = io.BytesIO()
    segno.make(text, error="m").save(
        out,
        kind="svg",
        xmldecl=False,
        svgns=True,
        nl=False,
        border=0,
        omitsize=True,
        svgclass=None,
        lineclass=None,
    )
    return Markup(out.getvalue().decode())  # noqa: S704 - made of modules, not of the text
