"""Statements over rows: one text for both databases, few round trips however many rows there are.

The hot path says what it does as *steps*: a generator that yields a statement with its rows, gets
the rows of the answer sent back, and returns its result. Steps do no I/O and decide nothing about
connections; a lane runs them. On PostgreSQL a statement runs once, over arrays; on SQLite once for
each row, which costs no round trip there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeAlias, TypeVar

Type = Literal["text", "bytea", "bigint", "timestamptz"]
Rows: TypeAlias = Sequence[tuple[Any, ...]]
Value = TypeVar("Value")
NO_ROWS: Rows = ((),)
_LOCK = re.compile(r"\{for ([^}]*)\}")
Steps: TypeAlias = Generator[Sequence[tuple["Statement", Rows]], Rows, Value]
"""Yields statements that do not depend on each other; the answer is that of the last one."""


@dataclass(frozen=True, eq=False)
class Statement:
    """SQL that reads its parameters from a table `r`, which `{rows}` stands for.

    `columns` are those of `r`, with their types; `r.n` numbers the rows from 1. Without columns
    there are no rows, and it runs once. `{for …}` is a locking clause, which SQLite, with its one
    writer, does without. `answers`: rows come back. `on_sqlite` is what SQLite gets where it has no
    such thing.
    """

    text: str
    columns: Mapping[str, Type]
    answers: bool = False
    on_sqlite: str | None = None

    def postgresql(self, first: int = 1) -> str:
        """For asyncpg; one array a column, numbered from `first`."""
        numbered = enumerate(self.columns.values(), first)
        arrays = ", ".join(f"${n}::{kind}[]" for n, kind in numbered)
        rows = f"unnest({arrays}) WITH ORDINALITY AS r({', '.join([*self.columns, 'n'])})"
        return _LOCK.sub(r"FOR \1", self.text).replace("{rows}", rows)

    @cached_property
    def sqlite(self) -> str:
        """For `sqlite3`; one row of parameters, the number last."""
        names = ", ".join(f"? AS {name}" for name in [*self.columns, "n"])
        text = self.on_sqlite or _LOCK.sub("", self.text)
        return text.replace("{rows}", f"(SELECT {names}) AS r")

    def transposed(self, rows: Rows) -> list[tuple[Any, ...]]:
        """Parameters for PostgreSQL."""
        return list(zip(*rows, strict=True)) if rows else [()] * len(self.columns)

    def numbered(self, rows: Rows) -> list[tuple[Any, ...]]:
        """Parameters for SQLite, which keeps times as text in UTC."""
        if not self.columns:
            return [()]
        converters = [_CONVERTERS.get(kind) for kind in self.columns.values()]
        if not any(converters):
            return [(*row, n) for n, row in enumerate(rows, 1)]
        return [
            (*(_converted(value, how) for value, how in zip(row, converters, strict=True)), n)
            for n, row in enumerate(rows, 1)
        ]


@lru_cache(maxsize=64)
def joined(statements: tuple[Statement, ...]) -> str:
    """One statement of PostgreSQL that does what all of them do, with their parameters in turn."""
    *before, last = statements
    parts, first = [], 1
    for number, statement in enumerate(before):
        parts.append(f"s{number} AS ({statement.postgresql(first)})")
        first += len(statement.columns)
    front = f"WITH {', '.join(parts)} " if parts else ""
    return front + last.postgresql(first)


def as_time(value: datetime | str) -> datetime:
    """A time of an answer, whichever database it came from: aware, UTC."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value.astimezone(UTC)


def _as_text(at: datetime) -> str:
    """As SQLAlchemy writes a DateTime into SQLite."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {"timestamptz": _as_text}


def _converted(value: Any, how: Callable[[Any], Any] | None) -> Any:
    return value if how is None or value is None else how(value)
