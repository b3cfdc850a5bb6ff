"""Run every test with branch coverage on two workers, then the coverage gates.

Extra arguments go to pytest. The last line printed is pytest's closing line.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GATES: Mapping[str, int] = {
    "hashseal-core": 100,
    "hashseal": 90,
    "hashseal-server": 90,
    "hashseal-gateway": 90,
}
"""Distribution to the branch coverage that it must reach, in percent."""

LONGEST = 3000
"""Seconds after which a run is ended; each test has a limit of its own (`timeout`)."""
CLOSING = re.compile(r"\d+ (passed|failed|error|errors|skipped)\b.* in [\d.]+s")


def run_tests(arguments: list[str]) -> tuple[int, str]:
    """Run pytest, passing its output through; its exit code and its closing line."""
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup"]
    command += ["--cov", "--cov-report=", *arguments]
    closing = ""
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        if process.stdout is None:
            sys.exit("no output from pytest")
        watch = threading.Timer(LONGEST, _end, [process.pid])
        watch.daemon = True
        watch.start()
        for line in process.stdout:
            print(line, end="", flush=True)
            if CLOSING.search(line):
                closing = line.strip().strip("= ")
                break  # a process that a test left behind must not keep us waiting
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            _end(process.pid)
        watch.cancel()
        process.stdout.close()
    return process.returncode, closing


def _end(group: int) -> None:
    """End pytest and everything that it started."""
    print(f"the tests did not end; ending process group {group}", flush=True)
    os.killpg(group, signal.SIGKILL)


def gate(distribution: str, percent: int) -> bool:
    """Whether one distribution reaches its branch coverage; prints what is not covered."""
    outcome = subprocess.run(
        [
            sys.executable,
            "-m",
            "coverage",
            "report",
            f"--include=packages/{distribution}/src/*",
            f"--fail-under={percent}",
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    reached = outcome.returncode == 0
    print(f"coverage of {distribution}: {'at least' if reached else 'BELOW'} {percent} %")
    if not reached:
        print(outcome.stdout + outcome.stderr)
    return reached


def main() -> int:
    """Exit code 0 when all tests passed and every gate holds."""
    code, closing = run_tests(sys.argv[1:])
    gates = [gate(distribution, percent) for distribution, percent in GATES.items()]
    print(closing or f"pytest ended with code {code} and no closing line")
    return code or int(not all(gates))


if __name__ == "__main__":
    sys.exit(main())
