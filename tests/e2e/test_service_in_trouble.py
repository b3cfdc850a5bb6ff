"""The service is down, slow, out of credit, its clock wrong, a seal revoked: each has an answer of its own.

A caller who waits for the file is told at once; a document that may wait goes on by itself when the
trouble is over, and is charged once. The service and the gateway are real; an HTTP proxy stands between.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import generated_pdfs
import httpx2
import pytest
from fleet import Fleet
from gateway_command import Command, Running, left
from go_between import GoBetween, between
from loopback import SUBJECT, Loopback, loopback
from ntp_server import NtpServer

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.main import operator
from hashseal_server.settings import Settings

pytestmark = pytest.mark.xdist_group("trouble")
PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())


@dataclass
class Scene:
    """An account with the hundred calls that each gets, and a gateway that uses it."""

    service: Loopback
    account: str
    wire: GoBetween
    gateway: Running
    seal: str

    def new_seal(self) -> str:
        async def make() -> str:
            book = await self.service.operator.seals()
            made = await book.create(
                self.account, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256
            )
            return made.id

        return str(self.service.run(make()))

    def left(self) -> int:
        return left(self.wire)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("trouble")
    with loopback(folder / "service") as service:
        accounts = service.operator.accounts
        account = service.run(accounts.create("Small Organisation")).id
        token = service.run(accounts.create_token(account)).text
        with between(service.url, token) as wire:
            command = Command(folder, wire)
            with command.serving(service_timeout="4") as running:
                made = Scene(service, account, wire, running, "")
                made.seal = made.new_seal()
                yield made


@contextmanager
def down(scene: Scene) -> Iterator[None]:
    scene.wire.down()
    yield
    scene.wire.up()


@contextmanager
def slow(scene: Scene) -> Iterator[None]:
    """Every answer comes after the gateway has given up."""

    over = False

    async def hold(_request: Any, answer: Any) -> bytes:
        while not over:  # noqa: ASYNC110 - the block ends in another thread
            await asyncio.sleep(0.1)
        return bytes(answer.octets)

    scene.wire.change = hold
    yield
    scene.wire.change = None
    over = True


@contextmanager
def broken_off(scene: Scene) -> Iterator[None]:
    """Each answer ends in its middle."""

    async def cut(_request: Any, answer: Any) -> bytes:
        return bytes(answer.octets[: len(answer.octets) // 2])

    scene.wire.change = cut
    yield
    scene.wire.change = None


@contextmanager
def out_of_credit(scene: Scene) -> Iterator[None]:
    """Somebody else signs with what the account has left."""
    hashes = [
        b64encode(hashlib.sha256(str(number).encode()).digest()).decode()
        for number in range(scene.left())
    ]
    body = {"seal_id": scene.seal, "level": "B-B", "hashes": hashes}
    headers = {"Authorization": f"Bearer {scene.wire.token}", "Idempotency-Key": "the-rest"}
    url = f"{scene.service.url}/v1/documents/sign"
    assert httpx2.post(url, json=body, headers=headers, timeout=60).status_code == 200
    assert scene.left() == 0
    yield
    scene.service.run(scene.service.operator.accounts.record_order(scene.account, 1000))


TROUBLES = {
    "down": (down, 503, "service-unreachable", "cannot be reached"),
    "slow": (slow, 503, "service-unreachable", "in time"),
    "broken off": (broken_off, 503, "service-unreachable", "breaks off"),
    "out of credit": (out_of_credit, 402, "quota-exhausted", "left"),
}


@pytest.mark.parametrize("what", TROUBLES)
def test_what_passes(scene: Scene, what: str) -> None:
    """The caller of the moment is told; the document that waits is signed by itself afterwards."""
    trouble, status, code, words = TROUBLES[what]
    assert scene.gateway.sign(PLAIN, scene.seal).status_code == 200
    document = PLAIN + f"% {what}".encode()
    with trouble(scene):
        refused = scene.gateway.sign(document, scene.seal)
        told = refused.json()
        assert (refused.status_code, told["code"]) == (status, code), told
        assert words in told["detail"]
        assert told["action"]
        assert told["retryable"] is (status == 503)
        assert ("retry-after" in refused.headers) is (status == 503)
        accepted = scene.gateway.sign(document, scene.seal, later=True, key=what.replace(" ", "-"))
        assert accepted.status_code == 202, accepted.text
        waiting = scene.gateway.until(accepted.json()["id"], "waiting")
        assert waiting["problem"]["code"] == code
        assert words in waiting["problem"]["detail"]
        entries = scene.gateway.client.get("/v1/log", params={"outcome": code}).json()["entries"]
        assert len(entries) >= 1
    signed = scene.gateway.until(accepted.json()["id"], "signed")
    assert signed["problem"] is None
    content = scene.gateway.client.get(signed["content_url"]).content
    assert content.startswith(document)


def test_each_is_charged_once(scene: Scene) -> None:
    """What the service had signed when its answer was given up is not signed once more."""
    before = scene.left()
    with slow(scene):
        lost = scene.gateway.sign(PLAIN, scene.seal, key="once")
        assert lost.json()["code"] == "service-unreachable"
        accepted = scene.gateway.sign(PLAIN, scene.seal, later=True, key="once-later")
        scene.gateway.until(accepted.json()["id"], "waiting")
    assert scene.gateway.sign(PLAIN, scene.seal, key="once").status_code == 200
    scene.gateway.until(accepted.json()["id"], "signed")
    assert scene.left() == before - 2


def test_a_revoked_seal(scene: Scene) -> None:
    """It will never sign again: nothing waits for it."""
    seal = scene.new_seal()
    assert scene.gateway.sign(PLAIN, seal).status_code == 200
    with down(scene):
        accepted = scene.gateway.sign(PLAIN, seal, later=True, key="revoked")
        scene.gateway.until(accepted.json()["id"], "waiting")

        async def revoke() -> None:
            found = await scene.service.operator.seal_store.find(scene.account, seal)
            await scene.service.operator.revoke(found.serial, "keyCompromise")

        scene.service.run(revoke())
        before = left(scene.service)
    failed = scene.gateway.until(accepted.json()["id"], "failed")
    refused = scene.gateway.sign(PLAIN, seal)
    assert (refused.status_code, refused.json()["code"]) == (409, "seal-revoked")
    assert "revoked" in refused.json()["detail"]
    assert failed["problem"]["code"] == "seal-revoked"
    assert failed["problem"]["retryable"] is False
    content = scene.gateway.client.get(f"/v1/documents/{failed['id']}/content")
    assert (content.status_code, content.json()["code"]) == (409, "seal-revoked")
    assert left(scene.service) == before


def test_the_service_comes_back_under_load(scene: Scene) -> None:
    """Many that wait go on by themselves, nobody asks for any of them again."""
    before = scene.left()
    with down(scene):
        made = [
            scene.gateway.sign(PLAIN + b"%%%d" % number, scene.seal, later=True).json()["id"]
            for number in range(12)
        ]
        for identity in made:
            scene.gateway.until(identity, "waiting")
    for identity in made:
        scene.gateway.until(identity, "signed")
    assert scene.left() == before - 12


@pytest.mark.tools
def test_a_clock_that_is_wrong(tmp_path: Path) -> None:
    """No time can be stated: what needs none is signed, what needs one waits until the clock is right."""
    settings = Settings(data_dir=tmp_path / "service", public_url="http://pki.example.com")
    servers = [NtpServer() for _ in range(3)]
    clock = tmp_path / "clocks" / "0"
    clock.parent.mkdir()
    clock.write_text("+0.0\n")

    async def found() -> tuple[str, str]:
        async with operator(settings) as opened:
            await opened.initialise()
            account = await opened.accounts.create("Clock")
            book = await opened.seals()
            seal = await book.create(
                account.id, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256
            )
            return (await opened.accounts.create_token(account.id)).text, seal.id

    token, seal = asyncio.run(found())
    with ntp(servers) as places, fleet_of(settings, places, clock.parent) as fleet:
        service = GoBetween(fleet.url(0), token)
        with contextlib.closing(service), Command(tmp_path, service).serving() as gateway:
            wait_for(gateway, seal)
            before = left(service)
            clock.write_text("+3600.0\n")
            refused = gateway.sign(PLAIN, seal, level="B-LT")
            told = refused.json()
            assert (refused.status_code, told["code"]) == (503, "timestamp-unavailable"), told
            assert "clock" in told["detail"]
            assert told["retryable"] is True
            assert gateway.sign(PLAIN, seal, level="B-B").status_code == 200
            accepted = gateway.sign(PLAIN, seal, level="B-LT", later=True).json()
            waiting = gateway.until(accepted["id"], "waiting")
            assert waiting["problem"]["code"] == "timestamp-unavailable"
            clock.write_text("+0.0\n")
            gateway.until(accepted["id"], "signed")
            assert left(service) == before - 2


def wait_for(gateway: Running, seal: str) -> None:
    """Until the service believes its clock."""
    deadline = time.monotonic() + 60
    while (answer := gateway.sign(PLAIN, seal, level="B-LT")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


@contextmanager
def ntp(servers: list[NtpServer]) -> Iterator[list[str]]:
    """Time servers, in a thread of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> list[str]:
        places = []
        for one in servers:
            transport, _ = await loop.create_datagram_endpoint(
                lambda one=one: one, local_addr=("127.0.0.1", 0)
            )
            places.append(f"127.0.0.1:{transport.get_extra_info('sockname')[1]}")
        return places

    yield asyncio.run_coroutine_threadsafe(listen(), loop).result(20)

    async def close() -> None:
        for one in servers:
            one.transport.close()

    asyncio.run_coroutine_threadsafe(close(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


@contextmanager
def fleet_of(settings: Settings, places: list[str], clocks: Path) -> Iterator[Fleet]:
    """One replica that asks these servers for the time."""
    others: Any = {"clock": "ntp", "ntp_servers": places}
    fleet = Fleet(settings.data_dir, None, 1, others, clocks=clocks)
    fleet.start()
    try:
        yield fleet
    finally:
        fleet.stop()
