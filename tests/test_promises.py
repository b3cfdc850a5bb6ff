"""SECURITY.md and the tests agree: what is said to hold has a test module named after it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\| I(\d+) \| (.+) \| (holds|not yet) \|$", re.MULTILINE)
PROMISES = 22


def promises() -> dict[int, str]:
    """Number of each promise, to its state."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    return {int(number): state for number, _words, state in ROW.findall(text)}


def test_every_promise_is_listed_with_a_state() -> None:
    assert sorted(promises()) == list(range(1, PROMISES + 1))


def test_what_holds_has_a_test_module() -> None:
    folders = (ROOT / "tests", *(ROOT / "packages").glob("*/tests"))
    modules = [path.name for folder in folders for path in folder.rglob("test_i*.py")]
    tested = {int(m[1]) for name in modules if (m := re.match(r"test_i(\d+)_", name))}
    held = {number for number, state in promises().items() if state == "holds"}
    assert held <= tested, f"held without a test: {sorted(held - tested)}"
