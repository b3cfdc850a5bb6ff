"""What time other servers have: the client's part of SNTP (RFC 4330, RFC 5905), and their majority.

One packet to each server, one back; nothing is kept between rounds, and nothing sets the clock.
The addresses are the operator's configuration. The request carries a random number in place of our
time, which the answer must repeat.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hashseal_server.infra.timekeeping import Leap

PORT = 123
_PACKET = struct.Struct("!BBbb II4s QQQQ")
_CLIENT, _SERVER = 0x23, 4
"""Version 4, mode client; mode server."""
_ERA = 2_208_988_800
"""Seconds from 1900, where NTP begins, to 1970."""
_MAX_STRATUM = 15
_LEAPS = (Leap.NONE, Leap.INSERT, Leap.DELETE)
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One server's answer, seconds: it is `offset` ahead of us, give or take `distance`."""

    offset: float
    distance: float
    leap: Leap


@dataclass(frozen=True, slots=True)
class Consensus:
    """Where most servers agree: our clock is off by something from `low` to `high` seconds."""

    low: float
    high: float
    servers: int
    leap: Leap

    @property
    def bound(self) -> float:
        """How far our clock may be off at most."""
        return max(abs(self.low), abs(self.high))


def request(cookie: int) -> bytes:
    """A client's packet; `cookie` is a random number of 64 bits."""
    return _PACKET.pack(_CLIENT, 0, 0, 0, 0, 0, b"", 0, 0, 0, cookie)


def read_answer(packet: bytes, cookie: int, sent: float, received: float) -> Sample | None:
    """What an answer says, or None if it is none that may be believed.

    `sent` and `received` are our own Unix times. Not believed: another length or mode, a server
    that is not synchronised or asks us to stay away (stratum 0), an answer to something else.
    """
    if len(packet) < _PACKET.size:
        return None
    head, stratum, _, _, root_delay, dispersion, _, _, origin, arrived, left = _PACKET.unpack(
        packet[: _PACKET.size]
    )
    leap, mode = head >> 6, head & 7
    if mode != _SERVER or not 0 < stratum <= _MAX_STRATUM or leap >= len(_LEAPS):
        return None
    if origin != cookie or not left or not arrived:
        return None
    there, back = _unix(arrived) - sent, _unix(left) - received
    delay = (received - sent) - (_unix(left) - _unix(arrived))
    distance = max(delay, 0.0) / 2 + root_delay / 2**17 + dispersion / 2**16
    return Sample((there + back) / 2, distance, _LEAPS[leap])


def agree(samples: Sequence[Sample], asked: int) -> Consensus | None:
    """Where more than half of the servers that were asked agree (RFC 5905, 11.2.1); or None."""
    ends = sorted(
        [(one.offset - one.distance, 0) for one in samples]
        + [(one.offset + one.distance, 1) for one in samples]
    )
    best, within, low = 0, 0, 0.0
    high = 0.0
    for place, (at, kind) in enumerate(ends):
        if kind:
            within -= 1
            continue
        within += 1
        if within > best:
            best, low = within, at
            high = next(end for end, closing in ends[place:] if closing)
    if 2 * best <= asked:
        return None
    votes = [one.leap for one in samples if abs(one.offset - (low + high) / 2) <= one.distance]
    said = max(_LEAPS, key=votes.count)
    return Consensus(low, high, best, said)


async def ask(servers: Sequence[str]) -> tuple[list[Sample], Consensus | None]:
    """Ask all servers at once, `host` or `host:port`: what they answered, and where most agree."""
    answers = await asyncio.gather(*map(_ask_one, servers))
    samples = [one for one in answers if one is not None]
    return samples, agree(samples, len(servers))


async def _ask_one(server: str) -> Sample | None:
    loop = asyncio.get_running_loop()
    host, port = place_of(server)
    cookie = secrets.randbits(64) | 1
    try:
        async with asyncio.timeout(_PATIENCE):
            transport, answer = await loop.create_datagram_endpoint(
                lambda: _Answer(loop.create_future()), remote_addr=(host, port)
            )
            try:
                sent, began = time.time(), time.monotonic()
                transport.sendto(request(cookie))
                packet, ended = await answer.packet
            finally:
                transport.close()
    except OSError:  # a time-out is one too
        return None
    return read_answer(packet, cookie, sent, sent + (ended - began))


class _Answer(asyncio.DatagramProtocol):
    """The first packet that comes back, and when on the monotonic clock."""

    def __init__(self, packet: asyncio.Future[tuple[bytes, float]]) -> None:
        self.packet = packet

    def datagram_received(self, data: bytes, addr: object) -> None:
        """From the server alone: the socket is connected to it."""
        del addr
        if not self.packet.done():
            self.packet.set_result((data, time.monotonic()))

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there."""
        if not self.packet.done():
            self.packet.set_exception(exc)


def place_of(server: str) -> tuple[str, int]:
    """Host and port of `host`, `host:port`, `[address]`, `[address]:port`; 123 is the default."""
    host, _, port = server.rpartition(":")
    if not host or "]" in port or (":" in host.strip("[]") and server[0] != "["):
        host, port = server, ""
    return host.strip("[]"), int(port or PORT)


def _unix(stamp: int) -> float:
    """An NTP timestamp as Unix time; what looks like before 1968 is of the era from 2036 on."""
    seconds = stamp / 2**32
    return seconds - _ERA + (2**32 if stamp < 1 << 63 else 0)
