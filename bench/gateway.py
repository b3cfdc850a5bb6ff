"""The gateway as a command, its service and its callers on one machine: what it costs over the SDK."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import document_certificates
import document_reference as reference
import documents
import process_tree
from gateway_command import Command, Running
from large_pdfs import sized
from stand import Stand, stand
from table import Fact, Row

from hashseal.client.http import Client
from hashseal.client.signing import sign
from hashseal_core.algorithms import Level

CALLERS, SECONDS, ROUNDS = 16, 6.0, 3
SMALL = 20
IDLE_SECONDS = 2.0
MIB = 1 << 20
PIECE = 1 << 18


class Caller:
    """One connection to the gateway; the file is streamed there and back."""

    def __init__(self, running: Running, seal: str) -> None:
        place = urlsplit(running.url)
        self._http = http.client.HTTPConnection(
            str(place.hostname), place.port, timeout=120, blocksize=PIECE
        )
        self._path = f"/v1/documents?seal={seal}&level=B-LT"
        self._headers = {
            "Authorization": f"Bearer {running.key}",
            "Content-Type": "application/pdf",
        }
        self._used = time.monotonic()

    def sign(self, source: Path, target: Path) -> None:
        """One file.

        Raises:
            RuntimeError: it was not signed.
        """
        if time.monotonic() - self._used > IDLE_SECONDS:
            self._http.close()  # the gateway will have, too; the next request opens it again
        headers = {**self._headers, "Content-Length": str(source.stat().st_size)}
        with source.open("rb") as file:
            self._http.request("POST", self._path, file, headers)
        answer = self._http.getresponse()
        with target.open("wb") as file:
            while piece := answer.read(PIECE):
                file.write(piece)
        self._used = time.monotonic()
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
            yield small(place, running, seal, source, target)
            yield from many(place, running, seal, source)
            for title, octets, objects, bar, goal in documents.CASES[:2]:
                sized(source, octets, objects)
                yield from large(place, running, seal, source, target, title, (bar, goal))
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


def small(place: Stand, running: Running, seal: str, source: Path, target: Path) -> Row:
    """A small file through the gateway, from one caller, against pyHanko with local keys.

    By CPU of the gateway's processes; those of the service, which signs and records, are told beside.
    """
    authority = document_certificates.authority("P-256")
    caller = Caller(running, seal)

    def sdk(source: Path, target: Path) -> None:
        client.run(sign(source, target, seal_id=seal, level=Level.B_LT))

    with (
        closing(asyncio.new_event_loop()) as loop,
        closing(caller),
        Client(place.fleet.url(0), place.token) as client,
    ):
        theirs = reference.pyhanko_alone(authority, loop)
        anchor = reference.pem(authority.certificates[document_certificates.ROOT])
        reference.require_long_term(theirs, anchor, source, target)
        ours = caller.sign
        clocks = {ours: lambda: process_tree.cpu(running.process.pid)}
        works = (ours, theirs.sign, sdk)
        mine, other, direct = documents.in_turn(works, source, target, SMALL, clocks)
    cpu, wall = (
        [1000 * statistics.median(getattr(one, what)) for one in (mine, other, direct)]
        for what in ("cpu", "wall")
    )
    return Row(
        "gateway, 10 KB PDF, B-LT, CPU without the service: pyHanko with local keys ÷ gateway",
        cpu[1] / cpu[0], 1, 3,
        f"{cpu[0]:.1f} ms, pyHanko {cpu[1]:.1f} ms, the SDK alone {cpu[2]:.1f} ms; wall-clock, one "
        f"caller, service and durable commits of both included, {wall[0]:.1f} ms, {wall[1]:.1f} ms "
        f"without any, {wall[2]:.1f} ms",
    )  # fmt: skip


def large(
    place: Stand,
    running: Running,
    seal: str,
    source: Path,
    target: Path,
    title: str,
    limits: tuple[float, float],
) -> Iterator[Row | Fact]:
    """A large file, over HTTP there and back: time ÷ its limit, and ÷ time with the SDK.

    The least time is the work, the rest is the machine's.
    """
    caller = Caller(running, seal)

    def sdk(source: Path, target: Path) -> None:
        client.run(sign(source, target, seal_id=seal, level=Level.B_LT))

    with closing(caller), Client(place.fleet.url(0), place.token) as client:
        ours = caller.sign
        clocks = {ours: lambda: process_tree.cpu(running.process.pid)}
        works = (documents.limit, ours, sdk)
        floor, mine, direct = documents.in_turn(works, source, target, clocks=clocks)
    least = [min(one.wall) for one in (floor, mine, direct)]
    medians = statistics.median(mine.wall) / statistics.median(floor.wall)
    yield Row(
        f"gateway, {title}, B-LT: time ÷ (SHA-256 + copy)", least[1] / least[0], *limits,
        f"{least[1]:.2f} s and {least[0]:.2f} s at least, medians {medians:.2f}; CPU "
        f"{min(mine.cpu):.2f} s and {min(floor.cpu):.2f} s; sent there and back over HTTP",
        less=True,
    )  # fmt: skip
    yield Fact(
        "  time through the gateway ÷ time with the SDK", least[1] / least[2], "",
        f"{least[1]:.2f} s and {least[2]:.2f} s at least",
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
