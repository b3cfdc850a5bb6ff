"""Seals: what each looks like, the company's name for it, and where and how it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, cast, get_args

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hashseal_core import protocol
from hashseal_core.algorithms import Level
from hashseal_core.errors import InvalidRequest, SealNotFound, ServiceUnreachable
from hashseal_gateway.seals.appearance import PositionName, Style
from hashseal_gateway.seals.model import SealDefaults, SealOptions
from hashseal_gateway.users.model import Permission
from hashseal_gateway.web.pages.rendering import page, redirection
from hashseal_gateway.web.pages.sealing import appearance_of, fields_of, in_words
from hashseal_gateway.web.pages.visitors import Visitor, form_of, visitor_of
from hashseal_gateway.web.parts import AnyRequest, Parts

PROMPT_SECONDS = 8
"""What a page about seals waits for the service."""
_Answer = TypeVar("_Answer")
_SAID = {"saved": "Saved. Documents from now on are signed so, unless a request says otherwise."}


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get("/seals")
    async def list_seals(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.SEE_SEALS)
        known = await promptly(parts.seals.all(visitor.caller.seals))
        shown = [(seal, said, in_words(said)) for seal, said in known]
        return page(visitor, "seals.html", seals=shown)

    @get("/seals/{seal_id:str}")
    async def show_seal(request: AnyRequest, seal_id: FromPath[str]) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.SEE_SEALS)
        seal, said = await _find(parts, visitor, seal_id)
        done = _SAID.get(request.query_params.get("said", ""))
        return _seal_page(visitor, seal, said, said=done)

    @post("/seals/{seal_id:str}")
    async def set_seal(request: AnyRequest, seal_id: FromPath[str]) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.SET_SEALS)
        form = await form_of(parts, visitor)
        seal, said = await _find(parts, visitor, seal_id)
        try:
            options = SealOptions(
                level=form.text("level") or None,
                reason=form.text("reason") or None,
                location=form.text("location") or None,
                contact=form.text("contact") or None,
                appearance=appearance_of(form),
            )
            name = form.text("name") or None
            await promptly(parts.seals.set_defaults(seal.id, name, options, visitor.caller.id))
        except InvalidRequest as error:
            return _seal_page(visitor, seal, said, typed=form.values(), problem=error, status=400)
        return redirection(f"/seals/{seal.id}?said=saved")

    @get("/seals/{seal_id:str}/picture.svg")
    async def show_picture(request: AnyRequest, seal_id: FromPath[str]) -> Response[bytes]:
        visitor = await visitor_of(parts, request, Permission.SEE_SEALS)
        seal, _ = await _find(parts, visitor, seal_id)
        svg = await promptly(parts.service.picture(seal.id, seal.appearance_digest))
        return Response(
            svg,
            media_type="image/svg+xml",
            headers={"Cache-Control": "private, max-age=300"},
        )

    return [list_seals, show_seal, set_seal, show_picture]


async def promptly(answer: Awaitable[_Answer]) -> _Answer:
    """An answer of the service, soon or not at all.

    Raises:
        ServiceUnreachable: it takes too long.
        HashsealError: what the service raised.
    """
    try:
        async with asyncio.timeout(PROMPT_SECONDS):
            return await answer
    except TimeoutError as error:
        raise ServiceUnreachable(
            f"the signing service did not answer within {PROMPT_SECONDS} seconds"
        ) from error


async def _find(
    parts: Parts, visitor: Visitor, seal_id: str
) -> tuple[protocol.Seal, SealDefaults | None]:
    for seal, said in await promptly(parts.seals.all(visitor.caller.seals)):
        if seal.id == seal_id:
            return seal, said
    raise SealNotFound("the account has no such seal", field="seal")


def _seal_page(
    visitor: Visitor,
    seal: protocol.Seal,
    known: SealDefaults | None,
    *,
    typed: dict[str, str] | None = None,
    status: int = 200,
    **values: Any,
) -> Response[bytes]:
    return page(
        visitor,
        "seal.html",
        status=status,
        seal=seal,
        known=known,
        summary=in_words(known),
        values=fields_of(known) | (typed or {}),
        levels=[level for level in Level if level in seal.levels],
        positions=cast("tuple[str, ...]", get_args(PositionName)),
        styles=cast("tuple[str, ...]", get_args(Style)),
        may_set=visitor.may(Permission.SET_SEALS),
        **values,
    )
