"""I8 with processes: clocks and time servers that go wrong while tokens are asked for."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import judgement
import pytest
from asn1crypto import tsp as asn1_tsp
from cluster import Cluster
from fleet import Fleet
from ntp_server import NtpServer

from hashseal_core import der, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import TimestampUnavailable
from hashseal_server.main import operator
from hashseal_server.settings import Settings

MESSAGE = b"what is stamped"
QUERY = tsp.build_request(Digest(DigestAlgorithm.SHA256, hashlib.sha256(MESSAGE).digest()))
HEADERS = {"content-type": "application/timestamp-query"}
REPLICAS, FAULTY = 3, 2
HEALTHY = frozenset({0, 1})


@dataclass(frozen=True)
class Answer:
    """What a replica said, between two moments of true time; `token` None is a refusal."""

    index: int
    asked: float
    got: float
    token: bytes | None


class Scene:
    """The replicas' clocks, the servers, and every answer so far."""

    def __init__(self, folder: Path) -> None:
        self.clocks = folder
        self.servers = [NtpServer() for _ in range(3)]
        self.answers: list[Answer] = []
        folder.mkdir()
        for index in range(REPLICAS):
            self.set(index, "+0.0")

    def set(self, index: int, what: str) -> None:
        new = self.clocks / f"{index}.new"
        new.write_text(what + "\n")
        new.replace(self.clocks / str(index))

    async def ask(self, http: httpx2.AsyncClient, index: int) -> None:
        """Ask one replica without end."""
        while True:
            asked = time.time()
            body = (await http.post("/tsa", content=QUERY, headers=HEADERS)).content
            token: bytes | None = None
            try:
                token = tsp.token_of_response(body)
            except TimestampUnavailable:
                status = asn1_tsp.PKIStatusInfo.load(der.only(body).content)
                assert status["fail_info"].native == {"time_not_available"}
            self.answers.append(Answer(index, asked, time.time(), token))
            await asyncio.sleep(0.03)

    async def until(self, indexes: frozenset[int], *, issued: bool) -> None:
        """Until each of these has given three answers of the kind, one after the other."""
        began, until = time.time(), time.monotonic() + 60
        while True:
            told = {
                index: [a for a in self.answers if a.index == index and a.asked > began][-3:]
                for index in indexes
            }
            if all(
                len(last) == 3 and all((one.token is not None) is issued for one in last)
                for last in told.values()
            ):
                return
            assert time.monotonic() < until, (indexes, issued)
            await asyncio.sleep(0.05)

    async def one_goes_wrong(self, wrong: Callable[[float], str]) -> None:
        """One clock follows `wrong`, of the seconds since; it alone is refused, and resumes."""
        began = time.monotonic()
        start = len(self.answers)
        refused = asyncio.create_task(self.until(frozenset({FAULTY}), issued=False))
        while not refused.done():
            self.set(FAULTY, wrong(time.monotonic() - began))
            await asyncio.sleep(0.05)
        await refused
        await self.until(HEALTHY, issued=True)
        self.set(FAULTY, "+0.0")
        await self.until(frozenset({FAULTY}), issued=True)
        self.few_refused(one for one in self.answers[start:] if one.index in HEALTHY)

    def few_refused(self, answers: Iterable[Answer]) -> None:
        """Most got a token; on a busy machine a clock or a lease waits too long at times."""
        given = [one.token is not None for one in answers]
        assert given
        assert sum(given) > 0.5 * len(given), f"{len(given) - sum(given)} of {len(given)}"

    async def servers_go_wrong(self, wrong: Callable[[float], float]) -> None:
        """All servers agree on another time: nobody believes its clock until they go back."""
        everybody = HEALTHY | {FAULTY}
        began = time.monotonic()
        refused = asyncio.create_task(self.until(everybody, issued=False))
        while not refused.done():
            for server in self.servers:
                server.wrong = wrong(time.monotonic() - began)
            await asyncio.sleep(0.05)
        await refused
        for server in self.servers:
            server.wrong = 0.0
        await self.until(everybody, issued=True)


async def play(scene: Scene) -> None:
    await scene.until(HEALTHY | {FAULTY}, issued=True)
    frozen = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    await scene.one_goes_wrong(lambda _: "+3600.0")
    await scene.one_goes_wrong(lambda _: "-3600.0")
    await scene.one_goes_wrong(lambda _: frozen)
    await scene.one_goes_wrong(lambda seconds: f"{0.1 * seconds:+.4f}")
    await scene.one_goes_wrong(lambda seconds: f"{-0.1 * seconds:+.4f}")
    scene.servers[0].wrong = 3600.0  # one that lies is outvoted
    start = len(scene.answers)
    await asyncio.sleep(1)
    scene.few_refused(scene.answers[start:])
    scene.servers[0].wrong = 0.0
    await scene.servers_go_wrong(lambda _: 60.0)
    await scene.servers_go_wrong(lambda _: -60.0)
    await scene.servers_go_wrong(lambda seconds: 0.3 * seconds)


@pytest.mark.tools
def test_clocks_and_servers_that_go_wrong(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASHSEAL_TIMESTAMPING_UNITS", str(REPLICAS))
    settings = Settings(
        data_dir=tmp_path / "service",
        database_url=cluster.database(f"clock{random.randrange(10**9)}", "prepared"),
        public_url="http://pki.example.com",
    )
    scene = Scene(tmp_path / "clocks")

    async def run() -> bytes:
        async with operator(settings, migrate=False) as opened:
            await opened.initialise()
            await opened.timestamping.provide(REPLICAS)
            anchor = bytes(await opened.authority.trust_anchor())
        loop = asyncio.get_running_loop()
        places = []
        for one in scene.servers:
            transport, _ = await loop.create_datagram_endpoint(
                lambda one=one: one, local_addr=("127.0.0.1", 0)
            )
            places.append(f"127.0.0.1:{transport.get_extra_info('sockname')[1]}")
        others: Any = {"clock": "ntp", "ntp_servers": places}
        fleet = Fleet(
            settings.data_dir, settings.database_url, REPLICAS, others, clocks=scene.clocks
        )
        await asyncio.to_thread(fleet.start)
        clients = [httpx2.AsyncClient(base_url=fleet.url(n), timeout=12) for n in range(REPLICAS)]
        asking = []
        try:
            for index, http in enumerate(clients):
                await answering(http)
                asking.append(asyncio.create_task(scene.ask(http, index)))
            await play(scene)
            assert not any(one.done() for one in asking)
        finally:
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            for http in clients:
                await http.aclose()
            for server in scene.servers:
                server.transport.close()
            fleet.stop()
        return anchor

    anchor = asyncio.run(run())
    granted = [one for one in scene.answers if one.token is not None]
    judge(granted)
    pem = judgement.write_pem(anchor, tmp_path / "root.pem")
    for one in random.Random(8).sample(granted, 15):
        assert one.token is not None
        assert judgement.rfc3161(one.token, MESSAGE, anchor)
        assert judgement.openssl_ts(one.token, MESSAGE, pem, tmp_path)


async def answering(http: httpx2.AsyncClient) -> None:
    """Until a replica listens."""
    until = time.monotonic() + 60
    while True:
        try:
            await http.get("/healthz")
        except httpx2.HTTPError:
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
        else:
            return


def judge(granted: list[Answer]) -> None:
    """Within a second of true time, and of each unit never back: each replica was asked in turn."""
    latest: dict[bytes, datetime] = {}
    for one in sorted(granted, key=lambda answer: answer.asked):
        assert one.token is not None
        parsed = tsp.parse_token(one.token)
        unit, at = parsed.signed_data.signing_certificate, parsed.content.generated_at
        assert one.asked - 1 <= at.timestamp() <= one.got + 1
        assert at >= latest.get(unit, at)
        latest[unit] = at
    assert len(latest) == REPLICAS
