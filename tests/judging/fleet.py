"""Replicas of the service as processes of their own, that a test may kill, stop and start at once.

A nursery process imports the service once and forks each replica, so that a new one answers within
a fraction of a second. Run as a program it is the nursery.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from ports import free_port

from hashseal_server.settings import Settings

HOST = "127.0.0.1"


@dataclass
class Fleet:
    """Replicas on fixed ports; `start` before anything else, `stop` at the end."""

    data_dir: Path
    database_url: str | None
    size: int
    others: dict[str, str] = field(default_factory=dict)
    """More settings of the replicas."""
    clocks: Path | None = None
    """A folder with a file of libfaketime for each replica, by index: its calendar, and no other
    clock, follows it. Evidence is then asked for ten times a second and settles within one."""
    logs: Path | None = None
    """A folder for what replicas say; without it nobody hears it."""
    ports: list[int] = field(default_factory=list)
    pids: dict[int, int] = field(default_factory=dict)

    def start(self) -> None:
        """Start the nursery and every replica."""
        if self.logs is not None:
            self.logs.mkdir(exist_ok=True)
        self.ports = [free_port() for _ in range(self.size)]
        self._nursery = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **self._faked()},
        )
        for index in range(self.size):
            self.spawn(index)

    def _faked(self) -> dict[str, str]:
        if self.clocks is None:
            return {}
        command = ["faketime", "-f", "+1s", "printenv", "LD_PRELOAD"]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        return {
            "LD_PRELOAD": found.stdout.strip(),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
        }

    def spawn(self, index: int, crash: str = "") -> int:
        """Start the replica of this index; `crash` is a crash point with its turn, `name:n`."""
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        order = {
            "data_dir": str(self.data_dir),
            "database_url": self.database_url,
            "port": self.ports[index],
            "crash": crash,
            "others": self.others,
            "clock": str(self.clocks / str(index)) if self.clocks else "",
            "log": str(self.logs / f"{index}.log") if self.logs else os.devnull,
        }
        self._nursery.stdin.write(json.dumps(order) + "\n")
        self._nursery.stdin.flush()
        self.pids[index] = int(self._nursery.stdout.readline())
        return self.pids[index]

    def url(self, index: int) -> str:
        """Where this replica listens."""
        return f"http://{HOST}:{self.ports[index]}"

    def alive(self, index: int) -> bool:
        """The process of this replica exists and has not ended."""
        try:
            state = Path(f"/proc/{self.pids[index]}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state.rpartition(")")[2].split()[0] not in "ZX"

    def send(self, index: int, number: signal.Signals) -> None:
        """Send a signal to a replica; one that is gone gets none."""
        if self.alive(index):
            os.kill(self.pids[index], number)

    def said(self) -> str:
        """What all replicas have said so far."""
        assert self.logs is not None
        return "\n".join(one.read_text() for one in sorted(self.logs.iterdir()))

    async def figures(self) -> bytes:
        """The metrics of all replicas, each of which must answer."""
        async with httpx2.AsyncClient(timeout=20) as http:
            urls = [f"{self.url(index)}/metrics" for index in range(self.size)]
            return b"\n".join([(await http.get(url)).raise_for_status().content for url in urls])

    def stop(self) -> None:
        """Kill what is left."""
        for index in self.pids:
            self.send(index, signal.SIGCONT)
            self.send(index, signal.SIGKILL)
        assert self._nursery.stdin is not None
        self._nursery.stdin.close()
        self._nursery.wait(20)
        if self._nursery.stdout is not None:
            self._nursery.stdout.close()


def under_a_clock(path: str) -> None:
    """Follow this file of libfaketime, and ask for evidence often."""
    import select
    import time

    from hashseal_server.tsa import timekeeper
    from hashseal_server.tsa.clock import Rules

    os.environ["FAKETIME_TIMESTAMP_FILE"] = path
    # libfaketime 0.9.10 fails clock_nanosleep(2) where it leaves the monotonic clock alone.
    time.sleep = lambda seconds: select.select([], [], [], seconds)
    timekeeper._TICK = 0.1
    timekeeper.Servers.rules = Rules(settling=0.6, age=5.0)
    timekeeper.Servers.rest = timekeeper.Servers.hurry = 0.1


def nursery() -> None:
    """Read orders from standard input; fork a replica for each; answer its pid."""
    import itertools

    from hashseal_server.infra import crash, jobs
    from hashseal_server.pki import lint
    from hashseal_server.serving import run

    assert jobs.Executor  # loaded here once, or each replica would load DBOS for itself
    assert lint.PkixLinter  # likewise: a replica that finds no timestamping unit free makes one
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        heard = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for stream, place in enumerate((os.open(os.devnull, os.O_RDONLY), heard, heard)):
            os.dup2(place, stream)
        if order["clock"]:
            under_a_clock(order["clock"])
        name, _, turn = order["crash"].partition(":")
        crash._name = name
        crash._remaining = itertools.count(int(turn or 1), -1)
        settings = Settings(
            data_dir=Path(order["data_dir"]),
            database_url=order["database_url"],
            public_url="http://pki.example.com",
            requests_per_minute=0,
            **order["others"],
        )
        try:
            run(settings, HOST, order["port"])
        finally:
            os._exit(0)


if __name__ == "__main__":
    nursery()
