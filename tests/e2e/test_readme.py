"""Every command in README, tutorial and contributing guide is run, or, for gates, known to make."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import generated_pdfs
import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
MADE_ELSEWHERE = re.compile(
    r"^make (test|check|corpus|faults|bench|reference|gateway|docs)\b", re.MULTILINE
)
MAX_LINES = 150


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as a reader would, in a folder that looks like the repository."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
            "HASHSEAL_SANDBOX_DIR": str(folder / "sandbox"),
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile and the environment, and a PDF of the name used in the docs."""
    for name in ("Makefile", "tools", "packages", "requirements.lock", ".venv", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "invoice.pdf").write_bytes(generated_pdfs.generate("table", work))
    return tmp_path


@pytest.mark.tools
@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-signature.md"])
def test_its_commands_work(page: str, checkout: Path) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert blocks
    # Gates inside a gate would never end, and the environment is the one that runs this test.
    script = MADE_ELSEWHERE.sub(r"make -n \1", "\n".join(blocks))
    script = script.replace("make sign", "make -o environment sign")
    outcome = shell(script, checkout)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    signed = checkout / "invoice.signed.pdf"
    assert signed.read_bytes().startswith((checkout / "invoice.pdf").read_bytes())


def test_the_gates_of_the_contributing_guide_can_be_made(checkout: Path) -> None:
    (block,) = BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    outcome = shell(MADE_ELSEWHERE.sub(r"make -n \1", block), checkout)
    assert outcome.returncode == 0, outcome.stderr


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
