"""A watched folder over several disks, with files that change, grow, or are wanted otherwise."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from watched import PLAIN, names, put

from hashseal_core.errors import InputUnreadable, OutputRefused, ServiceUnreachable
from hashseal_gateway.documents import filing, folder
from hashseal_gateway.documents.filing import move
from hashseal_gateway.documents.folder import Folders


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    made = Path(tempfile.mkdtemp(dir="/dev/shm"))
    assert made.stat().st_dev != tmp_path.stat().st_dev
    yield made
    shutil.rmtree(made)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "a.pdf"
    made.write_bytes(PLAIN)
    made.chmod(0o640)
    return made


def test_what_is_copied_to_another_disk_is_nobody_elses_meanwhile(
    file: Path, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    real = filing._piece

    def look(*given: Any) -> bytes:
        modes.extend(one.stat().st_mode & 0o777 for one in far.iterdir())
        return real(*given)

    monkeypatch.setattr(filing, "_piece", look)
    move(file, far / "b.pdf", file.lstat())
    assert set(modes) == {0o600}
    assert (far / "b.pdf").read_bytes() == PLAIN
    assert (far / "b.pdf").stat().st_mode & 0o777 == 0o640
    assert not file.exists()


def test_a_file_that_took_the_place_during_the_copy_stays(
    file: Path, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = filing._piece

    def replaced(*given: Any) -> bytes:
        other = file.with_name("other")
        other.write_bytes(b"new")
        other.replace(file)
        return real(*given)

    monkeypatch.setattr(filing, "_piece", replaced)
    move(file, far / "b.pdf", file.lstat())
    assert (far / "b.pdf").read_bytes() == PLAIN
    assert file.read_bytes() == b"new"


def test_a_file_that_is_written_to_is_not_moved(file: Path, far: Path) -> None:
    seen = file.lstat()
    file.write_bytes(PLAIN + b"more")
    with pytest.raises(OutputRefused, match="changes"):
        move(file, far / "b.pdf", seen)
    assert file.read_bytes() == PLAIN + b"more"
    assert list(far.iterdir()) == []


def test_a_link_is_not_followed_to_another_disk(file: Path, far: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.pdf"
    link.symlink_to(file)
    with pytest.raises(InputUnreadable):
        move(link, far / "b.pdf", link.lstat())
    assert list(far.iterdir()) == []


def test_an_input_that_cannot_be_read_stops_no_other_on_another_disk(
    house, folders: Folders, watch, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = replace(folders, failed=far / "failed")
    there.prepare()
    put(folders, "bad.pdf", b"%PDF-1.7 bad")
    put(folders, "good.pdf")
    real = filing._piece

    def broken(reading: Any, path: Path) -> bytes:
        if path.name == "bad.pdf":
            error = OSError(errno.EIO, "Input/output error")
            raise filing._unread(path, error) from error
        return real(reading, path)

    monkeypatch.setattr(filing, "_piece", broken)
    house.do(watch(folders=there).run(until_empty=True))
    assert names(folders.outbox) == {"good.pdf", "good.pdf.json"}
    assert names(folders.inbox) == {"bad.pdf"}
    assert names(there.failed) == set()
    assert [one.outcome for one in watch.told].count("input-unreadable") == 2
    assert watch.waited == []


def test_files_that_waited_are_signed_as_is_wanted_now(house, folders: Folders, watch) -> None:
    before = house.left()
    house.do(house.gateway.service.seals())
    put(folders, "a.pdf")
    house.wire.down = True
    with pytest.raises(ServiceUnreachable):
        house.do(watch().run(until_empty=True))
    house.wire.down = False
    house.do(watch(appearance="last:bottom-right").run(until_empty=True))
    assert names(folders.outbox) == {"a.pdf", "a.pdf.json"}
    assert names(folders.failed) == set()
    assert house.left() == before - 1


@pytest.mark.parametrize("octets", [b'{"file":"\xff"}', b"[" * 100_000, b"{" + b" " * (2 << 20)])
def test_a_report_of_somebody_elses_that_cannot_be_read(
    house, folders: Folders, watch, octets: bytes
) -> None:
    (folders.outbox / "a.pdf.json").write_bytes(octets)
    put(folders, "a.pdf")
    house.do(watch().run(until_empty=True))
    assert (folders.outbox / "a.pdf.json").read_bytes() == octets
    assert "a-2.pdf" in names(folders.outbox)


def test_while_originals_are_full_nothing_is_delivered_again(
    house, folders: Folders, watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = replace(folders, originals=folders.outbox / "originals")
    kept.prepare()
    put(folders, "a.pdf")
    before, real, full = house.left(), folder.move, [None] * 3

    def until_there_is_room(source: Path, target: Path, seen: os.stat_result) -> None:
        if target.parent == kept.originals and full:
            full.pop()
            for one in pdfs(folders.outbox):  # somebody takes away what was delivered
                one.unlink()
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target, seen)

    async def run() -> None:
        watching = watch(folders=kept)
        for _ in range(3):
            with pytest.raises(filing.FolderAway):
                await watching.run(until_empty=True)
        await watching.run(until_empty=True)

    monkeypatch.setattr(folder, "move", until_there_is_room)
    house.do(run())
    assert pdfs(folders.outbox) == []
    assert [one.outcome for one in watch.told] == ["signed"]
    assert names(kept.originals) == {"a.pdf"}
    assert names(folders.inbox) == set()
    assert house.left() == before - 1


def pdfs(place: Path) -> list[Path]:
    return list(place.glob("*.pdf"))


def test_a_file_that_is_too_large_is_not_even_copied(
    house, folders: Folders, watch, far: Path
) -> None:
    put(folders, "a.pdf")
    with (folders.inbox / "large.pdf").open("wb") as made:
        made.truncate(1 << 40)
    os.utime(made.name, (1, 1))
    house.do(watch().run(until_empty=True))
    assert names(folders.outbox) == {"a.pdf", "a.pdf.json"}
    assert names(folders.failed) == {"large.pdf", "large.pdf.json"}
    (folders.failed / "large.pdf").replace(folders.inbox / "large.pdf")
    there = replace(folders, failed=far / "failed")
    there.prepare()
    house.do(watch(folders=there).run(until_empty=True))
    assert names(there.failed) == set()
    assert names(folders.inbox) == {"large.pdf"}
    assert watch.told[-1].detail.startswith("the file stays where it is")


def test_a_file_of_tomorrow_is_taken_today(house, folders: Folders, watch) -> None:
    put(folders, "a.pdf")
    later = time.time() + 86_400
    os.utime(folders.inbox / "a.pdf", (later, later))
    house.do(watch().run(until_empty=True))
    assert names(folders.outbox) == {"a.pdf", "a.pdf.json"}
