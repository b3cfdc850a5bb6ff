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

from cluster import free_port

from hashseal_server.settings import Settings

HOST = "127.0.0.1"


@dataclass
class Fleet:
    """Replicas on fixed ports; `start` before anything else, `stop` at the end."""

    data_dir: Path
    database_url: str | None
    size: int
    ports: list[int] = field(default_factory=list)
    pids: dict[int, int] = field(default_factory=dict)

    def start(self) -> None:
        """Start the nursery and every replica."""
        self.ports = [free_port() for _ in range(self.size)]
        self._nursery = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
        for index in range(self.size):
            self.spawn(index)

    def spawn(self, index: int, crash: str = "") -> int:
        """Start the replica of this index; `crash` is a crash point with its turn, `name:n`."""
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        order = {
            "data_dir": str(self.data_dir),
            "database_url": self.database_url,
            "port": self.ports[index],
            "crash": crash,
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


def nursery() -> None:
    """Read orders from standard input; fork a replica for each; answer its pid."""
    import itertools

    from hashseal_server.infra import crash, jobs
    from hashseal_server.main import run

    assert jobs.Executor  # loaded here once, or each replica would load DBOS for itself
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        name, _, turn = order["crash"].partition(":")
        crash._name = name
        crash._remaining = itertools.count(int(turn or 1), -1)
        settings = Settings(
            data_dir=Path(order["data_dir"]),
            database_url=order["database_url"],
            public_url="http://pki.example.com",
            requests_per_minute=0,
        )
        try:
            run(settings, HOST, order["port"])
        finally:
            os._exit(0)


if __name__ == "__main__":
    nursery()
