"""The gateway as a command, its service and its callers on one machine: what it costs over the SDK."""

from __future__ import annotations

import http.client
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import process_tree
from gateway_command import Command, Running
from large_pdfs import sized
from stand import Stand, stand
from table import Fact, Row

from hashseal.client.http import Client
from hashseal.client.signing import sign
from hashseal_core.algorithms import Level

CALLERS, SECONDS, ROUNDS = 16, 6.0, 3
MIB = 1 << 20
PIECE = 1 << 18


class Caller:
    """One connection to the gateway; the file is streamed there and back."""

    def __init__(self, running: Running, seal: str) -> None:
        place = urlsplit(running.url)
        self._http = http.client.HTTPConnection(str(place.hostname), place.port, timeout=120)
        self._path = f"/v1/documents?seal={seal}&level=B-LT"
        self._headers = {
            "Authorization": f"Bearer {running.key}",
            "Content-Type": "application/pdf",
        }

    def sign(self, source: Path, target: Path) -> None:
        """One file.

        Raises:
            RuntimeError: it was not signed.
        """
        headers = {**self._headers, "Content-Length": str(source.stat().st_size)}
        with source.open("rb") as file:
            self._http.request("POST", self._path, file, headers)
        answer = self._http.getresponse()
        with target.open("wb") as file:
            while piece := answer.read(PIECE):
                file.write(piece)
        if answer.status != 200:
            raise RuntimeError(target.read_text())

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def rows() -> Iterator[Row | Fact]:
    """All of them."""
    with tempfile.TemporaryDirectory() as name, stand("PostgreSQL") as place:
        folder = Path(name)
        seal = place.seals["P-256"]
        service = SimpleNamespace(url=place.fleet.url(0), token=place.token)
        with Command(folder, service).serving(max_upload_mib="1100") as running:
            source, target = folder / "in.pdf", folder / "out.pdf"
            sized(source, 10_000, 8)
            yield from many(place, running, seal, source)
            sized(source, 100 * MIB, 10)
            yield large(place, running, seal, source, target)
            sized(source, 1024 * MIB, 64)
            yield memory(running, seal, source, target)


def many(place: Stand, running: Running, seal: str, source: Path) -> Iterator[Fact]:
    """Small files from many callers, all the while; then one after the other with the SDK alone."""
    kept = source.parent / "kept"
    kept.mkdir()
    pid, cores = running.process.pid, os.cpu_count() or 1
    rates, busy, gateway, client = [], [], [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        before = process_tree.cpu(pid), place.cpu(), time.process_time()
        files = together(running, seal, source, kept, began + SECONDS)
        wall = time.perf_counter() - began
        after = process_tree.cpu(pid), place.cpu(), time.process_time()
        used = [late - early for late, early in zip(after, before, strict=True)]
        rates.append(files / wall)
        busy.append(sum(used) / (wall * cores))
        gateway.append(used[0] / files)
        client.append(alone(place, seal, source, kept))
    yield Fact(
        f"gateway, 10 KB PDF, B-LT, {CALLERS} callers", statistics.median(rates), "files/s",
        "service with PostgreSQL, durable commits of both, and callers on the same cores",
    )  # fmt: skip
    yield Fact(
        "  share of the cores that gateway, service, database and callers use",
        statistics.median(busy), "of 1", f"{cores} cores, all together",
    )  # fmt: skip
    mine, other = statistics.median(gateway), statistics.median(client)
    yield Fact(
        "  CPU of the gateway ÷ CPU of the SDK, the same file, without the service", mine / other, "",
        f"{1000 * mine:.1f} ms and {1000 * other:.1f} ms a file; the gateway takes it in, reads it "
        "in a process of its own, and records it durably",
    )  # fmt: skip


def together(running: Running, seal: str, source: Path, kept: Path, until: float) -> int:
    """How many files were signed by callers at the same time."""

    def call(number: int) -> int:
        caller, target = Caller(running, seal), kept / f"{number}.pdf"
        for done in itertools.count():
            if time.perf_counter() > until:
                caller.close()
                return done
            caller.sign(source, target)
        return 0

    with ThreadPoolExecutor(CALLERS) as pool:
        return sum(pool.map(call, range(CALLERS)))


def alone(place: Stand, seal: str, source: Path, kept: Path) -> float:
    """CPU seconds of this process for a file that the SDK signs."""
    targets = [kept / f"sdk-{number}.pdf" for number in range(40)]
    with Client(place.fleet.url(0), place.token) as client:
        began = time.process_time()
        for target in targets:
            client.run(sign(source, target, seal_id=seal, level=Level.B_LT))
        used = time.process_time() - began
    for target in targets:
        target.unlink()
    return used / len(targets)


def large(place: Stand, running: Running, seal: str, source: Path, target: Path) -> Fact:
    """A large file: time through the gateway, over HTTP there and back, ÷ time with the SDK."""
    caller = Caller(running, seal)
    through, direct = [], []
    with Client(place.fleet.url(0), place.token) as client:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            caller.sign(source, target)
            through.append(time.perf_counter() - began)
            target.unlink()
            began = time.perf_counter()
            client.run(sign(source, target, seal_id=seal, level=Level.B_LT))
            direct.append(time.perf_counter() - began)
            target.unlink()
    caller.close()
    return Fact(
        "100 MB PDF, B-LT: time through the gateway ÷ time with the SDK", min(through) / min(direct),
        "", f"{min(through):.2f} s and {min(direct):.2f} s at least; the gateway's is sent there and "
        "back over HTTP",
    )  # fmt: skip


def memory(running: Running, seal: str, source: Path, target: Path) -> Row:
    """The process of the gateway that needs most for a file of 1 GB."""
    caller = Caller(running, seal)
    with process_tree.peak(running.process.pid) as used:
        caller.sign(source, target)
    caller.close()
    target.unlink()
    return Row(
        "gateway, 1 GB PDF: peak memory of a process, MiB", used.largest, 256, 96,
        f"its {len(used.each)} processes together {used.together:.0f} MiB, shared pages counted each "
        "time",
        less=True,
    )  # fmt: skip
