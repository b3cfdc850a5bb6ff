"""What all groups of commands share: the opened service, output, options."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer

from hashseal_core.errors import InvalidValue
from hashseal_server.main import Operator, operator
from hashseal_server.settings import load

_Result = TypeVar("_Result")

Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
InvalidSince = Annotated[
    str | None,
    typer.Option(help="since when the lost key cannot be trusted: 2026-01-31T12:00:00Z"),
]
AccountOption = Annotated[str, typer.Option("--account", help="account id")]


def with_operator(work: Callable[[Operator], Awaitable[_Result]]) -> _Result:
    """Do something with the service open; the audit records of it are chained at once."""

    async def run() -> _Result:
        async with operator(load()) as opened:
            result = await work(opened)
            await opened.audit.sequence()
            return result

    return asyncio.run(run())


def read_moment(text: str | None, field: str) -> datetime | None:
    """A time that an operator wrote, in UTC.

    Raises:
        InvalidValue: it is not like 2026-01-31T12:00:00Z.
    """
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidValue("times look like 2026-01-31T12:00:00Z", field=field) from error


def show(values: dict[str, Any], *, as_json: bool) -> None:
    """Print values, a line each, or all as one JSON object."""
    if as_json:
        print(json.dumps(values, default=str))
        return
    for name, value in values.items():
        print(f"{name.replace('_', ' '):22} {value}")
