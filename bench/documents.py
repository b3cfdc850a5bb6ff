"""Preparing and embedding a PDF, against hashing and copying it, and against pyHanko."""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import generated_pdfs
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from table import Row

from hashseal import pdf

ROUNDS = 3
CMS = bytes(6000)
OPTIONS = pdf.SignatureOptions(contents_size=8192)


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


def ours(source: Path, target: Path) -> None:
    """Prepare and embed."""
    made = pdf.prepare(source, target, OPTIONS)
    pdf.embed(target, made, CMS)


def limit(source: Path, target: Path) -> None:
    """One digest and one copy of the file."""
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    shutil.copyfile(source, target)


def theirs(source: Path, target: Path) -> None:
    """The same with pyHanko and a signer that returns what it has."""
    with source.open("rb") as file:
        writer = IncrementalPdfFileWriter(io.BytesIO(file.read()), strict=False)
    fields.append_signature_field(writer, fields.SigFieldSpec("Signature1"))
    signer = signers.PdfSigner(
        signers.PdfSignatureMetadata(field_name="Signature1", md_algorithm="sha256"),
        signer=signers.ExternalSigner(signing_cert=None, cert_registry=None, signature_value=8192),  # type: ignore[arg-type]
    )
    digest, _, output = asyncio.run(
        signer.async_digest_doc_for_signing(writer, bytes_reserved=16384)
    )
    digest.fill_with_cms(output, CMS)
    target.write_bytes(output.getvalue())


def best(
    work: Callable[[Path, Path], None], source: Path, target: Path, clock: Callable[[], float]
) -> float:
    """The least time of several rounds: what is left is the work itself."""
    times = []
    for _ in range(ROUNDS):
        began = clock()
        work(source, target)
        times.append(clock() - began)
        target.unlink(missing_ok=True)
    return min(times)


def small(folder: Path) -> Row:
    """A 10 KB file: CPU against pyHanko."""
    source = folder / "small.pdf"
    sized(source, 10_000, 8)
    rounds = 40

    def cpu(work: Callable[[Path, Path], None]) -> float:
        work(source, folder / "out.pdf")
        began = time.process_time()
        for _ in range(rounds):
            work(source, folder / "out.pdf")
        return (time.process_time() - began) / rounds

    mine = statistics.median(cpu(ours) for _ in range(ROUNDS))
    reference = statistics.median(cpu(theirs) for _ in range(ROUNDS))
    return Row(
        "10 KB PDF, B-B without the signature operation, CPU ÷ pyHanko", mine / reference, 0.2, 0.03,
        f"{1000 * mine:.1f} ms and {1000 * reference:.1f} ms", less=True,
    )  # fmt: skip


def peak(source: Path, target: Path) -> int:
    """Octets of memory that a process of its own needs at most, preparing this file."""
    code = (
        "import resource, sys; from pathlib import Path; from hashseal import pdf; "
        "pdf.prepare(Path(sys.argv[1]), Path(sys.argv[2]), pdf.SignatureOptions(contents_size=8192)); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(target)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    target.unlink(missing_ok=True)
    return int(done.stdout)


def rows() -> Iterator[Row]:
    """All of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield small(folder)
        cases = (
            ("100 MB PDF, few large objects", 100 << 20, 10, 2.5, 1.5),
            ("100 MB PDF, 200,000 objects", 100 << 20, 200_000, 10, 3),
            ("1 GB PDF", 1 << 30, 64, 1.5, 1.05),
        )
        for title, octets, objects, bar, goal in cases:
            source, target = folder / "in.pdf", folder / "out.pdf"
            sized(source, octets, objects)
            floor = best(limit, source, target, time.perf_counter)
            mine = best(ours, source, target, time.perf_counter)
            yield Row(
                f"{title}: time ÷ (SHA-256 + copy)", mine / floor, bar, goal,
                f"{mine:.2f} s and {floor:.2f} s", less=True,
            )  # fmt: skip
        most = peak(source, target) / (1 << 20)
        yield Row("1 GB PDF: peak memory, MiB", most, 256, 96, "one process, SDK alone", less=True)
