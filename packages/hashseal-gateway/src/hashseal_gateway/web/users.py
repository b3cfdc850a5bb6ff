"""`/v1/users`: who may log in, and as what; for whoever manages users.

Passwords are made here, shown in one answer, and good for one log-in.
"""

from __future__ import annotations

from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hashseal_gateway.users.model import Permission, User
from hashseal_gateway.web import wire
from hashseal_gateway.web.parts import AnyRequest, Parts, caller_of, json
from hashseal_gateway.web.requests import page, page_of, read

_CREATED = 201


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    async def managing(request: AnyRequest) -> None:
        (await caller_of(parts, request)).require(Permission.MANAGE)

    @get("/v1/users")
    async def list_users(request: AnyRequest) -> Response[bytes]:
        await managing(request)
        after, limit = page_of(request)
        found, more = page(await parts.users.users(after, limit + 1), limit)
        return json(request, wire.UserViews([view_of(one) for one in found], more))

    @post("/v1/users", status_code=_CREATED)
    async def create_user(request: AnyRequest) -> Response[bytes]:
        await managing(request)
        asked = await read(request, wire.CreateUser)
        user, password = await parts.users.create_user(asked.name, asked.role, temporary=True)
        headers = {"Location": f"/v1/users/{user.name}"}
        return json(request, wire.NewPassword(view_of(user), password), _CREATED, headers)

    @get("/v1/users/{name:str}")
    async def show_user(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
        await managing(request)
        return json(request, view_of(await parts.users.find(name)))

    @patch("/v1/users/{name:str}")
    async def change_user(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
        await managing(request)
        user = await parts.users.find(name)
        asked = await read(request, wire.ChangeUser)
        await parts.users.change(user.name, role=asked.role, disabled=asked.disabled)
        return json(request, view_of(await parts.users.find(name)))

    @post("/v1/users/{name:str}/password", status_code=200)
    async def reset_password(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
        await managing(request)
        user = await parts.users.find(name)
        password = await parts.users.set_password(user.name, temporary=True)
        await parts.sessions.allow(user.name)
        return json(request, wire.NewPassword(view_of(await parts.users.find(name)), password))

    @delete("/v1/users/{name:str}/totp", status_code=200)
    async def remove_totp(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
        await managing(request)
        user = await parts.users.find(name)
        await parts.users.remove_totp(user.name)
        return json(request, view_of(await parts.users.find(name)))

    return [list_users, create_user, show_user, change_user, reset_password, remove_totp]


def view_of(user: User) -> wire.UserView:
    """What is told of a user."""
    return wire.UserView(
        id=user.id,
        name=user.name,
        role=user.role,
        created_at=user.created_at,
        has_totp=user.has_totp,
        password_temporary=user.password_temporary,
        disabled_at=user.disabled_at,
    )
