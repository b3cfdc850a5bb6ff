"""Run every test on two workers, the tests of the packages with branch coverage; then its gates.

What judges files with other programs, and what starts or kills processes, is run without: measuring
would take half of its time again and cover nothing that the others do not. Extra arguments go to
pytest. The last line printed says how many passed and failed.
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
_PROCESSES = (
    "hsm_handbook",
    "hsm_recovery",
    "i05_authorisations",
    "i08_units_and_owners",
    "i08_wrong_clocks",
    "i09_serial_numbers",
    "i11_under_load",
    "import_handbook",
    "jobs",
    "processes",
    "remote_signers",
    "webhook_replicas",
)
"""Integration tests of the service that start and kill processes."""
UNMEASURED = (
    "tests/conformance",
    "tests/faults",
    *(f"packages/hashseal-server/tests/integration/test_{one}.py" for one in _PROCESSES),
    *sorted(
        str(one.relative_to(ROOT))
        for one in (
            *(ROOT / "tests" / "e2e").glob("test_*.py"),
            *(ROOT / "packages").glob("*/tests/integration/test_i19_*.py"),
        )
        if one.name not in {"test_gateway_commands.py", "test_gateway_runs.py"}
    ),
)
"""Folders and modules. End-to-end tests of the gateway's commands are measured, those of I19 cannot
be (`canary.Watch` says why)."""
CLOSING = re.compile(r"\d+ (passed|failed|error|errors|skipped)\b.* in [\d.]+s")


def run_tests(arguments: list[str]) -> tuple[int, str]:
    """Run pytest, passing its output through; its exit code and its closing line."""
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", *arguments]
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
    given = sys.argv[1:]
    measured = ["--cov", "--cov-report=", *(f"--ignore={one}" for one in UNMEASURED)]
    runs = [run_tests([*measured, *given]), run_tests([*UNMEASURED, *given])]
    gates = [gate(distribution, percent) for distribution, percent in GATES.items()]
    for code, closing in runs:
        print(closing or f"pytest ended with code {code} and no closing line")
    print(f"{_count(runs, 'passed')} passed, {_count(runs, 'failed|error|errors')} failed")
    return max(code for code, _ in runs) or int(not all(gates))


def _count(runs: list[tuple[int, str]], outcome: str) -> int:
    found = [re.findall(rf"(\d+) (?:{outcome})\b", closing) for _, closing in runs]
    return sum(int(number) for numbers in found for number in numbers)


if __name__ == "__main__":
    sys.exit(main())
