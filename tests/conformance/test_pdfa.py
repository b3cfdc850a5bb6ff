"""A file that veraPDF calls PDF/A or PDF/UA is still called so when it is signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import generated_pdfs
import pytest
from archival import FORMS, archival_files, verapdf
from forms import ALL_FORMS, IN_TOKEN, KEYS_IN_TOKEN, in_token

from hashseal import pdf
from hashseal_server.seals.drawing import SealData, draw

pytestmark = pytest.mark.tools
ALONE = pytest.mark.xdist_group("pdfa")
LEVELS = ("B-B", "B-LT", "B-LTA")
WAYS = (
    pytest.param("software", [(level, "P-256") for level in LEVELS], marks=ALONE, id="software"),
    pytest.param(
        "token",
        [*(product(LEVELS, KEYS_IN_TOKEN) if ALL_FORMS else in_token(LEVELS))],
        marks=IN_TOKEN,
        id="token",
    ),
)
"""Where the keys are, and which of them signs at which level."""


@pytest.fixture(scope="module")
def archival(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return archival_files(tmp_path_factory.mktemp("pdfa"))


@pytest.mark.parametrize(("store", "levels"), WAYS)
def test_pdfa_stays_pdfa(
    signing, archival, store: str, levels: Sequence[tuple[str, str]], tmp_path: Path
) -> None:
    signed: list[Path] = []
    for level, key in levels:
        target = tmp_path / f"{level}-{key}"
        done = signing.run(
            *("sign", *archival.values(), "-o", target, "--level", level),
            *("--seal", signing.seals[key], *signing.access),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        signed += [next(target.glob(f"{name}*.pdf")) for name in archival]
    target = tmp_path / "seen"
    done = signing.run(
        *("sign", *archival.values(), "-o", target, "--level", "B-LT"),
        *("--seal", signing.seals["P-256"], *signing.access),
        *("--seal-at", "every:bottom-right", "--appearance", "seal-and-text", "--reason", "合同"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    signed += [next(target.glob(f"{name}*.pdf")) for name in archival]
    said = verapdf([*archival.values(), *signed])
    before, after = said[: len(FORMS)], said[len(FORMS) :]
    assert [flavour for flavour, _, _ in before] == [name[:2] for name in FORMS]
    assert [verdict for _, verdict, _ in before] == [True] * len(FORMS)
    assert after == before * (len(levels) + 1)


@ALONE
def test_the_judge_sees_what_is_wrong(archival, tmp_path: Path) -> None:
    """A colour that depends on the device has no place in PDF/A without an output intent."""
    objects = generated_pdfs.pdfa(2)
    objects[4] = generated_pdfs.stream("", b"1 0 0 RG 50 50 300 200 re S")
    (tmp_path / "bad.pdf").write_bytes(generated_pdfs.with_table(objects))
    ((flavour, verdict, rules),) = verapdf([tmp_path / "bad.pdf"])
    assert (flavour, verdict) == ("2b", False)
    assert "6.2.4.3" in rules


@ALONE
def test_pdfua_stays_pdfua(tmp_path: Path) -> None:
    """A seal that is seen is entered into the structure of a tagged file."""
    drawing = pdf.read_drawing(draw(SealData("hr", "Test Organisation")).svg())
    paths = []
    for kids in (False, True):
        source = tmp_path / f"{kids}.pdf"
        source.write_bytes(generated_pdfs.with_table(generated_pdfs.pdfua(kids=kids)))
        paths.append(source)
        for place in (pdf.Place(), pdf.Place("every")):
            target = tmp_path / f"{kids}-{place.page}.pdf"
            appearance = pdf.SealAppearance(drawing, place)
            pdf.prepare(
                source, target, pdf.SignatureOptions(contents_size=64, appearance=appearance)
            )
            paths.append(target)
    untagged = tmp_path / "untagged.pdf"
    untagged.write_bytes(paths[1].read_bytes().replace(b"/S /Form", b"/S /Span"))
    *found, (_, verdict, rules) = verapdf([*paths, untagged])
    assert found == [("ua1", True, "[]")] * len(paths)
    assert (verdict, rules) == (False, "[7.18.4]")


@ALONE
def test_a_tagged_page_says_its_tab_order(signing, tmp_path: Path) -> None:
    objects = generated_pdfs.one_page()
    objects[1] = objects[1].replace(b"/Pages", b"/MarkInfo << /Marked true >> /Pages")
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(generated_pdfs.with_table(objects))
    signing.sign(source, target, level="B-B", key="P-256")
    added = target.read_bytes()[source.stat().st_size :]
    assert b"/Tabs /S" in added
