"""Run deptry over each distribution: what it imports it declares, what it declares it imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES: Mapping[str, str] = {
    "hashseal-core": "hashseal_core",
    "hashseal": "hashseal",
    "hashseal-server": "hashseal_server",
    "hashseal-gateway": "hashseal_gateway",
}
UNIMPORTED = (
    "httptools|aiosqlite|asyncpg|opentelemetry-sdk|opentelemetry-exporter-otlp-proto-http|pypdfium2"
)
"""Declared though not imported: uvicorn's parser, SQLAlchemy's drivers and the extra for traces are
loaded by name, PDFium in a process of its own.
"""


def main() -> int:
    """Exit code 0 when every distribution declares exactly what it imports."""
    deptry = Path(sys.executable).with_name("deptry")
    names = ",".join(f"{package}={module}" for package, module in MODULES.items())
    worst = 0
    for distribution, module in MODULES.items():
        outcome = subprocess.run(
            [
                deptry,
                "src",
                "--no-ansi",
                "--known-first-party",
                module,
                "--package-module-name-map",
                names,
                "--per-rule-ignores",
                f"DEP002={UNIMPORTED}",
            ],
            cwd=ROOT / "packages" / distribution,
            check=False,
            capture_output=True,
            text=True,
        )
        if outcome.returncode:
            worst = 1
            print(f"{distribution}:\n{outcome.stdout}{outcome.stderr}")
    if not worst:
        print("deptry: every distribution declares exactly what it imports")
    return worst


if __name__ == "__main__":
    sys.exit(main())
