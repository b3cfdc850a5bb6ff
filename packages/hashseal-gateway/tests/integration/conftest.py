"""One service and one gateway for all tests of a process; their wire is as it was after each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import generated_pdfs
import httpx2
import pytest
from premises import Premises, premises

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Premises]:
    with premises(tmp_path_factory.mktemp("premises"), patience_hours=1) as opened:
        yield opened


@pytest.fixture
def house(shared: Premises) -> Iterator[Premises]:
    yield shared
    shared.wire.down = False
    shared.wire.change = None
    shared.wire.calls.clear()
    shared.wire.traffic.clear()


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
