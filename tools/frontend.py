"""Bring what browsers need of others' work (pdf.js) into the gateway's static files.

The exact version comes from npm; each file must have the SHA-256 that the gateway's
`frontend/SHA256SUMS` says, and only files that are named there are laid. Nothing of a package is
run. Does nothing when all is there. Without npm the gateway works, and its pages say that there is
no preview.

    python tools/frontend.py [--optional]

With `--optional` the exit code is 0 also when it could not be done; what is wrong is said.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GATEWAY = ROOT / "packages" / "hashseal-gateway"
PACKAGE = "pdfjs-dist@6.5.438"
SUMS = GATEWAY / "frontend" / "SHA256SUMS"
TARGET = GATEWAY / "src" / "hashseal_gateway" / "web" / "pages" / "static" / "pdfjs"
_LARGEST = 4 << 20
_PREFIX = "package/"


def wanted() -> dict[str, str]:
    """Name in the package to SHA-256, hexadecimal."""
    pairs = (line.split(maxsplit=1) for line in SUMS.read_text(encoding="ascii").splitlines())
    return {name: digest for digest, name in pairs}


def laid(sums: dict[str, str]) -> bool:
    """All files are there, as they must be, and no other."""
    there = {str(one.relative_to(TARGET)) for one in TARGET.rglob("*") if one.is_file()}
    return there == set(sums) and all(
        hashlib.sha256((TARGET / name).read_bytes()).hexdigest() == digest
        for name, digest in sums.items()
    )


def packed(folder: Path) -> Path | None:
    """The package as npm has it; None, and why is said, when it cannot be had."""
    if shutil.which("npm") is None:
        print("no preview of documents: npm (Debian: npm) is missing", file=sys.stderr)
        return None
    words = ("npm", "pack", PACKAGE, "--silent", "--ignore-scripts", "--pack-destination", folder)
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        print("no preview of documents: npm does not answer", file=sys.stderr)
        return None
    found = next(folder.glob("*.tgz"), None)
    if done.returncode or found is None:
        print(f"no preview of documents: npm does not give {PACKAGE}", file=sys.stderr)
        print((done.stderr or done.stdout).strip()[-2000:], file=sys.stderr)
        return None
    return found


def unpack(archive: Path, folder: Path, sums: dict[str, str]) -> None:
    """The files that are wanted, each checked, into `folder`.

    Raises:
        ValueError: one is missing, or is another than it must be.
    """
    with tarfile.open(archive, "r:gz") as packages:
        for name, digest in sums.items():
            try:
                member = packages.getmember(_PREFIX + name)
            except KeyError as error:
                raise ValueError(f"{PACKAGE} has no {name}") from error
            file = packages.extractfile(member) if member.isreg() else None
            octets = b"" if file is None else file.read(_LARGEST)
            if hashlib.sha256(octets).hexdigest() != digest:
                raise ValueError(f"{name} of {PACKAGE} is not the file that {SUMS.name} names")
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(octets)


def main() -> int:
    """Exit code 1 when the files are not there at the end."""
    sums = wanted()
    if laid(sums):
        return 0
    without = int("--optional" not in sys.argv[1:])
    with tempfile.TemporaryDirectory() as name:
        archive = packed(Path(name))
        if archive is None:
            return without
        fresh = Path(name) / "fresh"
        try:
            unpack(archive, fresh, sums)
        except ValueError as error:
            print(f"no preview of documents: {error}", file=sys.stderr)
            return 1
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(fresh, TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
