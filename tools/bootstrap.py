"""Make the environment: a venv, uv from the lock file, every pinned package, the four members.

Runs on a bare Python with pip. Does nothing when the environment is already that of the lock file.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
MEMBERS = ("hashseal-core", "hashseal-server", "hashseal", "hashseal-gateway")


def fingerprint() -> str:
    """Digest of everything that decides what the environment holds, its own place included."""
    digest = hashlib.sha256(f"{ROOT}\n{sys.version}".encode())
    for path in (LOCK, *(ROOT / "packages" / name / "pyproject.toml" for name in MEMBERS)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def locked(name: str) -> str:
    """The stanza of one package in the lock file, hashes included."""
    found = re.search(rf"^{name}==.*?(?=^\S|\Z)", LOCK.read_text(), re.MULTILINE | re.DOTALL)
    if found is None:
        sys.exit(f"{name} is not in {LOCK.name}")
    return found[0]


def run(*command: str | Path) -> None:
    """Run one installer command; its failure is ours."""
    if subprocess.run([str(part) for part in command], check=False).returncode:
        sys.exit(f"could not make the environment: {command[0]} failed (see above)")


def main() -> None:
    """Bring `.venv` to the state of the lock file."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this very line tells users of older ones
        sys.exit("Hashseal needs Python 3.11 or newer; name one with `make PYTHON=python3.12 …`")
    stamp = ENVIRONMENT / "fingerprint"
    wanted = fingerprint()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("Making the environment in .venv (first use, about half a minute) …", file=sys.stderr)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    python = ENVIRONMENT / "bin" / "python"
    first = ENVIRONMENT / "uv.lock"
    first.write_text(locked("uv"))
    run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", first)
    uv = ENVIRONMENT / "bin" / "uv"
    install = (uv, "pip", "install", "--quiet", "--python", python)
    run(*install, "--require-hashes", "-r", LOCK)
    editable = [part for name in MEMBERS for part in ("-e", ROOT / "packages" / name)]
    run(*install, "--no-deps", "--no-build-isolation", *editable)
    stamp.write_text(wanted)


if __name__ == "__main__":
    main()
