"""A founded service on a database of its own, and a client that speaks HTTP to it over ASGI."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cluster import Cluster

from hashseal_core.algorithms import KeyAlgorithm
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
    transport = httpx2.ASGITransport(await opened.app(), raise_app_exceptions=False)
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


@pytest.fixture
def service(
    tmp_path: Path, database_url: str | None, other_settings: dict[str, Any]
) -> Callable[[Callable[[Api], Awaitable[None]]], None]:
    """Run an asynchronous scenario against a fresh service."""

    async def run(scenario: Callable[[Api], Awaitable[None]]) -> None:
        settings = Settings(
            data_dir=tmp_path / "service",
            database_url=database_url,
            public_url="http://pki.example.com",
            **other_settings,
        )
        async with operator(settings) as opened:
            await opened.initialise()
            account = await opened.accounts.create("Test Organisation")
            token = await opened.accounts.create_token(account.id)
            book = await opened.seals()
            seal = await book.create(
                account.id, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256
            )
            written = io.StringIO()
            app = await opened.app(logger("json", "info", written))
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://service") as http:
                await scenario(Api(opened, http, account.id, token.text, seal.id, app, written))

    return lambda scenario: asyncio.run(run(scenario))


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
