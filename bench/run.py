"""Print one table of what is measured against its limit; with a file name, also as Markdown.

python bench/run.py [limits|documents|gateway|service|signers|peers|all] [table.md]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "judging"))

import documents
import gateway
import limits
import peers
import service
import signers
from machine import machine
from table import HEAD, Fact, Row, line, markdown


def rows(what: str) -> Iterator[Row | Fact]:
    """Everything that was asked for, as it is measured."""
    if what in {"limits", "all"}:
        yield from limits.rows()
    if what in {"documents", "all"}:
        yield from documents.rows()
    if what in {"gateway", "all"}:
        yield from gateway.rows()
    if what in {"service", "all"}:
        yield from service.builders()
        for database in ("PostgreSQL", "SQLite"):
            yield from service.signing(database)
            yield service.group_commit(database)
    if what in {"signers", "all"}:
        yield from signers.rows()
    if what in {"peers", "all"}:
        yield from peers.rows()


def main() -> None:
    """Measure and print."""
    what = sys.argv[1] if len(sys.argv) > 1 else "all"
    print(machine())
    print(HEAD, flush=True)
    made = []
    for row in rows(what):
        made.append(row)
        print(line(row), flush=True)
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(f"{machine()}\n\n{markdown(made)}", encoding="utf-8")


if __name__ == "__main__":
    main()
