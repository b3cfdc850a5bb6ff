"""Files that are copied and hashed piece by piece, and what happens when that goes wrong.

Most tests make the pieces tiny, so that small files have many; one takes the real sizes.
"""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import generated_pdfs
import pytest

from hashseal.pdf import (
    PreparedDocument,
    SignatureOptions,
    copying,
    digest_of,
    draft,
    embed,
    octet_ranges,
    prepare,
    prepare_timestamp,
    read_signatures,
)
from hashseal.pdf.octet_ranges import RunningDigest
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import (
    InputUnreadable,
    OutputRefused,
    PdfLimit,
    PdfMalformed,
    PdfNotPrepared,
)

OPTIONS = SignatureOptions(contents_size=64)
SIGNATURE = b"\x30\x02\x05\x00"
PIECE = 512
MEASURING = {"COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"}


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is a large one."""
    monkeypatch.setattr(draft, "WHOLE", 0)
    monkeypatch.setattr(octet_ranges, "PIECE", PIECE)
    monkeypatch.setattr(copying, "PIECE", PIECE)
    monkeypatch.setattr(copying, "_STEP", 100)


def sized(path: Path, octets: int) -> Path:
    """A valid file of exactly that size: the padding is an object that nothing refers to."""
    padding = octets
    while True:
        objects = {**generated_pdfs.one_page(), 7: generated_pdfs.stream("", b"\xa5" * padding)}
        made = generated_pdfs.with_table(objects)
        if len(made) == octets:
            path.write_bytes(made)
            return path
        padding -= len(made) - octets


def is_prepared(source: Path, target: Path, made: PreparedDocument) -> None:
    before, octets = source.read_bytes(), target.read_bytes()
    assert octets.startswith(before)
    assert (made.original_size, made.file_size) == (len(before), len(octets))
    _, first, second, length = made.byte_range
    covered = octets[:first] + octets[second : second + length]
    assert hashlib.sha256(covered).digest() == made.digest.value


@contextmanager
def no_file_larger_than(octets: int) -> Iterator[None]:
    """As on a full disk: writing more than that fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("octets", [8 * PIECE - 1, 8 * PIECE, 8 * PIECE + 1, 5000])
def test_a_file_in_pieces_is_signed_as_any_other(tmp_path: Path, pieces: None, octets: int) -> None:
    source, target = sized(tmp_path / "a.pdf", octets), tmp_path / "b.pdf"
    made = prepare(source, target, OPTIONS)
    is_prepared(source, target, made)
    embed(target, made, SIGNATURE)
    (found,) = read_signatures(target)
    assert found.contents == SIGNATURE.ljust(64, b"\0")
    assert found.covers_whole_file
    signed = tmp_path / "signed.pdf"
    signed.write_bytes(target.read_bytes())
    stamp = prepare_timestamp(target, contents_size=64)
    is_prepared(signed, target, stamp)
    embed(target, stamp, SIGNATURE)
    assert [one.kind for one in read_signatures(target)] == ["signature", "timestamp"]
    for one in read_signatures(target):
        wanted = made if one.kind == "signature" else stamp
        assert digest_of(target, one.byte_range, DigestAlgorithm.SHA256) == wanted.digest


def test_small_and_large_files_get_the_same_octets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, signing_time=datetime(2026, 1, 1, tzinfo=UTC))
    source = sized(tmp_path / "a.pdf", 6000)
    small = prepare(source, tmp_path / "small.pdf", options)
    monkeypatch.setattr(draft, "WHOLE", 0)
    large = prepare(source, tmp_path / "large.pdf", options)
    assert small == large
    assert (small.tag is None, large.tag is None) == (True, False)
    assert (tmp_path / "small.pdf").read_bytes() == (tmp_path / "large.pdf").read_bytes()


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_any_changed_octet_is_found_before_embedding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bool, whole: bool
) -> None:
    monkeypatch.setattr(draft, "WHOLE", (1 << 20) if whole else 0)
    monkeypatch.setattr(octet_ranges, "PIECE", PIECE)
    source, target = sized(tmp_path / "a.pdf", 4000), tmp_path / "b.pdf"
    made = prepare(source, target, OPTIONS)
    if stored:
        made = PreparedDocument.from_json(made.to_json())
    right = target.read_bytes()
    hole = range(made.contents_offset, made.byte_range[2])
    for place in sorted({*range(0, len(right), 97), hole[0], hole[5], hole[-1], len(right) - 1}):
        wrong = bytearray(right)
        wrong[place] ^= 1
        target.write_bytes(wrong)
        with pytest.raises(PdfNotPrepared):
            embed(target, made, SIGNATURE)
        assert target.read_bytes() == wrong, place
    for other in (right[:-1], right + b"\n", b""):
        target.write_bytes(other)
        with pytest.raises(PdfNotPrepared):
            embed(target, made, SIGNATURE)
    target.write_bytes(right)
    embed(target, made, SIGNATURE)
    with pytest.raises(PdfNotPrepared):
        embed(target, made, SIGNATURE)


def test_the_tag_stays_in_the_process_and_with_its_values(tmp_path: Path, pieces: None) -> None:
    source, target = sized(tmp_path / "a.pdf", 4000), tmp_path / "b.pdf"
    made = prepare(source, target, OPTIONS)
    assert made.tag is not None
    assert "tag" not in made.to_json()
    assert "FileTag" not in repr(made)
    for other in (
        copy.deepcopy(made),
        pickle.loads(pickle.dumps(made)),
        PreparedDocument.from_json(made.to_json()),
        replace(made),
    ):
        assert other == made
        assert other.tag is None
    for text in (made.to_json().replace("{", '{"tag": 1, ', 1), '{"tag": null}'):
        with pytest.raises(PdfNotPrepared):
            PreparedDocument.from_json(text)
    lied = replace(made, digest=Digest(made.digest.algorithm, bytes(range(32))))
    with pytest.raises(PdfNotPrepared):
        embed(target, lied, SIGNATURE)
    embed(target, made, SIGNATURE)


def test_tags_of_one_file_have_different_keys(tmp_path: Path, pieces: None) -> None:
    source = sized(tmp_path / "a.pdf", 4000)
    first = prepare(source, tmp_path / "b.pdf", OPTIONS)
    again = prepare(source, tmp_path / "c.pdf", OPTIONS)
    assert first.tag is not None
    assert again.tag is not None
    running = again.tag.again()
    running.update((tmp_path / "b.pdf").read_bytes())
    assert not first.tag.fits(running)


def test_a_pipe_is_copied_although_it_gives_little_at_a_time(tmp_path: Path) -> None:
    """Reads are short, their sizes odd, and the end is where the writer stops."""
    source, target = sized(tmp_path / "a.pdf", 70_001), tmp_path / "b.pdf"
    octets, pipe = source.read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for start in range(0, len(octets), 777):
                file.write(octets[start : start + 777])

    writer = threading.Thread(target=write)
    writer.start()
    made = prepare(pipe, target, OPTIONS)
    writer.join()
    is_prepared(source, target, made)
    embed(target, made, SIGNATURE)


@pytest.mark.parametrize("octets", [0, 1, PIECE - 1, PIECE, PIECE + 1, 7 * PIECE])
def test_a_copy_is_whole_and_in_order(tmp_path: Path, pieces: None, octets: int) -> None:
    content = bytes(index * 31 % 251 for index in range(octets))
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(content)
    running, tagged = RunningDigest(DigestAlgorithm.SHA512), bytearray()
    with source.open("rb", buffering=0) as reading, target.open("wb") as writing:
        copying.copy(reading, writing, running.update, tagged.extend)
    assert target.read_bytes() == tagged == content
    assert running.digest() == hashlib.sha512(content).digest()
    assert running.digest(b"more", b"") == hashlib.sha512(content + b"more").digest()


def test_a_source_that_cannot_be_read_leaves_no_target(tmp_path: Path, pieces: None) -> None:
    for source in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputUnreadable):
            prepare(source, tmp_path / "b.pdf", OPTIONS)
    handle = os.open(sized(tmp_path / "a.pdf", 4000), os.O_WRONLY)
    with (
        os.fdopen(handle, "rb", buffering=0) as reading,
        (tmp_path / "b.pdf").open("wb") as writing,
        pytest.raises(InputUnreadable),
    ):
        copying.copy(reading, writing, lambda _: None, lambda _: None)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("room", [1000, 4000, 4100])
def test_a_full_disk_leaves_no_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool, room: int
) -> None:
    """At once, at the end of the copy, and while the update is appended."""
    monkeypatch.setattr(draft, "WHOLE", (1 << 20) if whole else 0)
    source, target = sized(tmp_path / "a.pdf", 4000), tmp_path / "b.pdf"
    with no_file_larger_than(room), pytest.raises(OutputRefused):
        prepare(source, target, OPTIONS)
    assert sorted(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("whole", [False, True])
def test_a_full_disk_refuses_the_timestamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.setattr(draft, "WHOLE", (1 << 20) if whole else 0)
    target = sized(tmp_path / "a.pdf", 4000)
    before = target.read_bytes()
    with no_file_larger_than(4100), pytest.raises(OutputRefused):
        prepare_timestamp(target, contents_size=9000)
    assert target.read_bytes().startswith(before)


def test_what_cannot_be_opened_for_writing_is_told_from_what_cannot_be_read(tmp_path: Path) -> None:
    made = prepare(sized(tmp_path / "a.pdf", 4000), tmp_path / "b.pdf", OPTIONS)
    for absent in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputUnreadable):
            embed(absent, made, SIGNATURE)
    with pytest.raises(OutputRefused):  # readable by all, writable by nobody, not even root
        embed(Path("/sys/kernel/uevent_seqnum"), made, SIGNATURE)


@pytest.mark.parametrize("whole", [False, True])
def test_a_refused_file_takes_an_older_target_with_it_but_never_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.setattr(draft, "WHOLE", (1 << 20) if whole else 0)
    source, target, link = (tmp_path / name for name in ("a.pdf", "b.pdf", "link.pdf"))
    for content in (b"", b"no PDF"):
        source.write_bytes(content)
        target.write_bytes(b"older")
        with pytest.raises(PdfMalformed):
            prepare(source, target, OPTIONS)
        assert not target.exists()
        assert source.read_bytes() == content
        with pytest.raises(PdfMalformed):
            prepare_timestamp(source, contents_size=64)
    link.hardlink_to(source)
    for same in (source, link):
        with pytest.raises(OutputRefused):
            prepare(source, same, OPTIONS)
    assert source.read_bytes() == link.read_bytes() == b"no PDF"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputRefused):
        prepare(sized(source, 4000), tmp_path / "folder", OPTIONS)


def test_a_limit_is_kept_in_large_files_too(tmp_path: Path, pieces: None) -> None:
    objects = {**generated_pdfs.one_page(), 1: b"[" * 1000}
    source = tmp_path / "a.pdf"
    source.write_bytes(generated_pdfs.with_table(objects))
    with pytest.raises(PdfLimit):
        prepare(source, tmp_path / "b.pdf", OPTIONS)
    assert not (tmp_path / "b.pdf").exists()


MEMORY = """
import re, sys
from pathlib import Path
from hashseal import pdf
source, target = map(Path, sys.argv[1:])
pdf.embed(target, pdf.prepare(source, target, pdf.SignatureOptions(contents_size=4096)), b"0" * 99)
pdf.embed(target, pdf.prepare_timestamp(target, contents_size=4096), b"1" * 99)
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_a_large_file_needs_little_memory(tmp_path: Path) -> None:
    """Signed and timestamped; the resident set holds the program and a few pieces."""
    source, target = sized(tmp_path / "a.pdf", 128 << 20), tmp_path / "b.pdf"
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(source), str(target)],
        check=True,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in MEASURING},
        timeout=120,
    )
    assert int(done.stdout) < 80 << 10
    with source.open("rb") as before, target.open("rb") as after:
        while piece := before.read(1 << 20):
            assert after.read(len(piece)) == piece
    assert [one.contents[:3] for one in read_signatures(target)] == [b"000", b"111"]
