"""Files in a watched folder, and what has become of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import generated_pdfs

from hashseal_gateway.documents.folder import Folders

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())


def put(folders: Folders, name: str | bytes, octets: bytes = PLAIN) -> Path:
    """A file that was put there a moment ago."""
    path = folders.inbox / os.fsdecode(name)
    path.write_bytes(octets)
    earlier = time.time() - 5
    os.utime(path, (earlier, earlier))
    return path


def names(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir() if one.is_file()}
