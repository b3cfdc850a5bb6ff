"""Peers' processes: started, kept busy, measured by their own CPU time, killed by pid."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster import free_port
from peer_material import Material

CONNECTIONS = 4
PATIENCE = 30.0  # seconds that anything but the measured time itself may last
TICKS = os.sysconf("SC_CLK_TCK")
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Turn:
    """What a peer did in a round: signatures, CPU seconds of its processes, seconds."""

    signatures: int
    cpu: float
    seconds: float


Run = Callable[[float], Turn]


def cpu_of(pids: list[int]) -> float:
    """CPU seconds that these processes and their ended children have used."""
    used = 0
    for pid in pids:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        used += sum(map(int, words[11:15]))
    return used / TICKS


@contextmanager
def program(material: Material, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A peer's process; killed at the end, whatever it does."""
    log = material.folder / "log"
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [
                sys.executable, str(Path(__file__).with_name("peer_programs.py")),
                arguments[0], str(material.folder), *arguments[1:],
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    try:
        yield process
    except Exception as error:
        told = log.read_text(encoding="utf-8").strip().splitlines()
        raise RuntimeError(f"{error}; it said: {told[-1] if told else 'nothing'}") from error
    finally:
        process.kill()
        process.communicate()


@contextmanager
def server(material: Material, name: str) -> Iterator[tuple[int, int]]:
    """A peer's server; its pid and the port at which it answers."""
    port = free_port()
    with program(material, name, str(port)) as process:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                asyncio.run(exchange(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{name} does not answer") from error
                time.sleep(0.1)
        yield process.pid, port


def request(path: str, kind: str, body: bytes) -> bytes:
    """The octets of a POST."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def answer(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], octets: bytes
) -> tuple[int, bytes]:
    """Send a request, read status and body."""
    reader, writer = streams
    writer.write(octets)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


async def exchange(port: int, octets: bytes) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    streams = await asyncio.open_connection(HOST, port)
    try:
        return await asyncio.wait_for(answer(streams, octets), PATIENCE)
    finally:
        streams[1].close()


def post(port: int, octets: bytes) -> bytes:
    """One request that has to succeed; its body."""
    status, body = asyncio.run(exchange(port, octets))
    if status != 200:
        raise RuntimeError(f"answered {status}")
    return body


async def flood(port: int, octets: bytes, seconds: float) -> int:
    """Send a request again and again on a few connections; how often it succeeded."""
    until = time.perf_counter() + seconds

    async def caller() -> int:
        streams, done = await asyncio.open_connection(HOST, port), 0
        while time.perf_counter() < until:
            status, _ = await answer(streams, octets)
            if status != 200:
                raise RuntimeError(f"answered {status}")
            done += 1
        streams[1].close()
        return done

    callers = asyncio.gather(*(caller() for _ in range(CONNECTIONS)))
    return sum(await asyncio.wait_for(callers, seconds + PATIENCE))


def flooding(pid: int, port: int, octets: bytes, size: int = 1) -> Run:
    """Callers that keep a server busy; `size` signatures in an answer."""

    def run(seconds: float) -> Turn:
        before, began = cpu_of([pid]), time.perf_counter()
        done = asyncio.run(flood(port, octets, seconds))
        return Turn(size * done, cpu_of([pid]) - before, time.perf_counter() - began)

    return run
