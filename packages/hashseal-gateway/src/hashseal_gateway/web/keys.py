"""`/v1/keys`: API keys of business systems; for whoever manages them.

The text of a key is in the one answer that it is made by.
"""

from __future__ import annotations

from datetime import UTC, datetime

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hashseal_core.errors import InvalidValue
from hashseal_gateway.users.model import ApiKey, Permission
from hashseal_gateway.web import wire
from hashseal_gateway.web.parts import AnyRequest, Parts, caller_of, json
from hashseal_gateway.web.requests import page, page_of, read

_CREATED = 201


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    async def managing(request: AnyRequest) -> None:
        (await caller_of(parts, request)).require(Permission.MANAGE)

    @get("/v1/keys")
    async def list_keys(request: AnyRequest) -> Response[bytes]:
        await managing(request)
        after, limit = page_of(request)
        found, more = page(await parts.users.keys(after, limit + 1), limit)
        return json(request, wire.KeyViews([view_of(one) for one in found], more))

    @post("/v1/keys", status_code=_CREATED)
    async def create_key(request: AnyRequest) -> Response[bytes]:
        await managing(request)
        asked = await read(request, wire.CreateKey)
        key, text = await parts.users.create_key(
            asked.name,
            role=asked.role,
            seals=None if asked.seals is None else frozenset(asked.seals),
            expires_at=_utc(asked.expires_at),
        )
        headers = {"Location": f"/v1/keys/{key.id}"}
        return json(request, wire.NewKey(view_of(key), text), _CREATED, headers)

    @get("/v1/keys/{key_id:str}")
    async def show_key(request: AnyRequest, key_id: FromPath[str]) -> Response[bytes]:
        await managing(request)
        return json(request, view_of(await parts.users.find_key(key_id)))

    @delete("/v1/keys/{key_id:str}", status_code=200)
    async def revoke_key(request: AnyRequest, key_id: FromPath[str]) -> Response[bytes]:
        await managing(request)
        await parts.users.revoke_key(key_id)
        return json(request, view_of(await parts.users.find_key(key_id)))

    return [list_keys, create_key, show_key, revoke_key]


def view_of(key: ApiKey) -> wire.KeyView:
    """What is told of a key: not its text, which nobody has but its owner."""
    return wire.KeyView(
        id=key.id,
        name=key.name,
        role=key.role,
        created_at=key.created_at,
        seals=None if key.seals is None else sorted(key.seals),
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        used_at=key.used_at,
    )


def _utc(at: datetime | None) -> datetime | None:
    try:
        return None if at is None else at.astimezone(UTC)
    except OverflowError as error:
        raise InvalidValue("there is no such day in UTC", field="expires_at") from error
