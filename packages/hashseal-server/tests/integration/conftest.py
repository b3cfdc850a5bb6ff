"""A founded service on a database of its own, and a client that speaks HTTP to it over ASGI."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import itertools
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import described
import httpx2
import leaking
import one_executor
import pytest
from cluster import Cluster
from spans import Remembered

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.accounts.model import SCOPES
from hashseal_server.accounts.token_model import read_terms
from hashseal_server.main import Operator, operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import Settings
from hashseal_server.web.observing import Observed, logger

SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")


def hash_of(text: str) -> str:
    """The SHA-256 of a text in standard base64."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@dataclass
class Api:
    """One account with its token and seal."""

    operator: Operator
    http: httpx2.AsyncClient
    account: str
    token: str
    seal: str
    app: Observed
    log: io.StringIO
    keys: Any = field(default_factory=itertools.count)

    async def sign(self, *texts: str, key: str | None = None, **changes: Any) -> httpx2.Response:
        body = {"seal_id": self.seal, "level": "B-B", "hashes": [hash_of(t) for t in texts]}
        return await self.post("/v1/documents/sign", {**body, **changes}, key=key)

    async def post(
        self, path: str, body: Any, *, key: str | None = None, **headers: str
    ) -> httpx2.Response:
        sent = {
            "authorization": f"Bearer {self.token}",
            "idempotency-key": key or f"key-{next(self.keys)}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if isinstance(body, bytes):
            return await self.http.post(path, content=body, headers=sent)
        return await self.http.post(path, json=body, headers=sent)

    async def get(self, path: str) -> httpx2.Response:
        return await self.http.get(path, headers={"authorization": f"Bearer {self.token}"})

    async def left(self) -> tuple[int, int]:
        balance = (await self.get("/v1/account")).json()["balance"]
        return balance["free"], balance["paid"]


@pytest.fixture
def dbos_alone() -> None:
    """For tests that launch DBOS in this process."""
    one_executor.take()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One PostgreSQL cluster for a test process; each test gets a database of its own in it."""
    made = Cluster()
    made.start()
    made.prepare()
    yield made
    made.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """None for SQLite in the data folder; or an empty database, for the service's role."""
    if request.param == "sqlite":
        return None
    made: Cluster = request.getfixturevalue("cluster")
    return made.database(f"t{secrets.token_hex(8)}", "prepared")


@asynccontextmanager
async def client_of(opened: Operator) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application that this operator serves."""
    transport = httpx2.ASGITransport((await opened.app()).asgi, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as http:
        yield http


@asynccontextmanager
async def replica(settings: Settings) -> AsyncIterator[tuple[Operator, httpx2.AsyncClient]]:
    """One more instance of the service on the same database and data folder."""
    async with operator(settings) as opened, client_of(opened) as http:
        yield opened, http


@pytest.fixture
def other_settings() -> dict[str, Any]:
    """Settings that a test wants otherwise; a test parametrises it."""
    return {}


@dataclass(frozen=True)
class Founded:
    """What a test begins with; `folder` holds the keys and, for SQLite, the database."""

    folder: Path
    account: str
    token: str
    seal: str


async def found(settings: Settings) -> Founded:
    """A new authority, an account, its token and its seal."""
    async with operator(settings) as opened:
        await opened.initialise()
        account = await opened.accounts.create("Test Organisation")
        token = await opened.accounts.create_token(account.id, read_terms(scopes=sorted(SCOPES)))
        book = await opened.seals()
        seal = await book.create(account.id, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256)
        await opened.audit.sequence()  # a copy is as old as it is, and nothing waits in it
        return Founded(settings.data_dir, account.id, token.text, seal.id)


@pytest.fixture(scope="session")
def founded_once() -> dict[bool, Founded]:
    """A founded service to copy, on PostgreSQL or not; each is made when it is first asked for."""
    return {}


@pytest.fixture
def founded(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    database_url: str | None,
    founded_once: dict[bool, Founded],
) -> Callable[[Settings], Founded]:
    """Found a service by copying one that was founded with the same, ordinary settings."""

    def copy(settings: Settings) -> Founded:
        kept = founded_once.get(database_url is not None)
        cluster = request.getfixturevalue("cluster") if database_url is not None else None
        if kept is None:
            place = {
                "data_dir": tmp_path_factory.mktemp("founded") / "service",
                "database_url": cluster and cluster.database("founded", "prepared"),
            }
            kept = asyncio.run(found(settings.model_copy(update=place)))
            founded_once[database_url is not None] = kept
        shutil.copytree(kept.folder, settings.data_dir)
        if cluster is not None:
            name = str(database_url).rpartition("/")[2]
            cluster.sql(f"DROP DATABASE {name}")
            cluster.database(name, "founded")
        return kept

    return copy


@pytest.fixture
def service(
    tmp_path: Path,
    database_url: str | None,
    other_settings: dict[str, Any],
    founded: Callable[[Settings], Founded],
) -> Callable[[Callable[[Api], Awaitable[None]]], None]:
    """Run an asynchronous scenario against a fresh service."""

    async def run(
        scenario: Callable[[Api], Awaitable[None]], settings: Settings, one: Founded
    ) -> None:
        async with operator(settings) as served:
            written, seen, spans = io.StringIO(), leaking.Watch(), Remembered()
            # Whoever wants them sent to a collector gets them there.
            opened = served if settings.traces_url else replace(served, tracing=spans)
            app = (await opened.app(logger("json", "info", written))).asgi
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(
                transport=transport,
                base_url="http://service",
                event_hooks={"response": [described.watch, seen.hear]},
            ) as http:
                await scenario(Api(opened, http, one.account, one.token, one.seal, app, written))
            more = {
                "figures": app._observer.figures.render(),
                "traces": spans.text().encode(),
            }
            left = seen.leaks(await leaking.places(opened, written.getvalue(), seen, **more))
            assert not left, left

    def play(scenario: Callable[[Api], Awaitable[None]]) -> None:
        settings = Settings(
            data_dir=tmp_path / "service",
            database_url=database_url,
            public_url="http://pki.example.com",
            **other_settings,
        )
        one = asyncio.run(found(settings)) if other_settings else founded(settings)
        asyncio.run(run(scenario, settings, one))

    return play


@pytest.fixture
def replicas(service: Any) -> Callable[[int, Callable[[list[Api]], Awaitable[None]]], None]:
    """Run a scenario against N instances of one service; all speak for one account."""

    def run(count: int, scenario: Callable[[list[Api]], Awaitable[None]]) -> None:
        async def over_all(first: Api) -> None:
            async with AsyncExitStack() as stack:
                opened = [
                    await stack.enter_async_context(replica(first.operator.settings))
                    for _ in range(count)
                ]
                apis = [
                    Api(
                        each,
                        http,
                        first.account,
                        first.token,
                        first.seal,
                        first.app,
                        first.log,
                        first.keys,
                    )
                    for each, http in opened
                ]
                await scenario(apis)

        service(over_all)

    return run
