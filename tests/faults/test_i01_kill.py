"""I1 and I2: what was answered is there, byte for byte, and was charged once, whoever is killed.

Clients sign through several replicas and repeat a call under its key until it is answered. All the
while replicas and the whole database are killed or stopped at random, and replicas die at named
points inside a call. `HASHSEAL_FAULT_KILLS` makes it long: `make faults`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from books import check_audit, check_books
from cluster import Cluster
from fleet import Fleet

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import StorageUnavailable
from hashseal_server.infra.crash import POINTS
from hashseal_server.main import operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import Settings

KILLS = int(os.environ.get("HASHSEAL_FAULT_KILLS", "200"))
REPLICAS, CLIENTS, ACCOUNTS = 4, 24, 3
SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
PATIENCE = 6.0


@dataclass(frozen=True)
class Access:
    """One account's way in."""

    account: str
    token: str
    seal: str


@dataclass
class Journal:
    """What clients saw: request and answer of each acknowledged call, by its key."""

    answers: dict[str, tuple[Access, object, bytes]] = field(default_factory=dict)
    given_up: int = 0
    failures: Counter[str] = field(default_factory=Counter)


async def set_up(settings: Settings) -> list[Access]:
    """A founded service with accounts that do not run dry."""
    async with operator(settings, migrate=settings.database_url is None) as opened:
        await opened.initialise()
        book = await opened.seals()
        made = []
        for number in range(ACCOUNTS):
            account = await opened.accounts.create(f"Organisation {number}")
            await opened.accounts.record_order(account.id, 1_000_000)
            token = await opened.accounts.create_token(account.id)
            seal = await book.create(
                account.id, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256
            )
            made.append(Access(account.id, token.text, seal.id))
        await opened.audit.sequence()
        return made


async def client(
    number: int, fleet: Fleet, access: Access, journal: Journal, over: asyncio.Event
) -> None:
    """Sign one call after the other until the end; some are given up after their first failure."""
    choose = random.Random(f"client {number}")
    turn = 0
    limits = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(timeout=PATIENCE, limits=limits) as http:
        while not over.is_set():
            turn += 1
            key = f"c{number}-{turn}"
            size = choose.choice((1, 1, 1, 2, 5))
            hashes = [hashlib.sha256(f"{key}/{n}".encode()).digest() for n in range(size)]
            body = {
                "seal_id": access.seal,
                "level": choose.choice(("B-B", "B-T", "B-LT")),
                "hashes": [base64.b64encode(one).decode() for one in hashes],
            }
            headers = {"authorization": f"Bearer {access.token}", "idempotency-key": key}
            impatient = choose.random() < 0.1
            for attempt in range(200):
                url = fleet.url(choose.randrange(REPLICAS)) + "/v1/documents/sign"
                try:
                    answer = await http.post(url, json=body, headers=headers)
                except httpx2.HTTPError as error:
                    journal.failures[type(error).__name__] += 1
                else:
                    if answer.status_code == 200:
                        journal.answers[key] = access, body, answer.content
                        break
                    assert answer.status_code == 503, answer.text
                    journal.failures[answer.json()["code"]] += 1
                if impatient:
                    journal.given_up += 1
                    break
                await asyncio.sleep(0.05 + 0.05 * min(attempt, 10))
            else:
                raise AssertionError(f"{key} was never answered")
            if choose.random() < 0.05:
                await asyncio.sleep(choose.random() / 20)


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


async def changed(fleet: Fleet, journal: Journal) -> list[str]:
    """Keys whose request, sent again, is not answered with the same octets."""
    found: list[str] = []
    waiting = list(journal.answers.items())
    async with httpx2.AsyncClient(timeout=PATIENCE) as http:

        async def ask() -> None:
            while waiting:
                key, (access, body, octets) = waiting.pop()
                url = fleet.url(len(waiting) % REPLICAS) + "/v1/documents/sign"
                headers = {"authorization": f"Bearer {access.token}", "idempotency-key": key}
                content = None
                for _ in range(200):  # the last that was killed may still be starting
                    try:
                        answer = await http.post(url, json=body, headers=headers)
                    except httpx2.HTTPError:
                        await asyncio.sleep(0.1)
                        continue
                    content = answer.content
                    if answer.status_code != 503:
                        break
                    await asyncio.sleep(0.1)
                if content != octets:
                    found.append(key)

        await asyncio.gather(*(ask() for _ in range(CLIENTS)))
    return found


async def reachable(settings: Settings) -> None:
    """Until the database takes connections: it may still be cleaning up behind the killed."""
    for _ in range(60):
        with contextlib.suppress(StorageUnavailable):
            async with operator(settings, migrate=False):
                return
        await asyncio.sleep(0.5)
    raise AssertionError("the database did not come back")


async def run(settings: Settings, cluster: Cluster | None, kills: int) -> None:
    access = await set_up(settings)
    fleet = Fleet(settings.data_dir, settings.database_url, REPLICAS)
    fleet.start()
    journal, over = Journal(), asyncio.Event()
    try:
        clients = [
            asyncio.create_task(client(n, fleet, access[n % ACCOUNTS], journal, over))
            for n in range(CLIENTS)
        ]
        done = await reaper(fleet, cluster, kills, journal)
        for index in range(REPLICAS):
            if not fleet.alive(index):
                fleet.spawn(index)
        over.set()
        await asyncio.gather(*clients)
        assert await changed(fleet, journal) == []
    finally:
        fleet.stop()
    await reachable(settings)
    async with operator(settings, migrate=False) as opened:
        calls = await check_books(opened.database)
        await check_audit(opened.audit, calls)
    assert len(journal.answers) <= calls <= len(journal.answers) + journal.given_up
    print(
        f"\n{dict(done)}; {len(journal.answers)} calls answered, {journal.given_up} given up, "
        f"{calls} charged; {sum(journal.failures.values())} failures seen by clients: "
        f"{dict(journal.failures)}"
    )


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Callable[[], Cluster]:
    """A cluster of its own that writes durably, since it will be killed."""

    def make() -> Cluster:
        made = Cluster(fsync="on", max_connections="400")
        request.addfinalizer(made.stop)
        made.start()
        made.prepare()
        return made

    return make


@pytest.mark.timeout(1800)
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


@pytest.mark.timeout(1800)
def test_kills_on_sqlite(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "service",
        database_url=None,
        public_url="http://pki.example.com",
        requests_per_minute=0,
    )
    asyncio.run(run(settings, None, max(40, KILLS // 5)))
