"""Local validation: is this file what was signed, by whom, when, and how long can that be shown?

`validate` runs pyHanko in a child process that has limits on memory, CPU and wall time, and that
never opens a connection.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from hashseal.validation import limits
from hashseal.validation.report import Question, Report
from hashseal_core.errors import InputUnreadable, PdfLimit, PdfMalformed, PdfPasswordRequired

_PASSWORD_NEEDED, _LIMIT_EXCEEDED = 3, 4


def validate(
    path: Path,
    trust_anchors: Sequence[bytes],
    *,
    password: str | None = None,
    at: datetime | None = None,
) -> Report:
    """The report on one file; `trust_anchors` are PEM, each may hold several certificates.

    `at` is the time to judge by, aware; None is the present.

    Raises:
        InputUnreadable: no such file, or an anchor that is not text.
        PdfMalformed: not a PDF that can be read.
        PdfPasswordRequired: encrypted, and the password does not open it.
        PdfLimit: it needs more time or memory than it may have, or has more of something than is
            verified; the text says of what.
    """
    if not path.is_file():
        raise InputUnreadable(f"{path} is not a file")
    try:
        anchors = tuple(anchor.decode("ascii") for anchor in trust_anchors)
    except UnicodeDecodeError as error:
        raise InputUnreadable("a trust anchor is not PEM") from error
    seconds = limits.WALL_SECONDS + limits.more_seconds(path.stat().st_size)
    try:
        outcome = subprocess.run(  # noqa: S603 - this very Python, fixed arguments
            [sys.executable, "-m", "hashseal.validation.judge", str(path.resolve())],
            input=msgspec.json.encode(Question(anchors, password, at)),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PdfLimit(f"validation took more than {seconds} s") from error
    if outcome.returncode == _PASSWORD_NEEDED:
        raise PdfPasswordRequired("the file is encrypted; the password does not open it")
    if outcome.returncode == _LIMIT_EXCEEDED:
        raise PdfLimit(outcome.stdout.decode())
    if outcome.returncode < 0:
        raise PdfLimit(
            f"validation needed more than {limits.CPU_SECONDS} s of CPU or "
            f"{limits.MEMORY_OCTETS >> 20} MiB of memory: the file is too intricate, or "
            "was extended too often"
        )
    if outcome.returncode != 0:
        raise PdfMalformed("no report could be made: the validator, pyHanko, cannot read the file")
    return msgspec.json.decode(outcome.stdout, type=Report)
