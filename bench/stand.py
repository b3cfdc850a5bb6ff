"""A running service to measure: replicas on a database of their own, and callers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from cluster import Cluster
from fleet import Fleet

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.main import operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import Settings

REPLICAS = 2
TICKS = os.sysconf("SC_CLK_TCK")
SUBJECT = LegalPerson("Bench Seal", "Test Organisation", "NTRCH-1", "CH")


@dataclass(frozen=True)
class Stand:
    """A running service: where it is, how to get in, and whose CPU counts."""

    fleet: Fleet
    cluster: Cluster | None
    token: str
    seals: dict[str, str]

    def pids(self) -> list[int]:
        """Processes of the service and of its database."""
        return [*self.fleet.pids.values(), *(self.cluster.pids() if self.cluster else [])]

    def cpu(self) -> float:
        """CPU seconds that they have used, ended children of the database included."""
        used = 0
        for pid in self.pids():
            try:
                words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except FileNotFoundError:
                continue
            used += sum(map(int, words[11:15]))
        return used / TICKS

    def memory(self) -> float:
        """Resident memory of the largest replica, MiB."""
        sizes = [
            int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])
            for pid in self.fleet.pids.values()
        ]
        return max(sizes) / 1024


async def set_up(settings: Settings) -> tuple[str, dict[str, str]]:
    """A founded service with an account that does not run dry."""
    async with operator(settings, migrate=settings.database_url is None) as opened:
        await opened.initialise()
        account = await opened.accounts.create("Bench")
        await opened.accounts.record_order(account.id, 1_000_000_000)
        token = await opened.accounts.create_token(account.id)
        book = await opened.seals()
        seals = {}
        for algorithm in (KeyAlgorithm.P256, KeyAlgorithm.RSA3072):
            seal = await book.create(account.id, SUBJECT, kind="official", algorithm=algorithm)
            seals[algorithm.value] = seal.id
        await opened.audit.sequence()
        return token.text, seals


@contextmanager
def stand(database: str) -> Iterator[Stand]:
    """A service with two replicas on a database of its own, durable commits."""
    cluster = None
    with tempfile.TemporaryDirectory() as folder:
        url = None
        if database == "PostgreSQL":
            cluster = Cluster(fsync="on")
            cluster.start()
            cluster.prepare()
            url = cluster.database("bench", "prepared")
        settings = Settings(
            data_dir=Path(folder), database_url=url, public_url="http://pki.example.com"
        )
        access, seals = asyncio.run(set_up(settings))
        fleet = Fleet(Path(folder), url, REPLICAS)
        fleet.start()
        try:
            wait_for(fleet)
            yield Stand(fleet, cluster, access, seals)
        finally:
            fleet.stop()
            if cluster:
                cluster.stop()


def wait_for(fleet: Fleet) -> None:
    """Until every replica answers."""
    until = time.monotonic() + 60
    for index in range(fleet.size):
        while True:
            try:
                if httpx2.get(f"{fleet.url(index)}/readyz", timeout=5).status_code == 200:
                    break
            except httpx2.HTTPError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


def load(place: Stand, replicas: int = REPLICAS, **order: Any) -> list[dict[str, Any]]:
    """Callers on so many replicas at once, a process each."""
    callers = [
        subprocess.Popen(
            [
                *(sys.executable, str(Path(__file__).parent / "load.py")),
                json.dumps({"url": place.fleet.url(index), "token": place.token, **order}),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(replicas)
    ]
    return [json.loads(caller.communicate(timeout=120)[0]) for caller in callers]


def calls(answers: list[dict[str, Any]], status: str = "200") -> int:
    """How many calls had this status."""
    return sum(answer["statuses"].get(status, 0) for answer in answers)
