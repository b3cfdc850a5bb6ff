"""The commands of docs/how-to/hardware-keys.md, as an operator types them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.hsm

ROOT = Path(__file__).resolve().parents[4]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def test_its_commands_work(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "hardware-keys.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(page)
    assert len(blocks) == 5
    # The last line of an operator's day: a seal from a wrapped key, and an ordered end.
    blocks.append(
        """
export HASHSEAL_CONFIG=service.toml
account=$(hashseal-server account create Acme --json | sed 's/.*"id": "\\([^"]*\\)".*/\\1/')
hashseal-server seal create --account "$account" --name Seal --organisation Acme \\
    --organisation-identifier NTRCH-1 --country CH --algorithm RSA-3072
hashseal-server check-config
kill %1
wait %1
"""
    )
    environment = {name: value for name, value in os.environ.items() if "HASHSEAL" not in name}
    environment["PATH"] = f"{ROOT / '.venv' / 'bin'}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-m", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrapping key           made" in done.stdout
    assert "signers                sign" in done.stdout
    assert "signature size" in done.stdout
    for secret in ("user-1", "user-2", "officer-1"):
        assert secret not in done.stdout + done.stderr
