"""DBOS is one in a process: what keeps it for many tests makes way for a test that needs its own."""

from __future__ import annotations

from collections.abc import Callable

_makes_way: list[Callable[[], None]] = []


def kept_by(make_way: Callable[[], None]) -> None:
    """Whoever keeps DBOS from now on, and how it gives it up."""
    take()
    _makes_way.append(make_way)


def take() -> None:
    """Have DBOS free; whoever kept it has ended."""
    while _makes_way:
        _makes_way.pop()()
