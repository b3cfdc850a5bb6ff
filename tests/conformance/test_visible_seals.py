"""Seals stand exactly where they were asked for, upright, inside what is signed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from pathlib import Path

import generated_pdfs
import inking
import judgement
import pypdfium2
import pytest
from forms import ALL_FORMS, IN_TOKEN, KEYS_IN_TOKEN

from hashseal import anchoring, pdf
from hashseal_core.errors import PdfFieldUnusable, PdfLimit, PdfNoPlace, PdfUnsupported
from hashseal_server.seals.drawing import SealData, draw

CORPUS = Path(
    os.environ.get("HASHSEAL_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus")
)
FROM_CORPUS = tuple(
    name
    for name in (
        "sample-files/001-trivial_minimal-document.pdf",
        "sample-files/015-arabic_habibi-rotated.pdf",
        "sample-files/021-pdfa_crazyones-pdfa.pdf",
        "pdf20examples/PDF_2.0_via_incremental_save.pdf",
    )
    if (CORPUS / name).is_file()
)
pytestmark = pytest.mark.tools
ALONE = pytest.mark.xdist_group("visible-seals")
WAYS = {
    "last": ("--seal-at", "last:bottom-right"),
    "every": ("--seal-at", "every:top-right", "--appearance", "seal-and-text"),
    "words": ("--seal-at", "any:text=test organisation", "--reason", "合同 approved"),
    "percent": ("--seal-at", "2:10%,20%,30%,30%"),
}
SEALED = (*WAYS, "again")
ROWS = (
    *(pytest.param("software", "P-256", name, marks=ALONE) for name in SEALED),
    *(
        pytest.param("token", key, name, marks=IN_TOKEN)
        for key, name in (
            product(KEYS_IN_TOKEN, SEALED) if ALL_FORMS else [("RSA-3072-PSS", "again")]
        )
    ),
)
"""Where the keys are, which of them signs, and in which way."""
Sealed = Callable[[str, str, str], Path]
ROUND = pdf.read_drawing(draw(SealData("official", "Meridian Trading GmbH", "HRB 184523")).svg())
ROTATIONS = (0, 90, 180, 270)
PAGES = {
    "plain": "/MediaBox [0 0 420 595]",
    "negative origin": "/MediaBox [-100 -50 420 595] /CropBox [-40 30 380 500]",
    "corners swapped": "/MediaBox [420 595 0 0]",
    "unit": "/MediaBox [10 20 220 315] /UserUnit 2",
    "crop beyond": "/MediaBox [0 0 420 595] /CropBox [-100 100 300 900]",
}
READERS = {
    # Poppler draws a page of another unit smaller, and a CropBox beyond the MediaBox whole.
    "plain": ("poppler", "mupdf"), "negative origin": ("poppler", "mupdf"),
    "corners swapped": ("poppler", "mupdf"), "unit": ("mupdf",), "crop beyond": ("mupdf",),
}  # fmt: skip
BOX = pdf.Box(110, 150, 90, 90)


def page(attributes: str, rotation: int = 0, text: str = "Test Organisation") -> bytes:
    objects = generated_pdfs.one_page(rotate=rotation, text=text)
    objects[3] = objects[3].replace(b"/MediaBox [0 0 420 595]", attributes.encode())
    return generated_pdfs.with_table(objects)


def prepared(source: Path, target: Path, place: pdf.Place, **more: object) -> pdf.PreparedDocument:
    appearance = pdf.SealAppearance(ROUND, place, **more)  # type: ignore[arg-type]
    target.unlink(missing_ok=True)
    return pdf.prepare(
        source, target, pdf.SignatureOptions(contents_size=64, appearance=appearance)
    )


@pytest.fixture(scope="module")
def upright(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The seal in its box on a plain page, as MuPDF draws it."""
    folder = tmp_path_factory.mktemp("upright")
    (folder / "in.pdf").write_bytes(page(PAGES["plain"]))
    prepared(folder / "in.pdf", folder / "out.pdf", pdf.Place(1, BOX))
    return inking.dark(inking.mupdf(folder / "out.pdf"), 110, 150, 200, 240)


@ALONE
@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("name", PAGES)
def test_ink_is_exactly_in_the_box(name: str, rotation: int, upright, tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(
        page(PAGES[name], rotation).replace(b"1 0 0 RG 50 50 300 200 re S", b" " * 27)
    )
    prepared(source, target, pdf.Place(1, BOX))
    for reader in READERS[name]:
        after = inking.READERS[reader](target)
        ink = inking.difference(inking.READERS[reader](source), after)
        assert ink == pytest.approx((110, 150, 200, 240), abs=1)
        seen = inking.dark(after, 110, 150, 200, 240)
        wrong = sum(one != other for one, other in zip(seen, upright, strict=True))
        turned = sum(one != other for one, other in zip(seen[::-1], upright, strict=True))
        assert wrong < turned / 2, reader


@ALONE
def test_a_wide_box_keeps_the_seal_round(tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(page(PAGES["plain"], 90))
    prepared(source, target, pdf.Place(1, pdf.Box(100, 100, 200, 60)))
    for read in inking.READERS.values():
        ink = inking.difference(read(source), read(target))
        assert ink == pytest.approx((170, 100, 230, 160), abs=1)


@ALONE
def test_text_beside_the_seal_stays_in_the_box(tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(page(PAGES["plain"]))
    lines = ("Signed by " + "Donaudampfschifffahrtsgesellschaft " * 3, "Grund: 合同 №1", "x" * 80)
    prepared(source, target, pdf.Place(1, pdf.Box(50, 100, 240, 80)), lines=lines)
    for read in inking.READERS.values():
        ink = inking.difference(read(source), read(target))
        assert ink is not None
        assert ink == pytest.approx((50, 100, 290, 180), abs=4)
        assert min(ink[0] - 49.4, ink[1] - 99.4, 290.6 - ink[2], 180.6 - ink[3]) >= 0


@pytest.fixture(scope="module")
def pages_of_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pages, one of them turned."""
    objects = generated_pdfs.one_page()
    objects[2] = b"<< /Type /Pages /Kids [3 0 R 8 0 R 9 0 R] /Count 3 /MediaBox [0 0 420 595] >>"
    objects[8] = (
        objects[3].replace(b"/Rotate 0", b"/Rotate 270").replace(b"/MediaBox [0 0 420 595]", b"")
    )
    objects[9] = objects[3]
    path = tmp_path_factory.mktemp("three") / "three.pdf"
    path.write_bytes(generated_pdfs.with_table(objects))
    return path


@pytest.fixture(scope="module")
def sealed(services, pages_of_three: Path, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """The file signed with a seal in a way, by a key in a place; made once."""
    folder = tmp_path_factory.mktemp("sealed")

    @cache
    def signed(store: str, key: str, name: str) -> Path:
        signing, target = services(store), folder / f"{store}-{key}-{name}.pdf"
        if name == "again":
            other = "P-256" if key != "P-256" else "RSA-3072"
            first = signed(store, key, "last")
            done = signing.run(
                *("sign", first, "-o", target, "--seal-at", "3:bottom-right"),
                *("--seal", signing.seals[other], *signing.access),
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "warning   the seal covers: Signature1" in done.stdout
            return target
        done = signing.run(
            *("sign", pages_of_three, "-o", target, "--json"),
            *("--seal", signing.seals[key], *signing.access, *WAYS[name]),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["covered_fields"] == []
        return target

    return signed


@pytest.fixture
def in_software(sealed: Sealed) -> Mapping[str, Path]:
    """The files that were signed with a key in software."""
    return {name: sealed("software", "P-256", name) for name in SEALED}


@pytest.mark.parametrize(("store", "key", "name"), ROWS)
def test_judges_accept_what_is_seen(
    signing, pages_of_three: Path, sealed: Sealed, store: str, key: str, name: str
) -> None:
    path = sealed(store, key, name)
    document = path.read_bytes()
    count = 2 if name == "again" else 1
    assert document.startswith(pages_of_three.read_bytes())
    assert judgement.pdfsig(path) == [True] * count
    assert judgement.qpdf(path) == 0
    assert judgement.mutool(path)
    material = judgement.dss(document)
    assert judgement.pyhanko(document, signing.anchor_der, material) == [True] * count


@ALONE
def test_every_page_shows_it_and_one_signs(pages_of_three: Path, in_software) -> None:
    """Poppler says which are fields; the seal is on each page at the same place."""
    places = []
    for number in (1, 2, 3):
        before, after = (
            inking.mupdf(path, number) for path in (pages_of_three, in_software["every"])
        )
        found = inking.difference(before, after)
        assert found is not None
        places.append((found.top, before.width / 2 - found.right))
    assert places[0] == pytest.approx(places[1], abs=1)
    assert places[0] == pytest.approx(places[2], abs=1)
    appended = in_software["every"].read_bytes()[pages_of_three.stat().st_size :]
    assert appended.count(b"/Subtype /Stamp") == 2
    assert appended.count(b"/Subtype /Widget") == 1
    assert (
        inking.difference(inking.mupdf(pages_of_three, 1), inking.mupdf(in_software["last"], 1))
        is None
    )


@ALONE
def test_a_seal_stands_over_the_words(pages_of_three: Path, in_software) -> None:
    """Over the last ones: `Test Organisation` stands at 60, 400 on page 3."""
    ink = inking.difference(inking.mupdf(pages_of_three, 3), inking.mupdf(in_software["words"], 3))
    (found,) = [one for one in anchoring.find(pages_of_three, "Test Organisation") if one.page == 3]
    assert found.rect.left == pytest.approx(60, abs=3)
    assert ink is not None
    middle = (ink.left + ink.right) / 2, (ink.top + ink.bottom) / 2
    expected = (
        (found.rect.left + found.rect.right) / 2,
        595 - (found.rect.bottom + found.rect.top) / 2,
    )
    assert middle == pytest.approx(expected, abs=1.5)


@ALONE
@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("name", ["negative origin", "unit"])
def test_words_are_found_on_odd_pages(name: str, rotation: int, tmp_path: Path) -> None:
    """Where Poppler's own extraction sees the words, the middle of the seal is."""
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(page(PAGES[name], rotation).replace(b"60 400 Td", b"60 160 Td"))
    appearance = pdf.SealAppearance(ROUND, pdf.Place(1, pdf.Anchor("Organisation"), size=40))
    place = anchoring.locate(source, appearance)
    prepared(source, target, place)
    ink = inking.difference(inking.mupdf(source), inking.mupdf(target))
    assert ink is not None
    told = subprocess.run(
        ["mutool", "draw", "-q", "-F", "stext", "-o", "-", source, "1"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    quads = [
        [float(number) for number in quad.split()]
        for quad in re.findall(r'<char quad="([^"]+)"', told)[-len("Organisation") :]
    ]
    middle = [sum(sum(quad[axis::2]) for quad in quads) / (4 * len(quads)) for axis in (0, 1)]
    assert ((ink.left + ink.right) / 2, (ink.top + ink.bottom) / 2) == pytest.approx(middle, abs=10)


@ALONE
def test_words_that_are_not_there(pages_of_three: Path, tmp_path: Path) -> None:
    for anchor, number in ((pdf.Anchor("nowhere"), 1), (pdf.Anchor("Organisation", 2), 1)):
        appearance = pdf.SealAppearance(ROUND, pdf.Place(number, anchor))
        with pytest.raises(PdfNoPlace):
            anchoring.locate(pages_of_three, appearance)
    with pytest.raises(PdfLimit):
        anchoring.find(pages_of_three, "Organisation", seconds=0.01)
    with pytest.raises(PdfLimit):
        anchoring.find(pages_of_three, "Organisation", octets=1 << 24)


@ALONE
def test_a_field_of_the_file_keeps_its_place(tmp_path: Path) -> None:
    objects = generated_pdfs.one_page(rotate=90)
    objects[1] = (
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /SigFlags 1 /Fields [8 0 R 9 0 R] >> >>"
    )
    objects[3] = objects[3].replace(b"/Contents", b"/Annots [8 0 R 9 0 R] /Contents")
    widget = b"<< /Type /Annot /Subtype /Widget /FT /Sig /T (%b) /P 3 0 R /F 4 /Rect [%b] >>"
    objects[8] = widget % (b"Seller", b"100 200 180 300")
    objects[9] = widget % (b"Hidden", b"0 0 0 0")
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(generated_pdfs.with_table(objects))
    options = pdf.SignatureOptions(
        contents_size=64, field_name="Seller", appearance=pdf.SealAppearance(ROUND)
    )
    made = pdf.prepare(source, target, options)
    assert (made.field_name, made.covered_fields) == ("Seller", ())
    # MuPDF marks empty signature fields. The page is turned clockwise: x grows downwards.
    ink = inking.difference(inking.poppler(source), inking.poppler(target))
    assert ink == pytest.approx((210, 100, 290, 180), abs=1)
    with pytest.raises(PdfFieldUnusable, match="nothing can be seen"):
        pdf.prepare(
            source,
            tmp_path / "hidden.pdf",
            pdf.SignatureOptions(
                contents_size=64, field_name="Hidden", appearance=pdf.SealAppearance(ROUND)
            ),
        )
    assert not (tmp_path / "hidden.pdf").exists()


@ALONE
def test_places_that_are_not_there_write_nothing(
    pages_of_three: Path, in_software, tmp_path: Path
) -> None:
    target = tmp_path / "out.pdf"
    for place in (pdf.Place(4), pdf.Place(1, pdf.Box(400, 10, 100, 100))):
        with pytest.raises(PdfNoPlace):
            prepared(pages_of_three, target, place)
        assert not target.exists()
    with pytest.raises(PdfUnsupported, match="signed already"):
        prepared(in_software["last"], target, pdf.Place("every"))
    assert not target.exists()


@ALONE
@pytest.mark.parametrize("name", FROM_CORPUS)
def test_files_of_the_corpus(name: str, tmp_path: Path) -> None:
    """PDFium draws the seal where it was asked for, on real files too, and nothing else changes."""
    source, target = CORPUS / name, tmp_path / "out.pdf"
    prepared(source, target, pdf.Place("last", pdf.Box(10, 20, 60, 60)))
    assert judgement.qpdf(target) <= judgement.qpdf(source)
    number = len(pypdfium2.PdfDocument(source))
    for read in inking.READERS.values():
        ink = inking.difference(read(source, number), read(target, number))
        assert ink is not None
        assert min(ink[0] - 9.4, ink[1] - 19.4, 70.6 - ink[2], 80.6 - ink[3]) >= 0
        assert ink[2] - ink[0] > 50
