"""Local validation: is this file what was signed, by whom, when, and how long can that be shown?

`validate` runs pyHanko in a child process that has limits on memory, CPU and wall time, and that
never opens a connection.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hashseal.validation.report import Report
from hashseal_core.errors import InputUnreadable, PdfLimit, PdfMalformed

WALL_SECONDS = 60


def validate(path: Path, trust_anchors: Sequence[bytes]) -> Report:
    """The report on one file; `trust_anchors` are PEM, each may hold several certificates.

    Raises:
        InputUnreadable: no such file.
        PdfMalformed: not a PDF that can be read.
        PdfLimit: validation needed more time or memory than it may have.
    """
    if not path.is_file():
        raise InputUnreadable(f"{path} is not a file")
    try:
        outcome = subprocess.run(  # noqa: S603 - this very Python, fixed arguments
            [sys.executable, "-m", "hashseal.validation.judge", str(path.resolve())],
            input=b"\n".join(trust_anchors),
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PdfLimit(f"validation took more than {WALL_SECONDS} s") from error
    if outcome.returncode != 0:
        if outcome.returncode < 0:
            raise PdfLimit("validation needed more memory or time than it may have")
        raise PdfMalformed("the file cannot be validated: it is not a readable PDF")
    return msgspec.json.decode(outcome.stdout, type=Report)
