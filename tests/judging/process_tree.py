"""What a process and everything it has started use: memory at most, CPU in all (Linux, /proc)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.01


def tree(pid: int) -> list[int]:
    """The process and its living descendants."""
    found = [pid]
    for one in found:
        try:
            tasks = list(Path(f"/proc/{one}/task").iterdir())
            found += [int(n) for task in tasks for n in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu(pid: int) -> float:
    """CPU seconds of the tree, of those too that have ended and were waited for."""
    used = 0
    for one in tree(pid):
        try:
            words = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        used += sum(map(int, words[11:15]))
    return used / TICKS


@dataclass
class Peak:
    """MiB: `each` process at its peak (VmHWM), by pid, and all `together` at the worst moment looked at."""

    each: dict[int, float] = field(default_factory=dict)
    together: float = 0.0

    def look(self, pid: int) -> None:
        now = 0.0
        for one in tree(pid):
            try:
                lines = Path(f"/proc/{one}/status").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue
            said = dict(line.split(":", 1) for line in lines)
            if "VmHWM" in said:
                highest, present = (int(said[n].split()[0]) / 1024 for n in ("VmHWM", "VmRSS"))
                self.each[one] = max(self.each.get(one, 0.0), highest)
                now += present
        self.together = max(self.together, now)

    @property
    def largest(self) -> float:
        return max(self.each.values())


@contextmanager
def peak(pid: int) -> Iterator[Peak]:
    """What the tree needs while the block runs."""
    found, over = Peak(), threading.Event()
    found.look(pid)

    def work() -> None:
        while not over.wait(_LOOK_SECONDS):
            found.look(pid)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        found.look(pid)
