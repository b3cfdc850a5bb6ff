"""Users: who may log in, and as what."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hashseal_core.errors import InvalidRequest, InvalidValue
from hashseal_gateway.users.model import Permission, Role, User
from hashseal_gateway.web.pages.rendering import page, redirection
from hashseal_gateway.web.pages.visitors import Form, Visitor, form_of, visitor_of
from hashseal_gateway.web.parts import AnyRequest, Parts

_SAID = {
    "role": "The role is changed, from the next page on.",
    "disabled": "Disabled. Every log-in of this user has ended.",
    "enabled": "Enabled. The password is that of before.",
    "totp-removed": "No code is asked for any more.",
}


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get("/users")
    async def list_users(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.MANAGE)
        return await _users_page(parts, visitor)

    @post("/users")
    async def create_user(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.MANAGE)
        form = await form_of(parts, visitor)
        try:
            user, password = await parts.users.create_user(
                form.text("name"), role_of(form), temporary=True
            )
        except InvalidRequest as error:
            return await _users_page(parts, visitor, status=400, problem=error, typed=form.values())
        return page(visitor, "password.html", user=user, password=password, created=True)

    @get("/users/{name:str}")
    async def show_user(request: AnyRequest, name: FromPath[str]) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.MANAGE)
        user = await parts.users.find(name)
        said = _SAID.get(request.query_params.get("said", ""))
        return _user_page(visitor, user, said=said)

    @post("/users/{name:str}/{change:str}")
    async def change_user(
        request: AnyRequest, name: FromPath[str], change: FromPath[str]
    ) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.MANAGE)
        form = await form_of(parts, visitor)
        user = await parts.users.find(name)
        try:
            if change == "password":
                password = await parts.users.set_password(user.name, temporary=True)
                await parts.sessions.allow(user.name)
                return page(visitor, "password.html", user=user, password=password, created=False)
            done = await _change(parts, user, change, form)
        except InvalidRequest as error:
            return _user_page(visitor, user, status=400, problem=error)
        return redirection(f"/users/{user.name}?said={done}")

    return [list_users, create_user, show_user, change_user]


def role_of(form: Form) -> Role:
    """The role that was chosen.

    Raises:
        InvalidValue: there is no such role.
    """
    try:
        return Role(form.text("role"))
    except ValueError as error:
        raise InvalidValue("there is no such role", field="role") from error


async def _change(parts: Parts, user: User, change: str, form: Form) -> str:
    """One change of a user; the word for what was done."""
    users = parts.users
    if change == "role":
        await users.change(user.name, role=role_of(form))
        return "role"
    if change == "disable":
        await users.change(user.name, disabled=True)
        return "disabled"
    if change == "enable":
        await users.change(user.name, disabled=False)
        return "enabled"
    if change == "totp":
        await users.remove_totp(user.name)
        return "totp-removed"
    raise InvalidValue("a user is not changed so")


async def _users_page(
    parts: Parts,
    visitor: Visitor,
    *,
    status: int = 200,
    typed: dict[str, str] | None = None,
    **values: Any,
) -> Response[bytes]:
    given = {"name": "", "role": Role.OPERATOR.value} | (typed or {})
    users = await parts.users.users()
    return page(
        visitor, "users.html", status=status, users=users, roles=list(Role), given=given, **values
    )


def _user_page(
    visitor: Visitor, user: User, *, status: int = 200, **values: Any
) -> Response[bytes]:
    myself = user.id == visitor.caller.id
    return page(
        visitor, "user.html", status=status, user=user, roles=list(Role), myself=myself, **values
    )
