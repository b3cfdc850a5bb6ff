"""Files of browsers that come from npm: by version, each by its hash, and nothing else."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
WANTED = {"LICENSE": b"free", "legacy/build/pdf.min.mjs": b"export {};"}


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool with another list and another place; its package is made here."""
    spec = importlib.util.spec_from_file_location("frontend", ROOT / "tools" / "frontend.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(
        "".join(
            f"{hashlib.sha256(octets).hexdigest()}  {name}\n" for name, octets in WANTED.items()
        )
    )
    monkeypatch.setattr(made, "SUMS", sums)
    monkeypatch.setattr(made, "TARGET", tmp_path / "static" / "pdfjs")
    monkeypatch.setattr("sys.argv", ["frontend.py"])
    return made


def packed(folder: Path, files: dict[str, bytes]) -> Path:
    archive = folder / "package.tgz"
    with tarfile.open(archive, "w:gz") as writing:
        for name, octets in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(octets)
            writing.addfile(member, io.BytesIO(octets))
    return archive


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of this name that gives the package, and writes down what it was asked for."""
    asked = tmp_path / "asked"
    packed(tmp_path, {**WANTED, "malware.js": b"no"})
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$2" >> {asked}\nfor last; do :; done\ncp {tmp_path}/package.tgz "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_laid_once_and_nothing_but_what_is_named(tool, npm, tmp_path: Path) -> None:
    assert tool.main() == 0
    there = {
        one.relative_to(tool.TARGET).as_posix(): one.read_bytes()
        for one in tool.TARGET.rglob("*")
        if one.is_file()
    }
    assert there == WANTED
    assert tool.main() == 0
    assert (tmp_path / "asked").read_text().splitlines() == [tool.PACKAGE]


def test_what_was_touched_is_brought_again(tool, npm, tmp_path: Path) -> None:
    assert tool.main() == 0
    (tool.TARGET / "LICENSE").write_bytes(b"other")
    (tool.TARGET / "more.js").write_bytes(b"more")
    assert tool.main() == 0
    assert (tool.TARGET / "LICENSE").read_bytes() == WANTED["LICENSE"]
    assert not (tool.TARGET / "more.js").exists()


@pytest.mark.parametrize(
    "files",
    [
        {**WANTED, "LICENSE": b"another"},
        {"LICENSE": WANTED["LICENSE"]},
    ],
)
def test_another_file_is_refused(tool, npm, tmp_path: Path, files, capsys) -> None:
    packed(tmp_path, files)
    assert tool.main() == 1
    assert not tool.TARGET.exists()
    assert tool.PACKAGE in capsys.readouterr().err


def test_without_npm(tool, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert tool.main() == 1
    monkeypatch.setattr("sys.argv", ["frontend.py", "--optional"])
    assert tool.main() == 0
    assert "npm (Debian: npm) is missing" in capsys.readouterr().err


def test_the_list_that_ships_names_what_the_page_loads() -> None:
    names = [
        line.split()[1]
        for line in (ROOT / "packages/hashseal-gateway/frontend/SHA256SUMS")
        .read_text()
        .splitlines()
    ]
    assert names == sorted(set(names))
    for needed in (
        "LICENSE",
        "legacy/build/pdf.min.mjs",
        "legacy/build/pdf.worker.min.mjs",
        "cmaps/UniGB-UCS2-H.bcmap",
        "standard_fonts/LiberationSans-Regular.ttf",
        "wasm/openjpeg_nowasm_fallback.js",
    ):
        assert needed in names
    assert not [name for name in names if name.endswith((".wasm", ".map"))]
