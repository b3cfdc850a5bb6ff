"""Seals and the signing log."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime

from litestar import Response, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Stream

from hashseal_core import protocol
from hashseal_core.errors import (
    InvalidValue,
    SealNotFound,
    UnknownField,
)
from hashseal_gateway.log.model import COLUMNS, Entry, Search, cell
from hashseal_gateway.seals.model import SealDefaults, SealOptions
from hashseal_gateway.users.model import Caller, Permission
from hashseal_gateway.web import wire
from hashseal_gateway.web.parts import AnyRequest, Parts, caller_of, json, scope_of
from hashseal_gateway.web.problems import request_id
from hashseal_gateway.web.requests import MOST, limit_of, number, read

_SEARCHED = frozenset(
    {
        "since",
        "until",
        "caller",
        "caller_name",
        "seal",
        "external_id",
        "digest",
        "outcome",
        "before",
        "limit",
        "format",
    }
)


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get("/v1/seals")
    async def list_seals(request: AnyRequest) -> Response[bytes]:
        caller = await caller_of(parts, request)
        caller.require(Permission.SEE_SEALS)
        known = await parts.seals.all(caller.seals)
        return json(request, wire.SealViews([_view(seal, said) for seal, said in known]))

    @put("/v1/seals/{seal_id:str}/defaults")
    async def set_defaults(request: AnyRequest, seal_id: FromPath[str]) -> Response[bytes]:
        caller = await caller_of(parts, request)
        caller.require(Permission.SET_SEALS)
        if caller.seals is not None and seal_id not in caller.seals:
            raise SealNotFound("the account has no such seal", field="seal_id")
        asked = await read(request, wire.SetDefaults)
        await parts.seals.set_defaults(seal_id, asked.name, asked.defaults, caller.id)
        known = await parts.seals.all(None)
        seal, said = next(pair for pair in known if pair[0].id == seal_id)
        return json(request, _view(seal, said))

    @get("/v1/log")
    async def search_log(request: AnyRequest) -> Response[bytes] | Stream:
        caller = await caller_of(parts, request)
        query = dict(request.query_params)
        search = search_of(query, caller)
        if query.get("format") == "csv" or "text/csv" in request.headers.get("accept", ""):
            headers = {
                "X-Request-Id": request_id(scope_of(request)),
                "Content-Disposition": 'attachment; filename="signing-log.csv"',
            }
            media_type = "text/csv; charset=utf-8; header=present"
            return Stream(csv_of(parts, search), media_type=media_type, headers=headers)
        limit = limit_of(query)
        entries = await parts.log_store.find(search, limit + 1)
        page = [wire.LogEntry(**asdict(one)) for one in entries[:limit]]
        return json(request, wire.LogPage(page, page[-1].number if len(entries) > limit else None))

    return [list_seals, set_defaults, search_log]


def _view(seal: protocol.Seal, said: SealDefaults | None) -> wire.SealView:
    return wire.SealView(
        id=seal.id,
        kind=seal.kind,
        status=seal.status,
        subject=seal.subject,
        valid_until=seal.valid_until,
        levels=seal.levels,
        name=said.name if said else None,
        defaults=said.options if said else SealOptions(),
    )


def search_of(query: Mapping[str, str], caller: Caller) -> Search:
    """What a query asks of the log; who may not see everything sees what was its own.

    Raises:
        UnknownField, InvalidValue: the query cannot be taken.
    """
    if query.keys() - _SEARCHED:
        raise UnknownField("the log is not searched by that", field=min(query.keys() - _SEARCHED))
    for name, value in query.items():
        if "\0" in value:  # which PostgreSQL takes for no text
            raise InvalidValue("there is a control character in it", field=name)
    digest = query.get("digest")
    wanted = query.get("caller")
    if not caller.may(Permission.SEE_EVERYTHING):
        wanted = caller.id
    return Search(
        since=_moment(query, "since"),
        until=_moment(query, "until"),
        caller_id=wanted,
        caller_name=query.get("caller_name"),
        seal_id=query.get("seal"),
        external_id=query.get("external_id"),
        digest=None if digest is None else digest.removeprefix("sha-256=").lower(),
        outcome=query.get("outcome"),
        before=number(query, "before", 0) or None,
    )


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidValue("times look like 2026-01-31T12:00:00Z", field=name) from error


async def csv_of(parts: Parts, search: Search) -> AsyncIterator[bytes]:
    """Every entry, page by page (RFC 4180)."""
    yield _lines([COLUMNS])
    while True:
        entries = await parts.log_store.find(search, MOST)
        if entries:
            yield _lines([_row(one) for one in entries])
        if len(entries) < MOST:
            return
        search = replace(search, before=entries[-1].number)


def _row(entry: Entry) -> tuple[str, ...]:
    return tuple(cell(getattr(entry, name)) for name in COLUMNS)


def _lines(rows: list[tuple[str, ...]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()
