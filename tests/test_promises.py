"""SECURITY.md and the tests agree: for what is said to hold, tests named after it are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\| I(\d+) \| (.+) \| (holds|not yet) \|$", re.MULTILINE)
COLLECTED = re.compile(r"/test_i(\d+)_\w+\.py::")
PROMISES = 22


def promises() -> dict[int, str]:
    """Number of each promise, to its state."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    return {int(number): state for number, _words, state in ROW.findall(text)}


def modules() -> list[Path]:
    """The test modules that are named after a promise."""
    folders = (ROOT / "tests", *(ROOT / "packages").glob("*/tests"))
    return [path for folder in folders for path in folder.rglob("test_i[0-9]*_*.py")]


def collected() -> Counter[int]:
    """How many tests pytest would run for each promise."""
    listing = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"),
            *(str(path) for path in modules()),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return Counter(int(number) for number in COLLECTED.findall(listing.stdout))


def test_every_promise_is_listed_with_a_state() -> None:
    assert sorted(promises()) == list(range(1, PROMISES + 1))


def test_what_holds_has_tests_that_run() -> None:
    counted = collected()
    for number, state in promises().items():
        assert state != "holds" or counted[number], f"I{number} holds without a test"


def test_no_test_of_a_promise_can_be_left_out() -> None:
    for path in modules():
        assert not re.search(r"pytest\.(mark\.)?(skip|xfail|importorskip)", path.read_text()), path


@pytest.mark.xdist_group("together")
def test_tests_of_a_group_are_kept_together(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@together")
