"""Other servers' time: packets of RFC 5905 as OpenNTPD and chrony send them, lies, majorities."""

from __future__ import annotations

import asyncio
import io
import struct
from collections.abc import Sequence
from typing import Any

import pytest

from hashseal_server.infra import ntp
from hashseal_server.infra.ntp import Consensus, Sample, agree, place_of, read_answer, request
from hashseal_server.infra.timekeeping import Leap, Reading
from hashseal_server.tsa import timekeeper
from hashseal_server.tsa.clock import Evidence, Rules, TrustedClock
from hashseal_server.web.observing import logger

ERA = 2_208_988_800
COOKIE = 0x1234_5678_9ABC_DEF1
NOW = 1_800_000_000.0


def stamp(at: float) -> int:
    """Unix time as an NTP timestamp."""
    return int((at + ERA) * 2**32) & (2**64 - 1)


def packet(
    *,
    head: int = 0x24,
    stratum: int = 2,
    delay: float = 0.01,
    dispersion: float = 0.02,
    origin: int = COOKIE,
    arrived: float = NOW,
    left: float = NOW,
) -> bytes:
    return struct.pack(
        "!BBbbII4sQQQQ", head, stratum, 6, -20, int(delay * 2**16), int(dispersion * 2**16),
        b"\x7f\x00\x00\x01", stamp(NOW - 60), origin, stamp(arrived), stamp(left),
    )  # fmt: skip


def test_a_request_gives_nothing_away() -> None:
    made = request(COOKIE)
    assert len(made) == 48
    assert made[0] == 0x23  # no leap warning, version 4, client
    assert made[1:40] == bytes(39)
    assert made[40:] == COOKIE.to_bytes(8, "big")


def test_an_answer_is_offset_and_distance() -> None:
    # 5 s ahead, 40 ms there and 20 ms back.
    found = read_answer(packet(arrived=NOW + 5.04, left=NOW + 5.05), COOKIE, NOW, NOW + 0.07)
    assert found is not None
    assert found.offset == pytest.approx(5.01, abs=1e-5)
    assert found.distance == pytest.approx(0.03 + 0.005 + 0.02, abs=1e-4)
    assert found.leap is Leap.NONE


def test_the_era_that_begins_in_2036() -> None:
    at = 2_100_000_000.0
    found = read_answer(packet(arrived=at, left=at), COOKIE, at, at)
    assert found is not None
    assert abs(found.offset) < 1e-5


@pytest.mark.parametrize(
    ("head", "leap"), [(0x24, Leap.NONE), (0x64, Leap.INSERT), (0xA4, Leap.DELETE)]
)
def test_announced_leap_seconds(head: int, leap: Leap) -> None:
    found = read_answer(packet(head=head), COOKIE, NOW, NOW)
    assert found is not None
    assert found.leap is leap


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        packet()[:47],
        packet(head=0xE4),  # not synchronised
        packet(head=0x23),  # a client's
        packet(head=0x25),  # a broadcast
        packet(stratum=0),  # go away
        packet(stratum=16),
        packet(origin=COOKIE + 1),  # somebody guesses
        packet(origin=0),
        packet(left=-ERA),
    ],
)
def test_what_is_not_believed(answer: bytes) -> None:
    assert read_answer(answer, COOKIE, NOW, NOW) is None


def sample(offset: float, distance: float = 0.01, leap: Leap = Leap.NONE) -> Sample:
    return Sample(offset, distance, leap)


def test_most_servers_must_agree() -> None:
    agreed = agree([sample(0.001), sample(0.005), sample(3600)], 3)
    assert agreed is not None
    assert agreed.servers == 2
    assert agreed.low == pytest.approx(-0.005)
    assert agreed.high == pytest.approx(0.011)
    assert agreed.bound == pytest.approx(0.011)
    assert agree([sample(0), sample(3600)], 2) is None
    assert agree([sample(0), sample(0)], 4) is None  # half is not more than half
    assert agree([sample(0)], 1) == Consensus(-0.01, 0.01, 1, Leap.NONE)
    assert agree([], 1) is None
    far = agree([sample(-10), sample(-10.001)], 2)
    assert far is not None
    assert far.bound == pytest.approx(10.01, abs=0.002)
    votes = agree([sample(0, leap=Leap.INSERT), sample(0, leap=Leap.INSERT), sample(0)], 3)
    assert votes is not None
    assert votes.leap is Leap.INSERT


@pytest.mark.parametrize(
    ("server", "place"),
    [
        ("ntp.example.com", ("ntp.example.com", 123)),
        ("ntp.example.com:1123", ("ntp.example.com", 1123)),
        ("192.0.2.1", ("192.0.2.1", 123)),
        ("[2001:db8::1]", ("2001:db8::1", 123)),
        ("[2001:db8::1]:1123", ("2001:db8::1", 1123)),
        ("2001:db8::1", ("2001:db8::1", 123)),
    ],
)
def test_places(server: str, place: tuple[str, int]) -> None:
    assert place_of(server) == place


class Server(asyncio.DatagramProtocol):
    """Answers so many seconds wrongly, or not at all."""

    def __init__(self, wrong: float | None) -> None:
        self.wrong = wrong

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.wrong is None:
            return
        at = ntp.time.time() + self.wrong
        cookie = int.from_bytes(data[40:48], "big")
        self.transport.sendto(packet(origin=cookie, arrived=at, left=at), addr)


async def asked(wrongs: Sequence[float | None]) -> tuple[list[Sample], Consensus | None]:
    """What comes of asking servers of the test's own."""
    loop = asyncio.get_running_loop()
    places, transports = [], []
    for wrong in wrongs:
        transport, _ = await loop.create_datagram_endpoint(
            lambda wrong=wrong: Server(wrong), local_addr=("127.0.0.1", 0)
        )
        transports.append(transport)
        places.append(f"127.0.0.1:{transport.get_extra_info('sockname')[1]}")
    try:
        return await ntp.ask(places)
    finally:
        for transport in transports:
            transport.close()


def test_real_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ntp, "_PATIENCE", 0.5)
    answers, agreed = asyncio.run(asked([0.0, 0.0, 100.0]))
    assert len(answers) == 3
    assert agreed is not None
    assert agreed.servers == 2
    assert agreed.bound < 0.5
    answers, ahead = asyncio.run(asked([7.0, 7.0, None]))
    assert len(answers) == 2
    assert ahead is not None
    assert 6.5 < ahead.low <= ahead.high < 7.5
    answers, nobody = asyncio.run(asked([0.0, None, None]))
    assert (len(answers), nobody) == (1, None)
    # Nobody listens, and a name that does not exist.
    assert asyncio.run(ntp.ask(["127.0.0.1:9", "no-such-host.invalid"])) == ([], None)


@pytest.mark.parametrize(
    ("offsets", "agreed", "silent"),
    [
        ([0, 0, 0], (-0.1, 0.2), False),
        ([0.7, 0.7, 0.7], (0.6, 0.9), False),  # the clock is wrong
        ([0, 0, 0], (-0.2, 0.9), True),  # an answer that came late
        ([0, 0, 0], (-0.9, 0.3), True),
        ([0, 9, -9], None, False),  # they contradict each other
        ([0], None, True),
        ([], None, True),
        ([9], None, False),  # the only one that answers contradicts the clock
    ],
)
def test_what_their_answers_say(
    monkeypatch: pytest.MonkeyPatch,
    offsets: list[float],
    agreed: tuple[float, float] | None,
    silent: bool,
) -> None:
    answers = [sample(one) for one in offsets]
    consensus = None if agreed is None else Consensus(*agreed, len(answers), Leap.NONE)

    async def ask(_: Sequence[str]) -> tuple[list[Sample], Consensus | None]:
        return answers, consensus

    monkeypatch.setattr(timekeeper.ntp, "ask", ask)
    told = asyncio.run(timekeeper.Servers(["a", "b", "c"]).ask())
    assert told.silent is silent
    assert (told.problem is None) is (agreed is not None)


def test_silent_servers_are_asked_in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every eight seconds, whether the clock is trusted still or not."""
    seconds, asked = [0.0], []

    class Silent(timekeeper.Servers):
        async def ask(self) -> Evidence:
            asked.append(seconds[0])
            return Evidence(problem="no answer", silent=True)

    async def scenario() -> None:
        clock = TrustedClock(lambda: Reading(0, int(seconds[0] * 1e9)), Rules(age=300.0))
        keeper = timekeeper.Timekeeper(clock, Silent(["a"]))
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: seconds[0])
        for _ in range(64):
            await keeper._round(logger("json", "error", io.StringIO()))
            seconds[0] += 1.0

    asyncio.run(scenario())
    assert len(asked) == 8
