"""Seals and the signing log."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime

import msgspec
from litestar import Response, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Stream

from hashseal_core import protocol
from hashseal_core.errors import (
    InvalidValue,
    MalformedRequest,
    SealNotFound,
    UnknownField,
    UnsupportedMediaType,
)
from hashseal_gateway.log.model import COLUMNS, Entry, Search, cell
from hashseal_gateway.seals.model import SealDefaults, SealOptions
from hashseal_gateway.users.model import Caller, Permission
from hashseal_gateway.web import wire
from hashseal_gateway.web.parts import AnyRequest, Parts, caller_of, json, scope_of
from hashseal_gateway.web.problems import request_id

_PAGE, _MOST = 100, 1000
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
_BODY = 16 << 10


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
        asked = await _body(request)
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
        limit = _number(query, "limit", _PAGE)
        if not 1 <= limit <= _MOST:
            raise InvalidValue(f"limit is 1 to {_MOST}", field="limit")
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


async def _body(request: AnyRequest) -> wire.SetDefaults:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise UnsupportedMediaType("send application/json")
    octets = bytearray()
    async for chunk in request.stream():
        octets += chunk
        if len(octets) > _BODY:
            raise InvalidValue("a body has 16 KiB at most here")
    return read_defaults(bytes(octets))


def read_defaults(octets: bytes) -> wire.SetDefaults:
    """The body of `PUT /v1/seals/{id}/defaults`.

    Raises:
        MalformedRequest, UnknownField, InvalidValue: without a word of what was sent.
    """
    try:
        return msgspec.json.decode(octets, type=wire.SetDefaults)
    except msgspec.ValidationError as error:
        if "unknown field" in str(error):
            raise UnknownField("the body has a field that this operation does not have") from error
        raise InvalidValue("a field is missing, or has a value that is not allowed") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest("the body is not one JSON object") from error


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
        before=_number(query, "before", 0) or None,
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


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 18:  # noqa: PLR2004 - fits 64 bits
        raise InvalidValue("this is a number", field=name)
    return int(text)


async def csv_of(parts: Parts, search: Search) -> AsyncIterator[bytes]:
    """Every entry, page by page (RFC 4180)."""
    yield _lines([COLUMNS])
    while True:
        entries = await parts.log_store.find(search, _MOST)
        if entries:
            yield _lines([_row(one) for one in entries])
        if len(entries) < _MOST:
            return
        search = replace(search, before=entries[-1].number)


def _row(entry: Entry) -> tuple[str, ...]:
    return tuple(cell(getattr(entry, name)) for name in COLUMNS)


def _lines(rows: list[tuple[str, ...]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()
