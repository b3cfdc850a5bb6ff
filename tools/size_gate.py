"""Refuse Python files over 500 lines and modules whose name says nothing."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 500
DRAWERS = frozenset({"utils", "util", "common", "helpers", "helper", "manager", "misc"})
FOLDERS = ("packages", "tests", "tools", "docs", "bench")


def findings() -> list[str]:
    """What is wrong, a line each."""
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT)
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > MAX_LINES:
                found.append(f"{name}: {lines} lines, {MAX_LINES} at most")
            if DRAWERS & {path.stem, path.parent.name}:
                found.append(f"{name}: name the module after what it holds")
    return found


def main() -> int:
    """Exit code 0 when there is nothing to say."""
    found = findings()
    print("\n".join(found) if found else "size gate: no file too long, no drawer")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
