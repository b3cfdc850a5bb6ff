"""API keys of business systems."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hashseal_core import protocol
from hashseal_core.errors import HashsealError, InvalidRequest, InvalidValue
from hashseal_gateway.seals.model import SealDefaults
from hashseal_gateway.users.model import Permission, Role
from hashseal_gateway.web.pages.people import role_of
from hashseal_gateway.web.pages.rendering import page, redirection
from hashseal_gateway.web.pages.seals import promptly
from hashseal_gateway.web.pages.visitors import Form, Visitor, form_of, visitor_of
from hashseal_gateway.web.parts import AnyRequest, Parts

_SAID = {"revoked": "Revoked. Nobody gets in with that key any more."}


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get("/keys")
    async def list_keys(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.MANAGE)
        said = _SAID.get(request.query_params.get("said", ""))
        return await _keys_page(parts, visitor, said=said)

    @post("/keys")
    async def create_key(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.MANAGE)
        form = await form_of(parts, visitor)
        try:
            key, text = await parts.users.create_key(
                form.text("name"),
                role=role_of(form),
                seals=_seals_of(form),
                expires_at=_end_of(form, parts.now()),
            )
        except InvalidRequest as error:
            return await _keys_page(
                parts,
                visitor,
                status=400,
                problem=error,
                typed=form.values(),
                ticked=form.texts("seal"),
            )
        return page(visitor, "key.html", key=key, text=text)

    @post("/keys/{identity:str}/revoke")
    async def revoke_key(request: AnyRequest, identity: FromPath[str]) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.MANAGE)
        await form_of(parts, visitor)
        await parts.users.revoke_key(identity)
        return redirection("/keys?said=revoked")

    return [list_keys, create_key, revoke_key]


def _seals_of(form: Form) -> frozenset[str] | None:
    if form.text("which") != "some":
        return None
    chosen = frozenset(form.texts("seal"))
    if not chosen:
        raise InvalidValue("tick the seals that the key may use, or allow every seal", field="seal")
    return chosen


def _end_of(form: Form, now: datetime) -> datetime | None:
    """The end of the last day on which the key is good, UTC."""
    text = form.text("last_day")
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidValue("days look like 2026-12-31", field="last_day") from error
    if day < now.date():
        raise InvalidValue("the last day is over already", field="last_day")
    if day == date.max:
        raise InvalidValue("leave the last day empty for a key without an end", field="last_day")
    return datetime.combine(day, time(), UTC) + timedelta(days=1)


async def _keys_page(
    parts: Parts,
    visitor: Visitor,
    *,
    status: int = 200,
    typed: dict[str, str] | None = None,
    ticked: list[str] | None = None,
    **values: Any,
) -> Response[bytes]:
    seals: list[tuple[protocol.Seal, SealDefaults | None]] = []
    away: HashsealError | None = None
    try:
        seals = await promptly(parts.seals.all(None))
    except HashsealError as error:
        away = error
    names = {seal.id: said.name for seal, said in seals if said is not None and said.name}
    given = {"name": "", "role": Role.OPERATOR.value, "which": "all", "last_day": ""}
    return page(
        visitor,
        "keys.html",
        status=status,
        keys=await parts.users.keys(),
        now=parts.now(),
        roles=list(Role),
        seals=seals,
        names=names,
        away=away,
        given=given | (typed or {}),
        ticked=ticked or [],
        **values,
    )
