"""The signing log: search, one entry, and the same as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlencode

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Stream

from hashseal_core.errors import DocumentNotFound, HashsealError, InvalidRequest, NotFound
from hashseal_core.problem import Problem
from hashseal_core.problems import error_from, problem_of
from hashseal_gateway.documents.model import Document
from hashseal_gateway.log.model import SIGNED, Entry, Search
from hashseal_gateway.users.model import Permission
from hashseal_gateway.web.pages.rendering import page
from hashseal_gateway.web.pages.visitors import Visitor, visitor_of
from hashseal_gateway.web.parts import AnyRequest, Parts
from hashseal_gateway.web.reading import csv_of, search_of

PAGE = 50
FILTERS = (
    "since", "until", "caller_name", "caller", "seal", "external_id", "digest", "outcome",
)  # fmt: skip
_LARGEST = (1 << 63) - 1


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get("/log")
    async def show_log(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request)
        asked, names = _asked(request), await parts.seals.names()
        entries: list[Entry] = []
        problem: HashsealError | None = None
        try:
            search = _search(asked, names, visitor)
            entries = await parts.log_store.find(search, PAGE + 1)
        except InvalidRequest as error:
            problem = error
        filters = {name: asked[name] for name in FILTERS if name in asked}
        more = len(entries) > PAGE
        return page(
            visitor,
            "log.html",
            status=200 if problem is None else 400,
            problem=problem,
            entries=[(one, reason_of(one)) for one in entries[:PAGE]],
            asked={name: asked.get(name, "") for name in FILTERS},
            names=names,
            filtered=bool(filters),
            later="before" in asked,
            everything=visitor.may(Permission.SEE_EVERYTHING),
            newest=f"/log?{urlencode(filters)}",
            older=f"/log?{urlencode({**filters, 'before': entries[PAGE - 1].number})}"
            if more
            else None,
            csv=f"/log.csv?{urlencode(filters)}",
        )

    @get("/log.csv")
    async def fetch_log(request: AnyRequest) -> Stream:
        visitor = await visitor_of(parts, request)
        search = _search(_asked(request), await parts.seals.names(), visitor)
        return Stream(
            csv_of(parts, search),
            media_type="text/csv; charset=utf-8; header=present",
            headers={"Content-Disposition": 'attachment; filename="signing-log.csv"'},
        )

    @get("/log/{number:int}")
    async def show_entry(request: AnyRequest, number: FromPath[int]) -> Response[Any]:
        visitor = await visitor_of(parts, request)
        entry = await _entry(parts, visitor, number)
        document = await _document(parts, visitor, entry)
        return page(
            visitor,
            "log_entry.html",
            entry=entry,
            reason=reason_of(entry),
            document=document,
            names=await parts.seals.names(),
        )

    return [show_log, fetch_log, show_entry]


def reason_of(entry: Entry) -> Problem | None:
    """Why it was not signed."""
    return None if entry.outcome == SIGNED else problem_of(error_from(entry.outcome, ""))


def _asked(request: AnyRequest) -> dict[str, str]:
    """The query without fields that were left empty, as browsers send them."""
    query = cast("Mapping[str, str]", request.query_params)
    return {name: value.strip() for name, value in query.items() if value.strip()}


def _search(asked: Mapping[str, str], names: Mapping[str, str], visitor: Visitor) -> Search:
    """What is asked for; a seal may be called by its name."""
    found = search_of(asked, visitor.caller)
    by_name = {name: identity for identity, name in names.items()}
    return replace(found, seal_id=by_name.get(found.seal_id or "", found.seal_id))


async def _entry(parts: Parts, visitor: Visitor, number: int) -> Entry:
    if not 0 < number < _LARGEST:
        raise NotFound("there is no such entry in the log")
    mine = search_of({}, visitor.caller)
    found = await parts.log_store.find(replace(mine, before=number + 1), 1)
    if not found or found[0].number != number:
        raise NotFound("there is no such entry in the log")
    return found[0]


async def _document(parts: Parts, visitor: Visitor, entry: Entry) -> Document | None:
    """What is still remembered of the document."""
    mine = None if visitor.may(Permission.SEE_EVERYTHING) else visitor.caller.id
    try:
        return await parts.document_store.find(entry.document_id, mine)
    except DocumentNotFound:
        return None
