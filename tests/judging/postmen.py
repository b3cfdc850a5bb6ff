"""Processes that deliver webhooks and do nothing else, for tests to kill.

Run as a program it is one of them: `postmen.py '{"settings": {…}, "name": …, "claimed": seconds}'`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from crew import BEAT, STALE, TAKE_OVER

from hashseal_server.infra.executors import Heart
from hashseal_server.infra.work import Job
from hashseal_server.main import operator
from hashseal_server.settings import Settings
from hashseal_server.upkeep import keeping
from hashseal_server.web.observing import logger


@dataclass
class Postmen:
    """Processes on one service; what one claims is nobody else's for `claimed` seconds."""

    settings: Settings
    claimed: float
    folder: Path
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        """Start some, and wait until they work."""
        for name in names:
            self._start(name)
        for name in names:
            self.tells(name, '"event":"background-work"')

    def _start(self, name: str) -> None:
        order = {
            "settings": self.settings.model_dump(mode="json", exclude_unset=True),
            "name": name,
            "claimed": self.claimed,
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.started[name] = subprocess.Popen(
                [sys.executable, __file__, json.dumps(order)],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            )

    def tells(self, name: str, words: str, seconds: float = 60) -> None:
        """Wait until one has told this."""
        until = time.monotonic() + seconds
        while words not in (told := (self.folder / f"{name}.log").read_text()):
            assert time.monotonic() < until, told
            time.sleep(0.05)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.started[name].kill()
        self.started[name].wait()

    def stop(self) -> None:
        """End all, by force if need be."""
        for one in self.started.values():
            one.send_signal(signal.SIGCONT)
            one.terminate()
        for one in self.started.values():
            try:
                one.wait(20)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


async def postman(order: dict[str, Any]) -> None:
    """One of them until SIGTERM."""
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    log = logger("json", "info")
    async with operator(Settings(**order["settings"]), migrate=False) as opened:
        delivering = opened.notifying.delivering(log, claimed=timedelta(seconds=order["claimed"]))
        async with keeping(
            opened.database,
            opened.settings.work_database,
            [Job("webhook-deliveries", "* * * * * *", delivering.piece)],
            heart=Heart(opened.database, order["name"], every=BEAT, stale=STALE),
            log=log,
            now=lambda: datetime.now(UTC),
            take_over=TAKE_OVER,
        ):
            await ending.wait()


if __name__ == "__main__":
    asyncio.run(postman(json.loads(sys.argv[1])))
