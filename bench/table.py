"""The rows of the table, and how they are printed."""

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


@dataclass(frozen=True)
class Fact:
    """A figure that has nothing to reach, with its unit; without a figure, `raw` says why."""

    name: str
    figure: float | None
    unit: str
    raw: str


HEAD = f"{'figure':66} {'ratio':>8} {'bar':>6} {'goal':>6}  {'':7} raw"


def cost(name: str, seconds: float, units: float, rate: float, delivers: str) -> Fact:
    """What one signature costs: CPU seconds, the same in U (`limits.unit`), signatures a second."""
    return Fact(name, units, "U", f"{1e6 * seconds:.0f} µs CPU, {rate:.0f}/s; delivers {delivers}")


def line(row: Row | Fact) -> str:
    """The row as text."""
    if isinstance(row, Fact):
        figure = "-" if row.figure is None else f"{row.figure:.3f}"
        return f"{row.name:66} {figure:>8} {'-':>6} {'-':>6}  {row.unit:7} {row.raw}"
    return f"{row.name:66} {row.figure:8.3f} {row.bar:6g} {row.goal:6g}  {row.verdict:7} {row.raw}"


def markdown(rows: Iterable[Row | Fact]) -> str:
    """The table for the documentation."""
    lines = [
        "| figure | measured | first bar | goal | reached | raw |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if isinstance(row, Fact):
            figure = "" if row.figure is None else f"{row.figure:.3f} "
            lines.append(f"| {row.name} | {figure}{row.unit} | - | - | - | {row.raw} |")
        else:
            lines.append(
                f"| {row.name} | {row.figure:.3f} | {row.bar:g} | {row.goal:g} | {row.verdict} | {row.raw} |"
            )
    return "\n".join(lines) + "\n"
