"""What requests say: bodies of JSON, numbers, pages of lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from hashseal_core import protocol
from hashseal_core.errors import (
    InvalidValue,
    MalformedRequest,
    UnknownField,
    UnsupportedMediaType,
)
from hashseal_gateway.web.parts import AnyRequest

PAGE, MOST = 100, 1000
"""Entries of a list in one answer: if nothing is said, and as many as may be asked for."""


class _Named(Protocol):
    """An entry of a list whose cursor is its id."""

    @property
    def id(self) -> str: ...


_BODY = 16 << 10
_DIGITS = 18
"""Of a number that fits 64 bits."""
_Entry = TypeVar("_Entry", bound=_Named)
_Model = TypeVar("_Model", bound=protocol.Request)


async def read(request: AnyRequest, model: type[_Model]) -> _Model:
    """The body, one JSON object of 16 KiB at most.

    Raises:
        UnsupportedMediaType, MalformedRequest: it is not JSON.
        UnknownField, InvalidValue: it is not what the operation takes, or too long.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise UnsupportedMediaType("send application/json")
    octets = bytearray()
    async for chunk in request.stream():
        octets += chunk
        if len(octets) > _BODY:
            raise InvalidValue("a body has 16 KiB at most here")
    return read_octets(bytes(octets), model)


def read_octets(octets: bytes, model: type[_Model]) -> _Model:
    """One JSON object; an error has no word of what was sent.

    Raises:
        MalformedRequest: it is not JSON.
        UnknownField, InvalidValue: it is not what the operation takes.
    """
    try:
        return msgspec.json.decode(octets, type=model)
    except msgspec.ValidationError as error:
        if "unknown field" in str(error):
            raise UnknownField("the body has a field that this operation does not have") from error
        raise InvalidValue("a field is missing, or has a value that is not allowed") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest("the body is not one JSON object") from error


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """A number of the query, 64 bits.

    Raises:
        InvalidValue: it is none.
    """
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise InvalidValue("this is a number", field=name)
    return int(text)


def limit_of(query: Mapping[str, str]) -> int:
    """How many entries an answer may have.

    Raises:
        InvalidValue: none, or too many.
    """
    limit = number(query, "limit", PAGE)
    if not 1 <= limit <= MOST:
        raise InvalidValue(f"limit is 1 to {MOST}", field="limit")
    return limit


def page_of(request: AnyRequest) -> tuple[str | None, int]:
    """After which entry a list goes on, and how many an answer may have.

    Raises:
        UnknownField, InvalidValue: the query cannot be taken.
    """
    query: Mapping[str, str] = request.query_params
    for name in sorted(query.keys() - {"after", "limit"}):
        raise UnknownField("the list is not asked for by that", field=name)
    return query.get("after"), limit_of(query)


def page(found: Sequence[_Entry], limit: int) -> tuple[Sequence[_Entry], str | None]:
    """The entries of an answer, and the cursor if more than `limit` were found."""
    return found[:limit], found[limit - 1].id if len(found) > limit else None
