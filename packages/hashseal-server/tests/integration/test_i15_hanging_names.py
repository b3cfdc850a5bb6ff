"""I15: names of one account that never resolve hold up nobody else's webhooks."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fetching import LOOPBACK
from receiver import receiving

from hashseal_core.errors import OutboundFailed
from hashseal_server.infra import resolving
from hashseal_server.infra.outbound import Outbound
from hashseal_server.web.observing import logger


@pytest.fixture
def other_settings() -> dict[str, Any]:
    return {"outbound_networks": LOOPBACK}


class SlowNames:
    """A resolver; names that begin with `slow` hang until they are let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gone = threading.Event()

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        if host.startswith("slow"):
            self.gone.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return ["127.0.0.1"]

    def hanging(self) -> int:
        return sum(one.startswith("slow") for one in self.asked)


@pytest.fixture
def names() -> Iterator[SlowNames]:
    made = SlowNames()
    yield made
    made.gone.set()


def calling(names: SlowNames, **changes: Any) -> Outbound:
    options = {"connect_seconds": 0.3, **changes}
    return Outbound(allowed=LOOPBACK, resolve=names, **options)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_others_are_told_while_an_account_s_names_hang(service, names: SlowNames) -> None:
    async def scenario(api: Any) -> None:
        told = api.operator.notifying
        told._outbound = calling(names)
        book = told.webhooks
        other = await api.operator.accounts.create("Other Organisation")
        for number in range(8):
            url = f"http://slow{number}.example.com:{receiver.port}/"
            hook = await book.create(api.account, url)
            await book.test(api.account, hook.endpoint.id)
        good = await book.create(other.id, receiver.url("/good").replace("127.0.0.1", "good.test"))
        piece = told.delivering(logger("json", "info", api.log)).piece
        for number in range(1, 3):
            await book.test(other.id, good.endpoint.id)
            begun = time.monotonic()
            await piece(None, None)
            assert time.monotonic() - begun < 4
            assert [one.path for one in receiver.messages] == ["/good"] * number
        # Four look-ups hang and are failures of those names; for the others there was no thread.
        assert names.hanging() == resolving.THREADS_EACH
        found = {}
        for hook in await book.all(api.account):
            ((delivery,), _) = await book.deliveries(api.account, hook.id, None, 10)
            found[hook.url] = [one.outcome.error for one in delivery.attempts]
            assert delivery.state == "pending"
        assert sorted(found.values()) == [[]] * 4 + [["timeout"]] * 4

    with receiving() as receiver:
        service(scenario)


async def failure(outbound: Outbound, host: str, owner: str) -> str:
    with pytest.raises(OutboundFailed) as caught:
        await outbound.notify(
            f"http://{host}:9/", b"", media_type="text/plain", headers={}, owner=owner
        )
    return caught.value.reason


def test_a_name_that_hung_is_passed_over_for_a_while(
    names: SlowNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        outbound = calling(names, connect_seconds=3)
        at_once = [failure(outbound, "slow.example.com", "one") for _ in range(8)]
        assert set(await asyncio.gather(*at_once)) == {"timeout"}
        assert names.asked == ["slow.example.com"]  # one look-up, however many want it
        begun = time.monotonic()
        assert await failure(outbound, "slow.example.com", "another") == "timeout"
        assert time.monotonic() - begun < 1.5
        names.gone.set()  # its look-up ends; it is passed over still, and then no more
        await asyncio.sleep(0.1)
        assert await failure(outbound, "slow.example.com", "one") == "timeout"
        assert names.asked == ["slow.example.com"]
        outbound._backend._names._passed_over = 0
        outbound._backend._names._hung["slow.example.com"] = 0
        assert await failure(outbound, "slow.example.com", "one") == "unreachable"
        assert names.hanging() == 2
        await outbound.close()

    monkeypatch.setattr(resolving, "_WAITED", 0.2)
    asyncio.run(scenario())


def test_waiting_for_a_thread_is_nobody_s_failure(
    names: SlowNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        outbound = calling(names)
        asked = [
            failure(outbound, f"slow{owner}-{name}.example.com", str(owner))
            for owner in range(16)
            for name in range(4)
        ]
        assert set(await asyncio.gather(*asked)) == {"timeout"}
        assert names.hanging() == resolving.THREADS == 64
        assert await failure(outbound, "good.test", "another") == "busy"
        names.gone.set()
        await asyncio.sleep(0.1)
        assert await failure(outbound, "good.test", "another") == "unreachable"  # resolved
        await outbound.close()

    monkeypatch.setattr(resolving, "_WAITED", 0.2)
    asyncio.run(scenario())
