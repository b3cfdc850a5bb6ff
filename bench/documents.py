"""Signing a PDF, against hashing and copying it, and against pyHanko."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import document_certificates
import document_reference as reference
from large_pdfs import sized
from table import Row

ROUNDS = 5
SMALL = 40
MEMORY = Path("/dev/shm")
CASES = (
    ("100 MB PDF, few large objects", 100 << 20, 10, 2.5, 1.5),
    ("100 MB PDF, 200,000 objects", 100 << 20, 200_000, 10, 3),
    ("1 GB PDF", 1 << 30, 64, 1.5, 1.05),
)
Work = Callable[[Path, Path], None]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Spent:
    """Seconds of the rounds of one piece of work; `own` is the CPU of the calling thread alone.

    `cpu` is that of this process, or of whatever clock the work was given.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)


def limit(source: Path, target: Path) -> None:
    """One digest and one copy of the file, one after the other."""
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    shutil.copyfile(source, target)


def in_turn(
    works: tuple[Work, ...],
    source: Path,
    target: Path,
    times: int = 1,
    clocks: Mapping[Work, Clock] = MappingProxyType({}),
) -> list[Spent]:
    """Each piece of work in each round, so that all meet the same weather; each time to a new file.

    `clocks` tell the CPU seconds of works that are not done in this process.
    """
    spent = [Spent() for _ in works]
    targets = [target.with_name(f"{number}-{target.name}") for number in range(times)]
    for _ in range(ROUNDS):
        for work, found in zip(works, spent, strict=True):
            clock = clocks.get(work, time.process_time)
            wall, cpu, own = time.perf_counter(), clock(), time.thread_time()
            for each in targets:
                work(source, each)
            found.own.append((time.thread_time() - own) / times)
            found.wall.append((time.perf_counter() - wall) / times)
            found.cpu.append((clock() - cpu) / times)
            for each in targets:
                each.unlink()
    return spent


def small(folders: tuple[Path, Path], certificates: tuple[bytes, ...]) -> Row:
    """A 10 KB file at B-B: CPU against pyHanko, in memory, where a file costs little to make.

    On a disk that others use as well, its journal costs more CPU than we do; `raw` shows it.
    """
    spent = []
    with closing(asyncio.new_event_loop()) as loop:
        sides = (reference.hashseal(certificates), reference.pyhanko(certificates, loop))
        for folder in folders:
            source, target = folder / "in.pdf", folder / "out.pdf"
            sized(source, 10_000, 8)
            reference.require_baseline(sides, source, target, certificates)
            spent += in_turn(tuple(side.sign for side in sides), source, target, SMALL)
    cpu = [1000 * statistics.median(one.cpu) for one in spent]
    return Row(
        "10 KB PDF, B-B without the signature operation, CPU ÷ pyHanko", cpu[0] / cpu[1], 0.2, 0.03,
        f"{cpu[0]:.2f} ms and {cpu[1]:.1f} ms from file to file, with field, CMS and three "
        f"certificates; on the disk here {cpu[2]:.2f} ms and {cpu[3]:.1f} ms",
        less=True,
    )  # fmt: skip


def whole_call(source: Path, target: Path) -> Row:
    """A 10 KB file at B-LT, service included, against pyHanko with local keys.

    By CPU, and nothing is taken off: the service's two P-256 signatures stay in.
    """
    authority = document_certificates.authority("P-256")
    anchor = reference.pem(authority.certificates[document_certificates.ROOT])
    with closing(asyncio.new_event_loop()) as loop, reference.sandboxed() as (ours, ours_anchor):
        theirs = reference.pyhanko_alone(authority, loop)
        reference.require_long_term(ours, ours_anchor, source, target)
        reference.require_long_term(theirs, anchor, source, target)
        mine, other = in_turn((ours.sign, theirs.sign), source, target, SMALL)
    cpu = [1000 * statistics.median(one.cpu) for one in (mine, other)]
    wall = [1000 * statistics.median(one.wall) for one in (mine, other)]
    own = 1000 * statistics.median(mine.own)
    return Row(
        "10 KB PDF, B-LT, SDK and service in one process, CPU: pyHanko with local keys ÷ ours",
        cpu[1] / cpu[0], 1, 3,
        f"{cpu[0]:.1f} ms, of which the SDK's thread {own:.1f} ms, and {cpu[1]:.1f} ms; wall-clock "
        f"{wall[0]:.1f} ms with durable commits and {wall[1]:.1f} ms",
    )  # fmt: skip


def large(
    title: str, source: Path, target: Path, certificates: tuple[bytes, ...], bar: float, goal: float
) -> Row:
    """A large file: time against its limit. The least time is the work, the rest is the machine's."""
    ours = reference.hashseal(certificates).sign
    floor, mine = in_turn((limit, ours), source, target)
    medians = statistics.median(mine.wall) / statistics.median(floor.wall)
    return Row(
        f"{title}: time ÷ (SHA-256 + copy)", min(mine.wall) / min(floor.wall), bar, goal,
        f"{min(mine.wall):.2f} s and {min(floor.wall):.2f} s at least, medians {medians:.2f}; "
        f"CPU {min(mine.cpu):.2f} s and {min(floor.cpu):.2f} s",
        less=True,
    )  # fmt: skip


def peak(source: Path, target: Path) -> float:
    """MiB that a process of its own needs at most for this file.

    VmHWM, not ru_maxrss: the latter begins with what the process had before it became this program.
    """
    code = (
        "import re, sys; from pathlib import Path; from hashseal import pdf; "
        "target = Path(sys.argv[2]); "
        "made = pdf.prepare(Path(sys.argv[1]), target, pdf.SignatureOptions(contents_size=8192)); "
        "pdf.embed(target, made, bytes(6000)); "
        "print(re.search('VmHWM:\\\\s*(\\\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(target)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    target.unlink()
    return int(done.stdout) / 1024


def rows() -> Iterator[Row]:
    """All of them."""
    certificates = document_certificates.authority("RSA-3072").chain
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory(dir=memory) as light:
        yield small((Path(light), Path(name)), certificates)
        source, target = Path(name) / "in.pdf", Path(name) / "out.pdf"
        yield whole_call(source, target)
        for title, octets, objects, bar, goal in CASES:
            sized(source, octets, objects)
            yield large(title, source, target, certificates, bar, goal)
        most = peak(source, target)
        yield Row("1 GB PDF: peak memory, MiB", most, 256, 96, "one process, SDK alone", less=True)
