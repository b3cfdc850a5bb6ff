"""The example of the how-to signs through a listening service, without the SDK."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import generated_pdfs
import judgement
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.tools
@pytest.mark.parametrize("key", ["P-256", "RSA-3072"])
def test_the_example_signs(service, tmp_path: Path, key: str) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(generated_pdfs.generate("table", tmp_path))
    outcome = subprocess.run(
        [
            *(sys.executable, ROOT / "docs" / "how-to" / "example.py"),
            *(service.url, service.token, service.seals[key], source, target),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stderr
    document = target.read_bytes()
    assert document.startswith(source.read_bytes())
    assert judgement.pdfsig(target) == [True]
    assert judgement.pyhanko(document, service.anchor_der, judgement.dss(document)) == [True]


def test_the_example_imports_nothing_of_ours() -> None:
    text = (ROOT / "docs" / "how-to" / "example.py").read_text(encoding="utf-8")
    assert "hashseal" not in text
