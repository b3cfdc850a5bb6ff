"""Lay the documented Node example in `.build/node-example`, with the packages its lock file pins.

Prints the folder. Does nothing when it is there already. No script of a package is run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "docs" / "how-to" / "e-sign-api" / "node"
TARGET = ROOT / ".build" / "node-example"
FILES = ("package.json", "package-lock.json", ".npmrc", "sign.mjs")
PINNED = ("package.json", "package-lock.json", ".npmrc")


def main() -> int:
    """Exit code 1 when npm does not install."""
    pinned = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in PINNED)).hexdigest()
    stamp = TARGET / "pinned"
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(SOURCE / name, TARGET / name)
    if not stamp.exists() or stamp.read_text() != pinned:
        words = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress")
        done = subprocess.run(words, cwd=TARGET, check=False, capture_output=True, text=True)
        if done.returncode:
            print(done.stdout + done.stderr, file=sys.stderr)
            return 1
        stamp.write_text(pinned)
    print(TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
