"""The commands of the pages on keys in a token, as an operator types them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import typer

from hashseal_server.cli import app

pytestmark = pytest.mark.hsm

ROOT = Path(__file__).resolve().parents[4]
PAGES = ROOT / "docs" / "how-to"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
COMMAND = re.compile(
    r"(?:hashseal-server |`)"
    r"((?:account|audit|credential|entitlement|order|pki|seal|signer|timestamp|token|tsu) [a-z0-9-]+)"
)
ALONE = re.compile(r"hashseal-server ([a-z][a-z-]+)")
"""A command, or a group of commands."""


def blocks_of(page: str) -> list[str]:
    return BLOCK.findall((PAGES / page).read_text(encoding="utf-8"))


@pytest.mark.timeout(600)
def test_set_up_backup_restore_and_new_keys(tmp_path: Path) -> None:
    """Both pages in one shell: the second goes on where the first has ended."""
    pages = blocks_of("hardware-keys.md"), blocks_of("operators-handbook.md")
    assert [len(blocks) for blocks in pages] == [5, 12]
    environment = {name: value for name, value in os.environ.items() if "HASHSEAL" not in name}
    environment["PATH"] = f"{ROOT / '.venv' / 'bin'}:{environment['PATH']}"
    done = subprocess.run(
        [
            "bash",
            "-euo",
            "pipefail",
            "-m",
            "-c",
            "\n".join(block for page in pages for block in page),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for secret in ("user-1", "user-2", "user-9", "officer-1"):
        assert secret not in done.stdout + done.stderr
    assert "wrapping key           made" in done.stdout
    assert "signers                sign" in done.stdout
    # The restored log lacks the revocation, and both are found by what another machine keeps.
    assert "entries are missing" in done.stdout
    for kept in ("backup", "data"):
        assert (tmp_path / kept / "timestamping").is_dir()
    missing = (tmp_path / "missing.jsonl").read_text()
    # Lists go on above the lost ones.
    lost = re.findall(r'\\"number\\": ?(\d+)', missing)
    (published,) = re.findall(r"^number +(\d+)$", done.stdout, re.MULTILINE)
    assert lost
    assert int(published) > max(map(int, lost))
    assert missing.count('"certificate.revoked"') == 1
    assert re.findall(r"^intact +(\w+)$", done.stdout, re.MULTILINE) == ["False", *3 * ["True"]]
    assert len(re.findall(r"^revoked +True$", done.stdout, re.MULTILINE)) == 3


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_every_command_that_a_page_names_is_there(page: str) -> None:
    groups = typer.main.get_group(app).commands
    known = {
        f"{group} {name}"
        for group, found in groups.items()
        for name in getattr(found, "commands", {})
    }
    text = (PAGES / page).read_text(encoding="utf-8")
    named = set(COMMAND.findall(text))
    assert named <= known, named - known
    assert set(ALONE.findall(text)) <= set(groups)
    assert len(named) > {"operators-handbook.md": 12, "ceremony.md": 3}.get(page, -1)
