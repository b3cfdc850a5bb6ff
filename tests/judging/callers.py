"""Clients of several replicas: they ask until they are answered, and keep what they were told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field

import httpx2
import leaking
from fleet import Fleet

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import StorageUnavailable
from hashseal_server.main import operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import Settings

CLIENTS, ACCOUNTS = 24, 3
SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
PATIENCE = 6.0
"""Seconds that a client waits where replicas are stopped in the middle of a call."""
LEVELS = ("B-B", "B-T", "B-LT")
SIZES = (1, 1, 1, 2, 5)


@dataclass(frozen=True)
class Access:
    """One account's way in."""

    account: str
    token: str
    seal: str


@dataclass
class Journal:
    """What clients saw: request and answer of each acknowledged call, by its key.

    Keys begin with `name`: clients that come later need one of their own. `csc` are calls of the
    CSC API, `unkeyed` how many were answered that had no key; `watch` learns some of their SADs.
    """

    answers: dict[str, tuple[Access, object, bytes]] = field(default_factory=dict)
    csc: dict[str, tuple[Access, object, bytes]] = field(default_factory=dict)
    name: str = "c"
    unkeyed: int = 0
    given_up: int = 0
    watch: leaking.Watch = field(default_factory=leaking.Watch)
    failures: Counter[str] = field(default_factory=Counter)


async def set_up(
    settings: Settings, algorithms: tuple[KeyAlgorithm, ...] = (KeyAlgorithm.P256,)
) -> list[Access]:
    """A founded service with accounts that do not run dry; their seals' keys are of these kinds."""
    async with operator(settings, migrate=settings.database_url is None) as opened:
        await opened.initialise()
        book = await opened.seals()
        made = []
        for number in range(ACCOUNTS):
            account = await opened.accounts.create(f"Organisation {number}")
            await opened.accounts.record_order(account.id, 1_000_000)
            token = await opened.accounts.create_token(account.id)
            seal = await book.create(
                account.id,
                SUBJECT,
                kind="official",
                algorithm=algorithms[number % len(algorithms)],
            )
            made.append(Access(account.id, token.text, seal.id))
        await opened.audit.sequence()
        return made


async def client(
    number: int,
    fleet: Fleet,
    access: Access,
    journal: Journal,
    over: asyncio.Event,
    *,
    sizes: tuple[int, ...] = SIZES,
    patience: float = PATIENCE,
) -> None:
    """Sign one call after the other until the end; some are given up after their first failure."""
    choose = random.Random(f"client {number}")
    turn = 0
    limits = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(timeout=patience, limits=limits) as http:
        while not over.is_set():
            turn += 1
            key = f"{journal.name}{number}-{turn}"
            size = choose.choice(sizes)
            hashes = [hashlib.sha256(f"{key}/{n}".encode()).digest() for n in range(size)]
            body = {
                "seal_id": access.seal,
                "level": choose.choice(LEVELS),
                "hashes": [base64.b64encode(one).decode() for one in hashes],
            }
            headers = {"authorization": f"Bearer {access.token}", "idempotency-key": key}
            impatient = choose.random() < 0.1
            for attempt in range(200):
                url = fleet.url(choose.randrange(fleet.size)) + "/v1/documents/sign"
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


async def changed(
    fleet: Fleet,
    answers: dict[str, tuple[Access, object, bytes]],
    path: str = "/v1/documents/sign",
) -> list[str]:
    """Keys whose request, sent again, is not answered with the same octets."""
    found: list[str] = []
    waiting = list(answers.items())
    async with httpx2.AsyncClient(timeout=PATIENCE) as http:

        async def ask() -> None:
            while waiting:
                key, (access, body, octets) = waiting.pop()
                url = fleet.url(len(waiting) % fleet.size) + path
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
