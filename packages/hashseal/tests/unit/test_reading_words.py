"""The process that looks for words keeps within the limits of whoever started it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
from hashseal.reading_words import _limit
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
_limit(1 << 30, 100)
print(resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_AS))
"""


def test_a_caller_that_is_limited_is_not_exceeded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == f"(5, 5) {(1 << 30, 1 << 30)}"
