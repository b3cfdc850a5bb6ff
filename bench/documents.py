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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import document_reference
import generated_pdfs
from table import Row

ROUNDS = 5
SMALL = 40
CASES = (
    ("100 MB PDF, few large objects", 100 << 20, 10, 2.5, 1.5),
    ("100 MB PDF, 200,000 objects", 100 << 20, 200_000, 10, 3),
    ("1 GB PDF", 1 << 30, 64, 1.5, 1.05),
)
Work = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Spent:
    """Seconds of the rounds of one piece of work."""

    wall: list[float]
    cpu: list[float]


def sized(path: Path, octets: int, objects: int) -> None:
    """A file of about this size: the page and that many streams of noise."""
    each = max(1, octets // objects)
    offsets = {}
    with path.open("wb") as file:
        head, offsets = generated_pdfs.body(generated_pdfs.one_page(), "1.7")
        file.write(head)
        noise = bytes(range(256)) * (each // 256 + 1)
        for number in range(7, 7 + objects):
            offsets[number] = file.tell()
            file.write(b"%d 0 obj\n<< /Length %d >>\nstream\n" % (number, each))
            file.write(noise[:each])
            file.write(b"\nendstream\nendobj\n")
        start = file.tell()
        size = 7 + objects
        file.write(b"xref\n0 %d\n0000000000 65535 f \n" % size)
        for number in range(1, size):
            file.write(b"%010d 00000 n \n" % offsets[number])
        file.write(b"trailer\n<< /Size %d /Root 1 0 R /Info 6 0 R >>\n" % size)
        file.write(b"startxref\n%d\n%%%%EOF\n" % start)


def limit(source: Path, target: Path) -> None:
    """One digest and one copy of the file, one after the other."""
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    shutil.copyfile(source, target)


def in_turn(works: tuple[Work, ...], source: Path, target: Path, times: int = 1) -> list[Spent]:
    """Each piece of work in each round, so that all meet the same weather."""
    spent = [Spent([], []) for _ in works]
    for _ in range(ROUNDS):
        for work, found in zip(works, spent, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(times):
                work(source, target)
            found.wall.append((time.perf_counter() - wall) / times)
            found.cpu.append((time.process_time() - cpu) / times)
            target.unlink()
    return spent


def small(folder: Path, certificates: tuple[bytes, ...]) -> Row:
    """A 10 KB file: CPU against pyHanko."""
    source, target = folder / "small.pdf", folder / "out.pdf"
    sized(source, 10_000, 8)
    loop = asyncio.new_event_loop()
    try:
        sides = (
            document_reference.hashseal(certificates),
            document_reference.pyhanko(certificates, loop),
        )
        document_reference.require_same_work(sides, source, target, certificates)
        spent = in_turn(tuple(side.sign for side in sides), source, target, SMALL)
    finally:
        loop.close()
    mine, reference = (statistics.median(one.cpu) for one in spent)
    return Row(
        "10 KB PDF, B-B without the signature operation, CPU ÷ pyHanko", mine / reference, 0.2, 0.03,
        f"{1000 * mine:.2f} ms and {1000 * reference:.1f} ms, each from file to file with field, "
        "CMS and three certificates",
        less=True,
    )  # fmt: skip


def large(
    title: str, source: Path, target: Path, certificates: tuple[bytes, ...], bar: float, goal: float
) -> Row:
    """A large file: time against its limit. The least time is the work, the rest is the machine's."""
    ours = document_reference.hashseal(certificates).sign
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
    certificates = document_reference.chain()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield small(folder, certificates)
        source, target = folder / "in.pdf", folder / "out.pdf"
        for title, octets, objects, bar, goal in CASES:
            sized(source, octets, objects)
            yield large(title, source, target, certificates, bar, goal)
        most = peak(source, target)
        yield Row("1 GB PDF: peak memory, MiB", most, 256, 96, "one process, SDK alone", less=True)
