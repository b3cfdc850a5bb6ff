"""What makes a signature mean less than it seems is found wherever it hides, and prepared alike."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import attacks
import generated_pdfs
import pikepdf
import pytest

from hashseal import pdf
from hashseal.pdf import Kind
from hashseal.pdf.document import opened
from hashseal.pdf.objects import Ref, Stream
from hashseal_core.errors import PdfLimit


def with_catalog(entries: str, more: dict[int, bytes] | None = None) -> bytes:
    objects = generated_pdfs.one_page()
    objects[1] = f"<< /Type /Catalog /Pages 2 0 R {entries} >>".encode()
    return generated_pdfs.with_table({**objects, **(more or {})})


def with_page(entries: str, more: dict[int, bytes] | None = None) -> bytes:
    objects = generated_pdfs.one_page()
    objects[3] = objects[3].replace(b"/Type /Page", f"/Type /Page {entries}".encode(), 1)
    return generated_pdfs.with_table({**objects, **(more or {})})


SCRIPT = "<< /S /JavaScript /JS (1) >>"
FOUND = {
    "open action": (with_catalog(f"/OpenAction {SCRIPT}"), Kind.JAVASCRIPT, None),
    "next": (with_catalog(f"/OpenAction << /S /GoTo /Next [{SCRIPT}] >>"), Kind.JAVASCRIPT, None),
    "event": (with_catalog(f"/AA << /WC {SCRIPT} >>"), Kind.JAVASCRIPT, None),
    "names": (with_catalog(f"/Names << /JavaScript << /Names [(a) {SCRIPT}] >> >>"), Kind.JAVASCRIPT, None),
    "field": (
        with_catalog(f"/AcroForm << /Fields [<< /T (a) /FT /Tx /AA << /K {SCRIPT} >> >>] >>"),
        Kind.JAVASCRIPT,
        None,
    ),
    "page": (with_page(f"/AA << /O {SCRIPT} >>"), Kind.JAVASCRIPT, 1),
    "annotation": (with_page("/Annots [7 0 R]", {7: f"<< /Subtype /Link /A {SCRIPT} >>".encode()}), Kind.JAVASCRIPT, 1),
    "launch": (with_catalog("/OpenAction << /S /Launch /F (x) >>"), Kind.LAUNCH, None),
    "submit": (with_catalog("/OpenAction << /S /SubmitForm >>"), Kind.SUBMIT, None),
    "xfa": (with_catalog("/AcroForm << /XFA (x) /Fields [] >>"), Kind.XFA, None),
    "layers": (with_catalog("/OCProperties << /OCGs [7 0 R] >>", {7: b"<< /Type /OCG >>"}), Kind.HIDDEN, None),
    "hidden note": (with_page("/Annots [<< /Subtype /FreeText /F 2 >>]"), Kind.HIDDEN, 1),
    "overlay": (
        with_page("/Annots [" + 2 * "<< /Subtype /Widget /Rect [9 9 99 99] /AP << >> >> " + "]"),
        Kind.HIDDEN,
        1,
    ),
    "page out of reach": (with_page("", {7: b"<< /Type /Page /Parent 8 0 R >>"}), Kind.HIDDEN, None),
    "film": (with_page("/Annots [<< /Subtype /Movie >>]"), Kind.MULTIMEDIA, 1),
    "attachment": (with_page("/Annots [<< /Subtype /FileAttachment >>]"), Kind.ATTACHMENT, 1),
    "attached": (with_catalog("/Names << /EmbeddedFiles << /Names [] >> >>"), Kind.ATTACHMENT, None),
}  # fmt: skip


@pytest.mark.parametrize("what", FOUND)
def test_it_is_found(what: str, tmp_path: Path) -> None:
    octets, kind, page = FOUND[what]
    path = tmp_path / "a.pdf"
    path.write_bytes(octets)
    found = {one.kind: one for one in pdf.preflight(path)}
    assert set(found) == {kind, Kind.FONT}
    assert found[kind].page == page


def test_what_stands_side_by_side_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    fields = [f"<< /Subtype /Widget /Rect [{x} 9 {x + 50} 99] /AP << >> >>" for x in (0, 50, 100)]
    path.write_bytes(with_page(f"/Annots [{' '.join(fields)}]"))
    assert {one.kind for one in pdf.preflight(path)} == {Kind.FONT}


def test_the_preparation_of_shadow_attacks_is_found(tmp_path: Path) -> None:
    """A layer, and a page that nothing shows: what the updates of the attacks bring forward."""
    path = tmp_path / "a.pdf"
    path.write_bytes(attacks.prepared())
    found = {one.kind: one.count for one in pdf.preflight(path)}
    assert found[Kind.HIDDEN] == 2


def test_fonts(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(generated_pdfs.with_table(generated_pdfs.pdfa(2)))
    assert pdf.preflight(path) == ()
    fonts = {
        7: b"<< /Subtype /Type0 /DescendantFonts [8 0 R] >>",
        8: b"<< /Subtype /CIDFontType2 /FontDescriptor << /FontFile2 9 0 R >> >>",
        10: b"<< /Subtype /Type3 >>",
        11: b"<< /Subtype /Type0 /DescendantFonts [<< /Subtype /CIDFontType0 >>] >>",
    }
    objects = generated_pdfs.one_page()
    objects[2] = (
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 /Resources << /Font << /A 7 0 R /B 10 0 R /C 11 0 R >> >> >>"
    )
    objects[3] = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"
    path.write_bytes(generated_pdfs.with_table({**objects, **fonts}))
    assert [(one.kind, one.count) for one in pdf.preflight(path)] == [(Kind.FONT, 1)]


def test_rings_end_and_masses_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(with_catalog("/OpenAction 7 0 R", {7: b"<< /S /GoTo /Next 7 0 R >>"}))
    assert {one.kind for one in pdf.preflight(path)} == {Kind.FONT}
    path.write_bytes(with_page("/Annots [" + "<< >> " * 120_000 + "]"))
    with pytest.raises(PdfLimit):
        pdf.preflight(path)


@pytest.mark.parametrize("encryption", [None, 4, 6])
def test_the_same_is_prepared_to_the_same_octets(tmp_path: Path, encryption: int | None) -> None:
    source = tmp_path / "in.pdf"
    with pikepdf.new() as made:
        made.add_blank_page()
        kept = pikepdf.Encryption(owner="o", user="u", R=encryption) if encryption else False
        made.save(source, encryption=kept)
    options = pdf.SignatureOptions(
        contents_size=4096,
        reason="same",
        password="u",
        signing_time=datetime(2026, 1, 1, tzinfo=UTC),
    )
    targets = [tmp_path / "a.pdf", tmp_path / "b.pdf"]
    first, second = (pdf.prepare(source, target, options) for target in targets)
    assert first == second
    assert targets[0].read_bytes() == targets[1].read_bytes()


def test_looking_at_everything_reads_no_streams(tmp_path: Path) -> None:
    """A page out of reach behind much data is found, and the data is not held."""
    objects = {**generated_pdfs.one_page(), 8: b"<< /Type /Page /Parent 9 0 R >>"}
    objects[7] = generated_pdfs.stream("", bytes(70 << 20))
    path = tmp_path / "a.pdf"
    path.write_bytes(generated_pdfs.with_table(objects))
    with opened(path) as document:
        assert document.glance(7) == Stream({b"Length": 70 << 20}, b"")
        assert document.glance(8) == document.resolve(Ref(8, 0))
    tracemalloc.start()
    try:
        found = {one.kind for one in pdf.preflight(path)}
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert Kind.HIDDEN in found
