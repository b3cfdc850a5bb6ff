"""`make sign` on a file that its validator cannot read: it says that the file was signed, and where."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import odd_pdfs
import pytest

ROOT = Path(__file__).resolve().parents[2]


def sign(folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    source = folder / "letter.pdf"
    source.write_bytes(odd_pdfs.ODD["junk-before"]())
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "sign.py"), str(source), "", "B-LT"],
        env={**os.environ, "HASHSEAL_SANDBOX_DIR": str(folder / "sandbox"), **changes},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.tools
def test_what_another_reader_confirms_is_signed(tmp_path: Path) -> None:
    done = sign(tmp_path)
    target = tmp_path / "letter.signed.pdf"
    assert done.returncode == 0, done.stdout + done.stderr
    assert target.read_bytes().startswith((tmp_path / "letter.pdf").read_bytes())
    assert f"→ {target}" in done.stdout
    assert "no report could be made" in done.stdout
    assert "Signature is Valid." in done.stdout
    assert "error" not in done.stdout + done.stderr


def test_without_any_reader_it_says_where_the_file_is(tmp_path: Path) -> None:
    done = sign(tmp_path, PATH="/nonexistent")
    target = tmp_path / "letter.signed.pdf"
    assert done.returncode == 1
    assert target.is_file()
    assert "no report could be made" in done.stdout
    assert f"{target} was signed, but is not confirmed" in done.stderr
    assert "Traceback" not in done.stderr
