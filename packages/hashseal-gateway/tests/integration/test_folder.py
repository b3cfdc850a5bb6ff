"""A watched folder: whole outputs with a report, refusals set aside, nothing lost or done twice."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from pathlib import Path

import pytest
from watched import PLAIN, names, put

from hashseal.client.visible import Visibility
from hashseal_core.errors import ConfigurationInvalid, InvalidValue, ServiceUnreachable
from hashseal_gateway.cli.watching import _seen
from hashseal_gateway.documents import folder
from hashseal_gateway.documents.folder import Folders, Watch, folder_caller
from hashseal_gateway.documents.options import DocumentOptions
from hashseal_gateway.seals.appearance import Appearance, of_place


def test_signed_and_set_aside(house, folders: Folders, watch) -> None:
    before = house.left()
    put(folders, "a.pdf")
    put(folders, "b.PDF", PLAIN + b"%b")
    put(folders, "bad.pdf", b"no document")
    put(folders, ".hidden.pdf")
    put(folders, "note.txt", b"text")
    house.do(watch().run(until_empty=True))
    assert names(folders.outbox) == {"a.pdf", "a.pdf.json", "b.PDF", "b.PDF.json"}
    assert names(folders.failed) == {"bad.pdf", "bad.pdf.json"}
    assert names(folders.inbox) == {".hidden.pdf", "note.txt"}
    assert (folders.outbox / "a.pdf").read_bytes().startswith(PLAIN)
    report = json.loads((folders.outbox / "a.pdf.json").read_text())
    assert report["outcome"] == "signed"
    assert report["signature_id"]
    reason = json.loads((folders.failed / "bad.pdf.json").read_text())
    assert reason["outcome"] == "pdf-malformed"
    assert reason["action"]
    assert house.left() == before - 2
    assert house.strays() == set()
    assert len(watch.told) == 3


def test_the_same_name_again_takes_another_name(house, folders: Folders, watch) -> None:
    put(folders, "a.pdf")
    house.do(watch().run(until_empty=True))
    first = (folders.outbox / "a.pdf").read_bytes()
    put(folders, "a.pdf")
    house.do(watch().run(until_empty=True))
    assert (folders.outbox / "a.pdf").read_bytes() == first
    assert (folders.outbox / "a-2.pdf").is_file()


@pytest.mark.parametrize("behind", ["report", "output"])
def test_a_kill_between_the_steps(
    house, folders: Folders, watch, monkeypatch: pytest.MonkeyPatch, behind: str
) -> None:
    """Killed behind one of the steps of delivery: signed once, charged once, one output."""
    before = house.left()

    class Killed(BaseException):
        pass

    name = {"report": "write", "output": "move"}[behind]
    real = getattr(folder, name)

    def and_die(*arguments):
        real(*arguments)
        raise Killed

    put(folders, "a.pdf")
    monkeypatch.setattr(folder, name, and_die)
    with pytest.raises((Killed, asyncio.CancelledError)):
        house.do(watch().run(until_empty=True))
    monkeypatch.setattr(folder, name, real)
    assert (folders.inbox / "a.pdf").is_file()
    there = (folders.outbox / "a.pdf").read_bytes() if behind == "output" else None
    house.do(watch().run(until_empty=True))
    assert names(folders.outbox) == {"a.pdf", "a.pdf.json"}
    assert there is None or (folders.outbox / "a.pdf").read_bytes() == there
    assert names(folders.inbox) == set()
    assert house.left() == before - 1


def test_a_file_that_still_grows_is_left_alone(
    house, folders: Folders, watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders.inbox / "slow.pdf"
    path.write_bytes(PLAIN[:100])
    monkeypatch.setattr(folder, "SETTLED_SECONDS", 3600)  # however long the looks take
    one = watch()
    assert one._look() == ([], True)
    assert one._look() == ([], True)  # changed less than a moment ago
    path.write_bytes(PLAIN)
    earlier = time.time() - 7200
    os.utime(path, (earlier, earlier))
    assert one._look() == ([], True)  # not as it was seen before
    assert one._look() == ([path], False)


def test_the_service_is_away(house, folders: Folders, watch) -> None:
    put(folders, "a.pdf")
    house.do(house.gateway.service.seals())
    house.wire.down = True
    with pytest.raises(ServiceUnreachable):
        house.do(watch().run(until_empty=True))
    assert names(folders.inbox) == {"a.pdf"}
    assert names(folders.outbox) == set()
    house.wire.down = False
    house.do(watch().run(until_empty=True))
    assert names(folders.outbox) == {"a.pdf", "a.pdf.json"}


def test_originals_are_kept_if_that_is_wanted(house, folders: Folders, seal: str) -> None:
    kept = Folders(folders.inbox, folders.outbox, folders.failed, folders.outbox / "originals")
    kept.prepare()
    put(folders, "a.pdf")
    office = house.gateway.office
    watching = Watch(
        kept,
        house.gateway.documents,
        office.folder,
        DocumentOptions(seal=seal),
        at_once=1,
        most=1 << 20,
        tell=lambda _: None,
        waits=lambda _: None,
        now=house.gateway.work._now,
    )
    house.do(watching.run(until_empty=True))
    assert (kept.originals / "a.pdf").read_bytes() == PLAIN
    (entry,) = (
        house.client("auditor")
        .get("/v1/log", params={"caller": folder_caller(kept.inbox).id})
        .json()["entries"]
    )
    assert (entry["caller_kind"], entry["way"]) == ("folder", "folder")


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="is not a folder"):
        Folders(tmp_path / "none", tmp_path / "out", tmp_path / "failed").prepare()
    four = [tmp_path / name for name in ("in", "out", "failed", "originals")]
    for one, other in itertools.combinations(range(4), 2):
        places = [*four]
        places[other] = places[one]
        places[0].mkdir(exist_ok=True)
        with pytest.raises(ConfigurationInvalid, match="folders of their own"):
            Folders(*places).prepare()


def test_a_seal_that_is_seen(house, folders: Folders, watch) -> None:
    put(folders, "a.pdf")
    seen = of_place("last:30,40,100,100", "seal-and-text")
    house.do(watch(appearance=seen).run(until_empty=True))
    signed = (folders.outbox / "a.pdf").read_bytes()
    assert b"/Rect [30 455 130 555]" in signed


@pytest.mark.parametrize(
    ("visibility", "place", "made"),
    [
        (None, None, None),
        (Visibility.NONE, None, "none"),
        (Visibility.SEAL_AND_TEXT, None, Appearance(style="seal-and-text")),
        (None, "2:top", Appearance(page=2, position="top")),
        (Visibility.SEAL, "2:top", Appearance(page=2, position="top", style="seal")),
    ],
)
def test_what_the_command_says_is_seen(visibility, place: str | None, made: object) -> None:
    assert _seen(visibility, place) == made


def test_the_command_contradicts_itself() -> None:
    with pytest.raises(InvalidValue):
        _seen(Visibility.NONE, "last:top")
