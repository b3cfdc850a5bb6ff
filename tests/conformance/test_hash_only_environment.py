"""The environment made from the service's distribution alone holds no PDF library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = (
    *("pyhanko", "pypdf", "PyPDF2", "PyPDF4", "pikepdf", "pypdfium2", "fitz", "pymupdf"),
    *("pdfminer", "pdfplumber", "reportlab", "borb", "fpdf", "endesive", "hashseal"),
)
PROBE = """
import importlib.metadata, importlib.util, json, sys
import hashseal_server, hashseal_core
names = sys.argv[1:]
print(json.dumps({
    "found": [name for name in names if importlib.util.find_spec(name)],
    "packages": sorted(d.metadata["Name"].lower() for d in importlib.metadata.distributions()),
}))
"""


def run(*command: str | Path) -> str:
    """One command that must work."""
    outcome = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, timeout=120
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_no_pdf_library_is_there(tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    environment = tmp_path / "service"
    python = environment / "bin" / "python"
    run(uv, "venv", "--quiet", "--python", sys.executable, environment)
    packages = ROOT / "packages"
    run(
        *(uv, "pip", "install", "--quiet", "--python", python),
        *("--constraint", ROOT / "requirements.lock"),
        *(packages / "hashseal-core", packages / "hashseal-server"),
    )
    seen = json.loads(run(python, "-I", "-c", PROBE, *LIBRARIES))
    assert seen["found"] == []
    assert "hashseal-server" in seen["packages"]
    assert not [name for name in seen["packages"] if "pdf" in name]
