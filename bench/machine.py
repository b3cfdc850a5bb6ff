"""What a run was made on: ratios between RSA and anything else differ by three between machines."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from cluster import programs
from cryptography.hazmat.backends.openssl import backend


def postgresql() -> str:
    """The version of the database that the tests and benchmarks start."""
    try:
        done = subprocess.run(
            [str(programs() / "postgres"), "--version"], capture_output=True, text=True, check=True
        )
    except (IndexError, OSError, subprocess.CalledProcessError):
        return "no PostgreSQL"
    return done.stdout.replace("postgres (PostgreSQL)", "PostgreSQL").partition(" (")[0].strip()


def machine() -> str:
    """Processor, kernel and the versions that decide how fast a signature and a commit are."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = text.partition("model name")[2].partition(":")[2].partition("\n")[0].strip()
    flags = text.partition("\nflags")[2].partition("\n")[0].split()
    ifma = "with" if "avx512ifma" in flags else "without"
    return ", ".join(
        (
            f"{os.cpu_count()} cores",
            f"{model or platform.machine()} {ifma} avx512ifma",
            f"Linux {platform.release()}",
            f"Python {platform.python_version()}",
            f"{backend.openssl_version_text().rsplit(' ', 3)[0]} in cryptography",
            postgresql(),
        )
    )
