"""One service and one gateway for the tests of a process; their wire is as it was after each test."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import generated_pdfs
import httpx2
import one_executor
import pytest
from cluster import OWNER, Cluster
from premises import Premises, lasting, premises

from hashseal_core.errors import HashsealError
from hashseal_gateway.documents.folder import Folders, Report, Watch
from hashseal_gateway.documents.options import DocumentOptions

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Premises]]:
    """Those of this process; opened anew if another test needed premises of its own."""
    yield lambda: lasting(lambda: tmp_path_factory.mktemp("premises"))
    one_executor.take()


@pytest.fixture(scope="module")
def shared(opened: Callable[[], Premises]) -> Premises:
    return opened()


@pytest.fixture
def house(opened: Callable[[], Premises]) -> Iterator[Premises]:
    made = opened()
    yield made
    made.wire.down = False
    made.wire.change = None
    made.wire.calls.clear()
    made.wire.traffic.clear()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def each_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Premises]:
    """Premises of the module's own, on each kind of database."""
    folder = tmp_path_factory.mktemp("home")
    if request.param == "sqlite":
        with premises(folder) as opened:
            yield opened
        return
    cluster = Cluster()
    cluster.start()
    try:
        cluster.sql(f"CREATE ROLE {OWNER} LOGIN")
        cluster.database("gateway")
        with premises(folder, database_url=cluster.url("gateway", OWNER)) as opened:
            yield opened
    finally:
        cluster.stop()


@pytest.fixture
def seal(house: Premises) -> str:
    return house.service.seal_ids["P-256"]


class Caller:
    """A business system."""

    def __init__(self, client: httpx2.Client, seal: str) -> None:
        self.http = client
        self.seal = seal

    def sign(
        self, document: bytes = PLAIN, *, key: str | None = None, later: bool = False, **query: str
    ) -> httpx2.Response:
        headers = {"Content-Type": "application/pdf"}
        headers |= {"Idempotency-Key": key} if key else {}
        headers |= {"Prefer": "respond-async"} if later else {}
        asked = {"seal": self.seal, **query}
        return self.http.post("/v1/documents", content=document, headers=headers, params=asked)

    def until(self, document_id: str, *states: str) -> dict[str, object]:
        """Ask for a document until it is in one of these states."""
        import time

        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            found = self.http.get(f"/v1/documents/{document_id}").json()
            if found["state"] in states:
                return found
            time.sleep(0.1)
        raise AssertionError(found)


@pytest.fixture
def caller(house: Premises, seal: str) -> Caller:
    return Caller(house.client(), seal)


@pytest.fixture
def key() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Of a watch: nothing is in them."""
    (tmp_path / "in").mkdir()
    made = Folders(tmp_path / "in", tmp_path / "out", tmp_path / "out" / "failed")
    made.prepare()
    return made


@pytest.fixture
def watch(house: Premises, seal: str, folders: Folders) -> Callable[..., Watch]:
    """Makes one; `told` and `waited` is what they all have said."""
    told: list[Report] = []
    waited: list[HashsealError] = []

    def made(**changes: Any) -> Watch:
        appearance = changes.pop("appearance", None)
        values = {
            "at_once": 2,
            "most": 1 << 20,
            "tell": told.append,
            "waits": waited.append,
            "now": house.gateway.work._now,
            **changes,
        }
        options = DocumentOptions(seal=seal, appearance=appearance)
        office = house.gateway.office
        where = values.pop("folders", folders)
        return Watch(where, house.gateway.documents, office.folder, options, **values)

    made.told, made.waited = told, waited  # type: ignore[attr-defined]
    return made
