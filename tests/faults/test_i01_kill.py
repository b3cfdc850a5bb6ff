"""I1 and I2: what was answered is there, byte for byte, and was charged once, whoever is killed.

Clients of the service's own API and of the CSC API sign through several replicas and repeat a call
under its key until it is answered. All the while replicas and the whole database are killed or stopped at random, and replicas die at named
points inside a call. `HASHSEAL_FAULT_KILLS` makes it long: `make faults`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from books import check_audit, check_authorised, check_books, check_secrets
from callers import ACCOUNTS, CLIENTS, Journal, changed, client, reachable, set_up
from cluster import Cluster
from csc_callers import SIGN_DOC, csc_client
from fleet import Fleet

from hashseal_server.infra.crash import POINTS
from hashseal_server.main import operator
from hashseal_server.settings import Settings

KILLS = int(os.environ.get("HASHSEAL_FAULT_KILLS", "200"))
SECONDS = 600 + 3 * KILLS
REPLICAS = 4
CSC_CLIENTS = CLIENTS // 4


async def reaper(
    fleet: Fleet, cluster: Cluster | None, kills: int, journal: Journal
) -> Counter[str]:
    """Kill and start again, in turn and at random, until there were enough kills."""
    choose = random.Random("reaper")
    done: Counter[str] = Counter()
    ways = ["replica"] * 8 + ["point"] * 8 + ["stop"] + (["database"] * 3 if cluster else [])
    while sum(done[way] for way in ("replica", "point", "database")) < kills:
        before = len(journal.answers)
        way = choose.choice(ways)
        index = choose.randrange(REPLICAS)
        match way:
            case "replica":
                together = choose.sample(range(REPLICAS), choose.choice((1, 1, 2, 3)))
                for one in together:
                    fleet.send(one, signal.SIGKILL)
                await asyncio.sleep(0.02)
                for one in together:
                    fleet.spawn(one)
                done[way] += len(together) - 1
            case "point":
                fleet.send(index, signal.SIGKILL)
                await asyncio.sleep(0.02)
                fleet.spawn(index, f"{choose.choice(POINTS)}:{choose.randint(1, 6)}")
                for _ in range(30):
                    if not fleet.alive(index):
                        break
                    await asyncio.sleep(0.05)
                done["died at a point"] += not fleet.alive(index)
                fleet.send(index, signal.SIGKILL)
                await asyncio.sleep(0.02)
                fleet.spawn(index)
            case "stop":
                fleet.send(index, signal.SIGSTOP)
                await asyncio.sleep(choose.uniform(0.1, 4.5))
                fleet.send(index, signal.SIGCONT)
            case "database":
                assert cluster is not None
                await asyncio.to_thread(cluster.kill)
                await asyncio.sleep(choose.random() / 4)
                await asyncio.to_thread(cluster.start)
        done[way] += 1
        # Every other time something must have been signed in between, or nothing is tested.
        for _ in range(200 if sum(done.values()) % 2 else choose.randrange(4)):
            await asyncio.sleep(0.02)
            if len(journal.answers) > before + 3:
                break
    return done


async def run(settings: Settings, cluster: Cluster | None, kills: int) -> None:
    access = await set_up(settings)
    logs = settings.data_dir.parent / "logs"
    fleet = Fleet(settings.data_dir, settings.database_url, REPLICAS, logs=logs)
    fleet.start()
    journal, over = Journal(), asyncio.Event()
    try:
        clients = [
            asyncio.create_task(
                (csc_client if n < CSC_CLIENTS else client)(
                    n, fleet, access[n % ACCOUNTS], journal, over
                )
            )
            for n in range(CLIENTS)
        ]
        done = await reaper(fleet, cluster, kills, journal)
        for index in range(REPLICAS):
            if not fleet.alive(index):
                fleet.spawn(index)
        over.set()
        await asyncio.gather(*clients)
        assert await changed(fleet, journal.answers) == []
        assert await changed(fleet, journal.csc, SIGN_DOC) == []
        figures = await fleet.figures()
    finally:
        fleet.stop()
    await reachable(settings)
    async with operator(settings, migrate=False) as opened:
        calls = await check_books(opened.database)
        await check_audit(opened.audit, calls)
        await check_secrets(opened, journal.watch, fleet.said(), figures)
        signed = await check_authorised(opened.database)
    answered = len(journal.answers) + len(journal.csc) + journal.unkeyed
    assert answered <= calls <= answered + journal.given_up
    assert len(journal.csc) > CSC_CLIENTS, "the CSC API was hardly used"
    assert journal.watch.secrets, "no SAD was looked for"
    print(
        f"\n{dict(done)}; {answered} calls answered, {len(journal.csc) + journal.unkeyed} of them by "
        f"the CSC API with {signed} hashes, {journal.given_up} given up, "
        f"{calls} charged; {sum(journal.failures.values())} failures seen by clients: "
        f"{dict(journal.failures)}"
    )


@pytest.mark.timeout(SECONDS)
def test_kills_on_postgresql(database: Callable[[], Cluster], tmp_path: Path) -> None:
    cluster = database()
    url = cluster.database("faults", "prepared")
    settings = Settings(
        data_dir=tmp_path / "service",
        database_url=url,
        public_url="http://pki.example.com",
        requests_per_minute=0,
    )
    asyncio.run(run(settings, cluster, KILLS))


@pytest.mark.timeout(SECONDS)
def test_kills_on_sqlite(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "service",
        database_url=None,
        public_url="http://pki.example.com",
        requests_per_minute=0,
    )
    asyncio.run(run(settings, None, max(40, KILLS // 5)))
