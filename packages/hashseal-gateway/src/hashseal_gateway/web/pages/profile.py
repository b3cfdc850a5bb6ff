"""What users see and change of themselves: the password."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler

from hashseal_core.errors import (
    HashsealError,
    InvalidRequest,
    InvalidValue,
    RateLimited,
    TokenInvalid,
)
from hashseal_gateway.web.pages.rendering import page, redirection
from hashseal_gateway.web.pages.visitors import (
    NEW_PASSWORD,
    Form,
    Visitor,
    form_of,
    set_session,
    visitor_of,
)
from hashseal_gateway.web.parts import AnyRequest, Parts

_SAID = {
    "password": "The password is changed. Every other log-in of yours has ended.",
    "totp": "From now on a code of your authenticator is asked for when you log in. "
    "Every other log-in of yours has ended.",
    "totp-removed": "No code is asked for any more.",
}
REFUSED = (InvalidRequest, TokenInvalid, RateLimited)
"""What the form is shown again for, with the reason."""


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get("/profile")
    async def show_profile(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request)
        said = _SAID.get(request.query_params.get("said", ""))
        user = await parts.users.find(visitor.caller.name)
        return page(visitor, "profile.html", user=user, said=said)

    @get(NEW_PASSWORD)
    async def show_password(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request, before_password=True)
        return await _password_page(parts, visitor)

    @post(NEW_PASSWORD)
    async def set_password(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request, before_password=True)
        form = await form_of(parts, visitor)
        new = form.secret("new_password")
        try:
            _require_another(form)
            await prove(parts, visitor, form)
            await parts.users.set_password(visitor.caller.name, new)
        except REFUSED as error:
            return await _password_page(parts, visitor, status=400, problem=error)
        answer = redirection("/profile?said=password")
        set_session(parts, request, answer, await parts.sessions.begin(visitor.caller))
        return answer

    return [show_profile, show_password, set_password]


def _require_another(form: Form) -> None:
    new = form.secret("new_password")
    if new != form.secret("repeated"):
        raise InvalidValue("the new password was not repeated as it is", field="repeated")
    if new == form.secret("password"):
        raise InvalidValue("choose another password than the one of now", field="new_password")


async def prove(parts: Parts, visitor: Visitor, form: Form) -> None:
    """It is this user who sits there, not somebody who found the browser open.

    Raises:
        TokenInvalid, RateLimited: it is not, or there were too many wrong tries.
    """
    address = parts.front.address_of(visitor.request)
    await parts.sessions.prove(visitor.caller.name, form.secret("password"), code_of(form), address)


def code_of(form: Form) -> str:
    """The authenticator's code, as people write it."""
    return form.text("code").replace(" ", "")


async def _password_page(
    parts: Parts, visitor: Visitor, *, status: int = 200, problem: HashsealError | None = None
) -> Response[bytes]:
    user = await parts.users.find(visitor.caller.name)
    return page(visitor, "new_password.html", status=status, user=user, problem=problem)
