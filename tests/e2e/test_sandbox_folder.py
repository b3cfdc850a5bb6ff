"""The sandbox keeps everything in one folder, and leaves nothing anywhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import generated_pdfs


def test_nothing_is_left_outside_the_data_folder(tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("home", "temporary", "work", "sandbox")}
    for place in places.values():
        place.mkdir()
    source = places["work"] / "invoice.pdf"
    source.write_bytes(generated_pdfs.generate("table", tmp_path))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(places["home"]),
        "TMPDIR": str(places["temporary"]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HASHSEAL_SANDBOX_DIR": str(places["sandbox"]),
    }
    for _ in range(2):
        outcome = subprocess.run(
            [*(sys.executable, "-m", "hashseal.cli", "sign"), source, "--sandbox", "--force"],
            env=environment,
            cwd=places["work"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert outcome.returncode == 0, outcome.stderr
    assert list(places["home"].rglob("*")) == []
    assert list(places["temporary"].rglob("*")) == []
    names = sorted(path.name for path in places["work"].iterdir())
    assert names == ["invoice.pdf", "invoice.signed.pdf"]
    kept = {path.name for path in places["sandbox"].iterdir()}
    assert {"hashseal.db", "keys", "secret", "trust-anchor.pem"} <= kept
