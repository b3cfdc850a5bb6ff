"""Run every test with branch coverage on two workers, then the coverage gates.

Extra arguments go to pytest. The last line printed is pytest's closing line.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GATES: Mapping[str, int] = {
    "hashseal-core": 100,
    "hashseal": 80,  # to be 90: branches of the PDF reader lack tests (repair, encryption)
    "hashseal-server": 90,
    "hashseal-gateway": 90,
}
"""Distribution to the branch coverage that it must reach, in percent."""

CLOSING = re.compile(r"\d+ (passed|failed|error|errors|skipped)\b.* in [\d.]+s")


def run_tests(arguments: list[str]) -> tuple[int, str]:
    """Run pytest, passing its output through; its exit code and its closing line."""
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup"]
    command += ["--cov", "--cov-report=", *arguments]
    closing = ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            sys.exit("no output from pytest")
        for line in process.stdout:
            print(line, end="", flush=True)
            if CLOSING.search(line):
                closing = line.strip().strip("= ")
    return process.returncode, closing


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
