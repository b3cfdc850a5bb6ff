"""The only folder that this package keeps anything in: that of the sandbox."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "HASHSEAL_SANDBOX_DIR"
_ANCHOR = "trust-anchor.pem"


def sandbox_folder() -> Path:
    """The sandbox's data folder; the variable HASHSEAL_SANDBOX_DIR names another one."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "hashseal-sandbox"


def sandbox_anchor(folder: Path | None = None) -> Path:
    """Where the sandbox leaves its root certificate (PEM)."""
    return (folder or sandbox_folder()) / _ANCHOR
