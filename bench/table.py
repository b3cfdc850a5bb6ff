"""One row of the table, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A figure with its first bar and its goal; `less` when a smaller figure is better."""

    name: str
    figure: float
    bar: float
    goal: float
    raw: str
    less: bool = False

    @property
    def verdict(self) -> str:
        """What the figure reaches."""
        reached = (
            (lambda limit: self.figure <= limit)
            if self.less
            else (lambda limit: self.figure >= limit)
        )
        return "goal" if reached(self.goal) else "bar" if reached(self.bar) else "below"


HEAD = f"{'figure':66} {'ratio':>8} {'bar':>6} {'goal':>6}  {'':6} raw"


def line(row: Row) -> str:
    """The row as text."""
    return f"{row.name:66} {row.figure:8.3f} {row.bar:6g} {row.goal:6g}  {row.verdict:6} {row.raw}"


def markdown(rows: Iterable[Row]) -> str:
    """The table for the documentation."""
    lines = [
        "| figure | measured | first bar | goal | reached | raw |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {r.name} | {r.figure:.3f} | {r.bar:g} | {r.goal:g} | {r.verdict} | {r.raw} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"
