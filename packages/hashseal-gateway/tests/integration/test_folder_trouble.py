"""A watched folder goes on: odd names, odd files, and folders that refuse. Nothing is charged twice."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from premises import SIGN
from watched import PLAIN, names, put

from hashseal_core.errors import DocumentTooLarge, InputUnreadable, OutputRefused
from hashseal_gateway.documents import filing
from hashseal_gateway.documents.filing import FolderAway, beside, copied, fitted, writing_into
from hashseal_gateway.documents.folder import Folders, folder_caller

CHINESE = "封" * 79 + ".pdf"
LONGEST = "é" * 125 + "y.pdf"
ALIKE = tuple("a" * 244 + f"{number:07}.pdf" for number in (59219, 68678))
"""Two names of 255 octets that begin alike and have the same beginning of their SHA-256."""


def pdfs(folder: Path) -> set[str]:
    return {name for name in names(folder) if not name.endswith(".json")}


def report(output: Path) -> dict[str, str]:
    return json.loads(beside(output).read_text())


def deep(folder: Path, octets: int) -> Path:
    """A folder whose path has this many octets."""
    while (missing := octets - len(os.fsencode(folder))) > 1:
        folder = folder / ("d" * min(200 if missing > 250 else missing - 1, missing - 1))
    folder.mkdir(parents=True)
    return folder


def test_a_long_name_stops_nothing(house, folders: Folders, watch) -> None:
    before = house.left()
    put(folders, CHINESE)
    put(folders, LONGEST, PLAIN + b"%2")
    put(folders, "b" * 251 + ".pdf", b"no document")
    put(folders, "ordinary.pdf", PLAIN + b"%3")
    house.do(watch(at_once=1).run(until_empty=True))
    assert names(folders.inbox) == set()
    short = fitted(LONGEST, 1, 255)
    assert pdfs(folders.outbox) == {CHINESE, short, "ordinary.pdf"}
    assert report(folders.outbox / short)["file"] == LONGEST
    assert report(folders.outbox / short)["output"] == short
    assert pdfs(folders.failed) == {fitted("b" * 251 + ".pdf", 1, 255)}
    assert house.left() == before - 3
    assert watch.waited == []


def test_the_longest_names_go_to_the_originals_and_come_again(house, folders, watch) -> None:
    kept = replace(folders, originals=folders.outbox / "originals")
    kept.prepare()
    for number in range(2):
        put(kept, LONGEST, PLAIN + b"%" + str(number).encode())
        house.do(watch(folders=kept).run(until_empty=True))
    expected = {fitted(LONGEST, 1, 255), fitted(LONGEST, 2, 255)}
    assert pdfs(kept.outbox) == pdfs(kept.originals) == expected
    assert len(expected) == 2


def test_shortened_names_that_are_the_same(house, folders: Folders, watch) -> None:
    first, second = ALIKE
    assert fitted(first, 1, 255) == fitted(second, 1, 255)
    for name in ALIKE:
        put(folders, name, PLAIN + name[-11:].encode())
    house.do(watch().run(until_empty=True))
    made = [folders.outbox / one for one in pdfs(folders.outbox)]
    assert {report(one)["file"] for one in made} == set(ALIKE)
    for one in made:
        assert one.read_bytes().startswith(PLAIN + report(one)["file"][-11:].encode())


@pytest.mark.parametrize("most", [60, 143, 255])
@pytest.mark.parametrize(
    "name", ["a.pdf", "x" * 251 + ".PDF", CHINESE, "é" * 125 + ".pdf", "\udcff" * 251 + ".pdf"]
)
def test_every_name_fits_with_its_report(name: str, most: int) -> None:
    made = [fitted(name, number, most) for number in (1, 2, 999_999)]
    assert all(len(os.fsencode(f"{one}.json")) <= most for one in made)
    assert len(set(made)) == 3
    assert all(one.lower().endswith(".pdf") for one in made)
    other = fitted(name[:-5] + "_" + name[-4:], 1, most)
    assert other != made[0], "different names stay different"
    whole = len(os.fsencode(f"{name}.json")) <= most
    assert (made[0] == name) == whole


def test_names_that_are_no_text(house, folders: Folders, watch) -> None:
    put(folders, b"\xff\xfe.pdf")
    put(folders, "two\nlines\x1b[2J.pdf", PLAIN + b"%2")
    put(folders, b"bad\x80.pdf", b"no document")
    house.do(watch().run(until_empty=True))
    assert {os.fsencode(one) for one in pdfs(folders.outbox)} == {
        b"\xff\xfe.pdf",
        b"two\nlines\x1b[2J.pdf",
    }
    assert {one.file for one in watch.told} == {
        "\\xff\\xfe.pdf",
        "two\nlines\x1b[2J.pdf",
        "bad\\x80.pdf",
    }
    for one in (*folders.outbox.glob("*.json"), *folders.failed.glob("*.json")):
        assert json.loads(one.read_bytes())["file"] in {told.file for told in watch.told}


def test_a_folder_whose_path_is_no_text_has_a_name(tmp_path: Path) -> None:
    made = tmp_path / os.fsdecode(b"in\xff")
    made.mkdir()
    assert folder_caller(made).name.endswith("in\\xff")


def test_what_is_no_file_is_left_alone(house, folders: Folders, watch, tmp_path: Path) -> None:
    before = house.left()
    (folders.inbox / "folder.pdf").mkdir()
    os.mkfifo(folders.inbox / "pipe.pdf")
    (tmp_path / "elsewhere.pdf").write_bytes(PLAIN)
    (folders.inbox / "link.pdf").symlink_to(tmp_path / "elsewhere.pdf")
    (folders.inbox / "dangling.pdf").symlink_to(tmp_path / "none.pdf")
    there = {one.name for one in folders.inbox.iterdir()}
    put(folders, "a.pdf")
    house.do(watch().run(until_empty=True))
    assert pdfs(folders.outbox) == {"a.pdf"}
    assert {one.name for one in folders.inbox.iterdir()} == there
    assert house.left() == before - 1


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_file_that_became_something_else_is_not_read(tmp_path: Path, kind: str) -> None:
    """Between the look and the copy; a pipe would be waited for, a link lead elsewhere."""
    file = tmp_path / "a.pdf"
    file.write_bytes(PLAIN)
    seen = file.lstat()
    file.rename(tmp_path / "elsewhere")
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputUnreadable):
        copied(file, seen, tmp_path / "copy", 1 << 20)
    assert not (tmp_path / "copy").exists()


def test_a_file_that_changed_since_it_was_seen_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "a.pdf"
    file.write_bytes(PLAIN)
    seen = file.lstat()
    file.write_bytes(PLAIN + b"%more")
    assert copied(file, seen, tmp_path / "copy", 1 << 20) is None
    file.unlink()
    assert copied(file, seen, tmp_path / "another", 1 << 20) is None


def test_files_that_go_while_one_looks(folders: Folders, watch) -> None:
    for number in range(3):
        put(folders, f"{number}.pdf")
    looking = iter(watch()._inputs())
    first, _ = next(looking)
    for one in folders.inbox.iterdir():
        if one != first:
            one.unlink()
    assert list(looking) == []


def test_a_file_that_goes_while_it_is_signed(house, folders: Folders, watch) -> None:
    file = put(folders, "a.pdf")

    def and_take_it(request, octets: bytes) -> None:
        if request.url.path == SIGN:
            file.unlink()

    house.wire.change = and_take_it
    house.do(watch().run(until_empty=True))
    assert names(folders.outbox) == {"a.pdf", "a.pdf.json"}
    assert [one.outcome for one in watch.told] == ["signed"]


def test_a_file_that_goes_while_it_is_refused(house, folders: Folders, watch) -> None:
    file = put(folders, "a.pdf")

    def refuse(request, octets: bytes) -> tuple[int, bytes] | None:
        if request.url.path != SIGN:
            return None
        file.unlink(missing_ok=True)
        return 409, json.dumps(PROBLEM).encode()

    house.wire.change = refuse
    house.do(watch().run(until_empty=True))
    assert names(folders.outbox) == names(folders.failed) == set()
    assert watch.told == []


PROBLEM = {
    "type": "urn:hashseal:problem:seal-revoked",
    "title": "Seal revoked",
    "status": 409,
    "code": "seal-revoked",
    "detail": "revoked",
    "action": "Use another seal.",
    "request_id": "x",
}


@pytest.mark.parametrize("gone", ["outbox", "originals"])
def test_a_folder_that_goes_while_a_file_is_signed(
    house, folders, watch, tmp_path: Path, gone: str
) -> None:
    """The call was made: it is repeated under its key, charged once, and there is one output."""
    kept = replace(folders, originals=tmp_path / "originals", failed=tmp_path / "failed")
    kept.prepare()
    before, path = house.left(), getattr(kept, gone)
    put(kept, "a.pdf")

    def and_replace_it(request, octets: bytes) -> None:
        if request.url.path == SIGN:
            path.rename(path.with_name("away"))
            path.write_bytes(b"")

    house.wire.change = and_replace_it
    with pytest.raises(FolderAway):
        house.do(watch(folders=kept).run(until_empty=True))
    house.wire.change = None
    assert names(kept.inbox) >= {"a.pdf"}
    with pytest.raises(FolderAway, match="cannot be made"):
        house.do(watch(folders=kept).run(until_empty=True))
    path.unlink()
    path.with_name("away").rename(path)
    house.do(watch(folders=kept).run(until_empty=True))
    assert names(kept.outbox) == {"a.pdf", "a.pdf.json"}
    assert names(kept.originals) == {"a.pdf"}
    assert house.left() == before - 1
    assert house.strays() == set()


def test_a_folder_that_cannot_be_used_costs_nothing(house, folders: Folders, watch) -> None:
    before = house.left()
    put(folders, "a.pdf")
    folders.failed.rmdir()
    folders.failed.write_bytes(b"")
    with pytest.raises(FolderAway):
        house.do(watch().run(until_empty=True))
    assert house.left() == before
    assert house.wire.count() == 0


def test_folders_that_were_removed_are_made_again(house, folders: Folders, watch) -> None:
    put(folders, "a.pdf")
    put(folders, "bad.pdf", b"no document")
    folders.failed.rmdir()
    folders.outbox.rmdir()
    house.do(watch().run(until_empty=True))
    assert (names(folders.outbox), pdfs(folders.failed)) == ({"a.pdf", "a.pdf.json"}, {"bad.pdf"})


def test_an_inbox_that_is_gone(house, folders: Folders, watch) -> None:
    folders.inbox.rmdir()
    with pytest.raises(FolderAway, match="cannot be read"):
        house.do(watch().run(until_empty=True))


def test_a_name_that_the_outbox_cannot_give_is_not_paid_for(
    house, folders: Folders, watch, tmp_path: Path
) -> None:
    """Its path would be too long for the system."""
    before = house.left()
    made = replace(folders, outbox=deep(tmp_path / "o", 4000), failed=folders.failed)
    put(folders, "x" * 200 + ".pdf")
    put(folders, "a.pdf")
    house.do(watch(folders=made, at_once=1).run(until_empty=True))
    assert pdfs(made.outbox) == {"a.pdf"}
    assert pdfs(made.failed) == {"x" * 200 + ".pdf"}
    assert report(made.failed / ("x" * 200 + ".pdf"))["outcome"] == "output-refused"
    assert house.left() == before - 1


def test_a_file_that_cannot_even_be_set_aside_stays(
    house, folders: Folders, watch, tmp_path: Path
) -> None:
    made = replace(folders, failed=deep(tmp_path / "f", 4000))
    bad = put(folders, "x" * 200 + ".pdf", b"no document")
    put(folders, "a.pdf")
    one = watch(folders=made, at_once=1)
    house.do(one.run(until_empty=True))
    assert pdfs(made.outbox) == {"a.pdf"}
    assert bad.read_bytes() == b"no document"
    assert names(made.failed) == set()
    said = [told.outcome for told in watch.told if told.file == bad.name]
    assert said == ["pdf-malformed", "output-refused"]
    house.do(one.run(until_empty=True))  # it is not tried again until it changes
    assert len(watch.told) == 3
    put(folders, bad.name, PLAIN + b"%good now")
    house.do(one.run(until_empty=True))
    assert pdfs(made.outbox) == {"a.pdf", bad.name}


def test_a_full_disk_is_the_folders_and_a_large_file_its_own(tmp_path: Path) -> None:
    with pytest.raises(FolderAway, match="No space left"), writing_into(tmp_path):
        Path("/dev/full").write_bytes(b"x")
    with pytest.raises(OutputRefused, match="File too large") as refused, writing_into(tmp_path):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    assert not isinstance(refused.value, FolderAway)
    assert not issubclass(DocumentTooLarge, OutputRefused)


def test_names_that_are_taken_at_the_same_time(house, folders: Folders, watch) -> None:
    put(folders, "a.pdf")
    house.do(watch().run(until_empty=True))
    for number, name in enumerate(("a.pdf", "a-2.pdf", "a-3.pdf")):
        put(folders, name, PLAIN + f"%{number}".encode())
    house.do(watch(at_once=3).run(until_empty=True))
    made = [folders.outbox / one for one in pdfs(folders.outbox)]
    assert len(made) == 4
    assert len({report(one)["source"] for one in made}) == 4


def test_what_others_have_put_into_the_outbox_stays(house, folders: Folders, watch) -> None:
    (folders.outbox / "a.pdf.json").write_text("mine")
    (folders.outbox / "b.pdf").mkdir()
    (folders.outbox / "c.pdf").symlink_to("nowhere")
    os.mkfifo(folders.outbox / "d.pdf.json")
    for name in "abcd":
        put(folders, f"{name}.pdf", PLAIN + name.encode())
    house.do(watch(at_once=1).run(until_empty=True))
    assert (folders.outbox / "a.pdf.json").read_text() == "mine"
    assert {f"{name}-2.pdf" for name in "abcd"} <= pdfs(folders.outbox)


def test_only_own_drafts_are_removed(folders: Folders) -> None:
    others = {".hashseal-notes", "a.part", ".a.0123abcd.part"}
    for name in (*others, f"{filing.DRAFT}0123456789abcdef.part"):
        (folders.outbox / name).write_bytes(b"x")
    folders.prepare()
    assert names(folders.outbox) == others
