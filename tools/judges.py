"""Look for the independent tools that judge our output; install the missing ones if we may.

Prints nothing when all are there. Installs Debian packages only as root and with apt-get at hand;
otherwise says in one line what is missing and exits 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

JUDGES: Mapping[str, str] = {
    "openssl": "openssl",
    "pdfsig": "poppler-utils",
    "pdftoppm": "poppler-utils",
    "qpdf": "qpdf",
    "mutool": "mupdf-tools",
    "faketime": "faketime",
    "postgres": "postgresql",
    "java": "default-jre-headless",
    "softhsm2-util": "softhsm2",
    "pkcs11-tool": "opensc",
    "curl": "curl",
    "node": "nodejs",
    "npm": "npm",
    "chromium": "chromium",
    "php": "php-cli",
}
"""Program to the Debian package that holds it."""
FILES: Mapping[str, str] = {
    "/usr/share/java/jaxb-runtime.jar": "libjaxb-java",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf": "fonts-dejavu-core",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf": "fonts-liberation",
}
"""File to the Debian package that holds it; veraPDF needs the first, the manuals the fonts."""
MODULES: Mapping[str, str] = {"usr/lib/php/*/curl.so": "php-curl"}
"""The same for files whose path, from the root, has a version in it."""


def missing() -> tuple[str, ...]:
    """Debian packages whose programs are neither on the path nor in PostgreSQL's folder."""
    path = ":".join(
        [os.environ.get("PATH", ""), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    )
    found = {tool: shutil.which(tool, path=path) for tool in JUDGES}
    absent = {package for tool, package in JUDGES.items() if not found[tool]}
    absent |= {package for file, package in FILES.items() if not Path(file).exists()}
    absent |= {package for files, package in MODULES.items() if not any(Path("/").glob(files))}
    return tuple(sorted(absent))


def install(packages: tuple[str, ...]) -> bool:
    """Install Debian packages; the answer is whether apt-get said yes."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ("apt-get", "update", "-qq"),
        ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages),
    ):
        outcome = subprocess.run(
            command, env=environment, check=False, capture_output=True, text=True
        )
        if outcome.returncode:
            print(outcome.stderr.strip()[-2000:], file=sys.stderr)
            return False
    return True


def main() -> int:
    """Exit code 0 when every judge is there at the end."""
    packages = missing()
    if not packages:
        return 0
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing Debian packages for the tests: {' '.join(packages)}", file=sys.stderr)
        if install(packages):
            packages = missing()
    if packages:
        print(
            f"the tests need these Debian packages, which are missing: {' '.join(packages)}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
