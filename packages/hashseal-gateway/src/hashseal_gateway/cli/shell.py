"""What all groups of commands share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer

from hashseal_core.errors import InvalidValue
from hashseal_gateway.main import Office, office
from hashseal_gateway.settings import load

_Result = TypeVar("_Result")
Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def with_office(work: Callable[[Office], Awaitable[_Result]]) -> _Result:
    """Do something with data folder and database open."""

    async def run() -> _Result:
        async with office(load()) as opened:
            return await work(opened)

    return asyncio.run(run())


def read_moment(text: str | None, field: str) -> datetime | None:
    """A time that an administrator wrote, in UTC.

    Raises:
        InvalidValue: it is not like 2026-01-31T12:00:00Z.
    """
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidValue("times look like 2026-01-31T12:00:00Z", field=field) from error


def printable(text: str) -> str:
    r"""One line: what would begin another or steer a terminal is shown as `\n` or `\x1b`."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def show(values: dict[str, Any], *, as_json: bool) -> None:
    """Print values, a line each, or all as one JSON object."""
    if as_json:
        print(json.dumps(values, default=str))
        return
    for name, value in values.items():
        print(f"{name.replace('_', ' '):22} {value}")
