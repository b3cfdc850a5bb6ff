"""I8: while nobody vouches for the clock no token is issued; it is said, and it resumes by itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from asn1crypto import tsp as asn1_tsp
from ntp_server import NtpServer

from hashseal_core import der, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import TimestampUnavailable
from hashseal_server import timestamping
from hashseal_server.infra.timekeeping import Discipline, Leap, Reading, reading
from hashseal_server.tsa import timekeeper
from hashseal_server.tsa.clock import Rules
from hashseal_server.tsa.timekeeper import Kernel, Servers, Source

HEADERS = {"content-type": "application/timestamp-query"}
QUERY = tsp.build_request(Digest(DigestAlgorithm.SHA256, bytes(range(32))))
QUICK = {"settling": 0.6, "age": 5.0}


async def issued(api) -> bool:
    """Whether a token comes; a refusal must be timeNotAvailable."""
    response = (await api.http.post("/tsa", content=QUERY, headers=HEADERS)).content
    try:
        tsp.token_of_response(response)
    except TimestampUnavailable:
        status = asn1_tsp.PKIStatusInfo.load(der.only(response).content)
        assert status["fail_info"].native == {"time_not_available"}
        return False
    return True


async def until(api, wanted: bool, seconds: float = 15) -> None:
    """Wait until tokens come, or come no more."""
    give_up = time.monotonic() + seconds
    while await issued(api) is not wanted:
        assert time.monotonic() < give_up, api.log.getvalue()[-2000:]
        await asyncio.sleep(0.05)


def told(api) -> list[tuple[str, str | None]]:
    """What the log says of the clock."""
    lines = [json.loads(line) for line in api.log.getvalue().splitlines()]
    return [(one["state"], one.get("reason")) for one in lines if one["event"] == "clock"]


async def said(api, wanted: Callable[[tuple[str, str | None]], bool]) -> None:
    """The log, which the next look writes, ends with this."""
    deadline = time.monotonic() + 20
    while not wanted(told(api)[-1]):
        assert time.monotonic() < deadline, told(api)
        await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence is asked for ten times a second, and settles within one."""
    monkeypatch.setattr(timekeeper, "_TICK", 0.1)
    monkeypatch.setattr(Kernel, "rules", Rules(**QUICK))
    monkeypatch.setattr(Kernel, "rest", 0.1)
    monkeypatch.setattr(Kernel, "hurry", 0.1)
    monkeypatch.setattr(Servers, "rules", Rules(**QUICK))
    monkeypatch.setattr(Servers, "rest", 0.1)
    monkeypatch.setattr(Servers, "hurry", 0.1)


# --- The kernel's clock ------------------------------------------------------------------------


@dataclass
class Machine:
    """What the kernel says, and by how much its wall clock is wrong."""

    said: Discipline = field(default_factory=lambda: Discipline(0.001, 0.01, synchronised=True))
    silent: bool = False
    wrong: float = 0.0
    frozen: Reading | None = None

    def discipline(self) -> Discipline | None:
        return None if self.silent else self.said

    def reading(self) -> Reading:
        now = reading()
        if self.frozen is not None:
            return Reading(self.frozen.wall, now.elapsed)
        return Reading(now.wall + int(self.wrong * 1e9), now.elapsed)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(timestamping, "discipline", made.discipline)
    monkeypatch.setattr(timestamping, "reading", made.reading)
    return made


def unsynchronised(machine: Machine) -> None:
    machine.said = replace(machine.said, synchronised=False)


def far_off(machine: Machine) -> None:
    machine.said = replace(machine.said, error_bound=0.6)


def silent(machine: Machine) -> None:
    machine.silent = True


def forward(machine: Machine) -> None:
    machine.wrong = 3600.0
    unsynchronised(machine)  # as the kernel says after settimeofday(2)


def back(machine: Machine) -> None:
    machine.wrong = -3600.0
    unsynchronised(machine)


def frozen(machine: Machine) -> None:
    machine.frozen = reading()


def leaping(machine: Machine) -> None:
    machine.said = replace(machine.said, leap=Leap.NOW)


@pytest.mark.parametrize("other_settings", [{"clock": "kernel"}])
@pytest.mark.parametrize("wrong", [unsynchronised, far_off, silent, forward, back, frozen, leaping])
def test_the_kernel_s_clock(machine: Machine, service, wrong) -> None:
    async def scenario(api) -> None:
        assert await issued(api)
        wrong(machine)
        # A clock that was set is refused at once, what a daemon says when it has been asked.
        if wrong in {forward, back}:
            assert not await issued(api)
        await until(api, wanted=False, seconds=10)
        refused = await api.sign("one", level="B-LT")
        assert (refused.status_code, refused.json()["code"]) == (503, "timestamp-unavailable")
        assert await api.left() == (100, 0)
        assert (await api.sign("one", level="B-B")).status_code == 200
        if wrong is not leaping:
            metrics = (await api.http.get("/metrics")).text
            assert 'hashseal_timestamping_clock{state="trusted"} 0.0' in metrics
            await said(api, lambda one: one[0] in {"suspect", "settling"})
        if wrong in {forward, back, frozen}:
            # Nothing that this clock says is reserved: the unit is not spoilt.
            (unit,) = await api.operator.timestamping.all()
            assert unit.lease.mark / 1000 < time.time() + 10
        machine.__dict__.update(Machine().__dict__)
        await until(api, wanted=True)
        if wrong is not leaping:
            metrics = (await api.http.get("/metrics")).text
            assert 'hashseal_timestamping_clock{state="trusted"} 1.0' in metrics
            await said(api, lambda one: one == ("trusted", None))
        assert (await api.sign("one", level="B-LT")).status_code == 200

    service(scenario)


@pytest.mark.parametrize("other_settings", [{"clock": "kernel"}])
def test_it_starts_without_a_clock_and_begins_when_there_is_one(machine: Machine, service) -> None:
    unsynchronised(machine)

    async def scenario(api) -> None:
        assert not await issued(api)
        assert told(api) == [("suspect", "no NTP daemon keeps the kernel's clock")]
        machine.said = Machine().said
        await until(api, wanted=True)

    service(scenario)


# --- NTP servers -------------------------------------------------------------------------------


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[NtpServer]:
    """Three servers, that run in the event loop of the service: they begin when it asks."""
    made = [NtpServer() for _ in range(3)]
    places: list[str] = []
    monkeypatch.setattr(timekeeper.ntp, "_PATIENCE", 0.3)
    ask = timekeeper.ntp.ask

    async def begin_and_ask(_: Any) -> Any:
        if not places:
            loop = asyncio.get_running_loop()
            for one in made:
                transport, _protocol = await loop.create_datagram_endpoint(
                    lambda one=one: one, local_addr=("127.0.0.1", 0)
                )
                places.append(f"127.0.0.1:{transport.get_extra_info('sockname')[1]}")
        return await ask(places)

    monkeypatch.setattr(timekeeper.ntp, "ask", begin_and_ask)
    return made


@pytest.mark.parametrize("other_settings", [{"clock": "ntp", "ntp_servers": ("a", "b", "c")}])
def test_ntp_servers(servers: list[NtpServer], service) -> None:
    async def scenario(api) -> None:
        assert await issued(api)
        for one in servers:
            one.wrong = None  # packets get lost: what was said a moment ago still holds
        await asyncio.sleep(1.5)
        assert await issued(api)
        for one in servers:
            one.wrong = 0.0
        servers[0].wrong = 3600.0  # one lies: most agree
        await asyncio.sleep(0.5)
        assert await issued(api)
        servers[1].wrong = -3600.0  # no two agree
        await until(api, wanted=False, seconds=10)
        assert "most of 3 NTP servers do not agree" in told(api)[-1][1]
        servers[1].wrong = 0.0
        await until(api, wanted=True)
        for one in servers:  # all agree that our clock is wrong
            one.wrong = 2.0
        await until(api, wanted=False, seconds=10)
        for one in servers:
            one.wrong = None  # and then say nothing at all
        await asyncio.sleep(1)
        assert not await issued(api)
        for one in servers:
            one.wrong = 0.0
        await until(api, wanted=True)

    async def closing(api) -> None:
        try:
            await scenario(api)
        finally:
            for one in servers:
                one.transport.close()

    service(closing)


def test_a_source_that_fails_is_no_evidence(service, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Kernel):
        async def ask(self) -> Any:
            raise RuntimeError("a bug")

    def source(_: object) -> Source:
        return Broken(lambda: None)

    monkeypatch.setattr(timestamping, "_source", source)

    async def scenario(api) -> None:
        assert not await issued(api)
        assert "a bug" in (told(api)[-1][1] or "")

    service(scenario)
