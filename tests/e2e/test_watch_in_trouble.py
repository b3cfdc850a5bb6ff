"""`hashseal-gateway watch` where files cannot be read and folders not written: no traceback, no loss.

Modes of files apply to the command here, whoever runs the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import generated_pdfs
import powerless
import pytest
from gateway_command import Command, left

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
LARGEST = 8 << 20
LONG = "封" * 79 + ".pdf"


@pytest.fixture
def command(tmp_path: Path, service) -> Command:
    (tmp_path / "in").mkdir()
    return Command(tmp_path, service)


def put(folder: Path, name: str, octets: bytes) -> Path:
    path = folder / name
    path.write_bytes(octets)
    os.utime(path, (1, 1))
    return path


def test_one_file_stops_no_other(command: Command, service, tmp_path: Path) -> None:
    before = left(service)
    inbox, outbox = tmp_path / "in", tmp_path / "out"
    put(inbox, "unreadable.pdf", PLAIN).chmod(0)
    put(inbox, "large.pdf", PLAIN + b"%" * LARGEST)
    put(inbox, LONG, PLAIN + b"%1")
    put(inbox, "two\nlines.pdf", PLAIN + b"%2")
    put(inbox, "ordinary.pdf", PLAIN + b"%3")
    words = command.words("watch", inbox, outbox, "--seal", service.seals["P-256"], "--once")
    done = subprocess.run(
        powerless.words(LARGEST, words),
        env={**command.environment, "PYTHONIOENCODING": "ascii:strict"},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 5, "each file is one line"
    assert "two\\nlines.pdf: signed, two\\nlines.pdf" in lines
    assert "unreadable.pdf: the file cannot be read: Permission denied (input-unreadable)" in lines
    assert [one.name for one in inbox.iterdir()] == []
    assert {one.name for one in outbox.glob("*.pdf")} == {LONG, "two\nlines.pdf", "ordinary.pdf"}
    aside = {
        one.name: json.loads(one.with_name(f"{one.name}.json").read_text())["outcome"]
        for one in (outbox / "failed").glob("*.pdf")
    }
    assert aside == {"unreadable.pdf": "input-unreadable", "large.pdf": "document-too-large"}
    assert left(service) == before - 3


def test_an_outbox_that_cannot_be_written_is_waited_for(
    command: Command, service, tmp_path: Path
) -> None:
    before = left(service)
    inbox, outbox, failed = tmp_path / "in", tmp_path / "out", tmp_path / "failed"
    put(inbox, "a.pdf", PLAIN)
    outbox.mkdir()
    outbox.chmod(0o555)
    arguments = (inbox, outbox, "--failed", failed, "--seal", service.seals["P-256"])
    words = command.words("watch", *arguments)
    with command.log.open("ab") as log:
        process = subprocess.Popen(
            powerless.words(LARGEST, words), env=command.environment, stdout=log, stderr=log
        )
    try:
        until(lambda: "waiting:" in command.log.read_text())
        assert left(service) == before, "nothing is signed that cannot be put down"
        assert process.poll() is None
        outbox.chmod(0o755)
        until((outbox / "a.pdf").is_file)
        until(lambda: list(inbox.iterdir()) == [])
    finally:
        process.terminate()
        process.wait(60)
    said = command.log.read_text()
    assert said.count("waiting:") == 1
    assert f"waiting: {outbox} cannot be written (output-refused)" in said
    assert "Traceback" not in said
    assert process.returncode == 0
    assert left(service) == before - 1


def until(is_so) -> None:
    deadline = time.monotonic() + 90
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
