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


def with_font(resources: str, more: dict[int, bytes]) -> bytes:
    """A page that itself has no font."""
    objects = generated_pdfs.pdfa(2)
    objects[3] = objects[3].replace(b"/Resources << >>", f"/Resources << {resources} >>".encode())
    return generated_pdfs.with_table({**objects, **more})


SCRIPT = "<< /S /JavaScript /JS (1) >>"
HELVETICA = "/Resources << /Font << /F << /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
FILE = "/AF [<< /Type /Filespec /EF << >> >>]"
BOOKMARKS = "/Outlines << /First 7 0 R /Last 8 0 R >>"


def bookmarks(first: str, below: str) -> dict[int, bytes]:
    return {
        7: f"<< /Title (a) /Next 8 0 R {first} >>".encode(),
        8: b"<< /Title (b) /Prev 7 0 R /First 9 0 R /Last 9 0 R >>",
        9: f"<< /Title (c) /Parent 8 0 R {below} >>".encode(),
    }


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
    "overlay in parts of points": (
        with_page("/Annots [" + 2 * "<< /Subtype /Stamp /Rect [9.5 9 99.25 99] /AP << >> >> " + "]"),
        Kind.HIDDEN,
        1,
    ),
    "field above others": (
        with_catalog(
            f"/AcroForm << /Fields [<< /T (a) /AA << /V {SCRIPT} >> /Kids [<< /T (b) /FT /Tx >>] >>] >>"
        ),
        Kind.JAVASCRIPT,
        None,
    ),
    "bookmark": (with_catalog(BOOKMARKS, bookmarks(f"/A {SCRIPT}", "")), Kind.JAVASCRIPT, None),
    "bookmark below": (
        with_catalog(BOOKMARKS, bookmarks("", "/A << /S /Launch /F (x) >>")),
        Kind.LAUNCH,
        None,
    ),
    "bookmark, next": (
        with_catalog(BOOKMARKS, bookmarks("", f"/A << /S /GoTo /Next << /S /GoTo /Next {SCRIPT} >> >>")),
        Kind.JAVASCRIPT,
        None,
    ),
    "step of a page": (
        with_page(f"/PresSteps << /Type /NavNode /Next << /Type /NavNode /NA {SCRIPT} >> >>"),
        Kind.JAVASCRIPT,
        1,
    ),
    "action that was met as an annotation": (
        with_page(
            "/Annots [8 0 R 7 0 R]",
            {7: b"<< /Subtype /Link /A 8 0 R >>", 8: SCRIPT.encode()},
        ),
        Kind.JAVASCRIPT,
        1,
    ),
    "sound": (with_catalog("/OpenAction << /S /Sound >>"), Kind.MULTIMEDIA, None),
    "associated with the document": (with_catalog(FILE), Kind.ATTACHMENT, None),
    "associated with a page": (with_page(FILE), Kind.ATTACHMENT, 1),
    "associated with an annotation": (
        with_page(f"/Annots [<< /Subtype /Link {FILE} >>]"),
        Kind.ATTACHMENT,
        1,
    ),
    "page out of reach": (with_page("", {7: b"<< /Type /Page /Parent 8 0 R >>"}), Kind.HIDDEN, None),
    "film": (with_page("/Annots [<< /Subtype /Movie >>]"), Kind.MULTIMEDIA, 1),
    "attachment": (with_page("/Annots [<< /Subtype /FileAttachment >>]"), Kind.ATTACHMENT, 1),
    "attached": (with_catalog("/Names << /EmbeddedFiles << /Names [(a) null] >> >>"), Kind.ATTACHMENT, None),
    "names below": (
        with_catalog(
            "/Names << /JavaScript << /Kids [8 0 R 7 0 R] >> /EmbeddedFiles 8 0 R >>",
            {7: f"<< /Names [(a) {SCRIPT}] >>".encode(), 8: b"<< /Names [] /Kids [8 0 R 9 0 R] >>"},
        ),
        Kind.JAVASCRIPT,
        None,
    ),
}  # fmt: skip


FORM = {7: generated_pdfs.stream(f"/Subtype /Form {HELVETICA}", b"")}
DRAWN = {
    "form": with_font("/XObject << /X 7 0 R >>", FORM),
    "form in a form": with_font(
        "/XObject << /X 8 0 R >>",
        {**FORM, 8: generated_pdfs.stream("/Resources << /XObject << /X 7 0 R >> >>", b"")},
    ),
    "pattern": with_font("/Pattern << /P 7 0 R >>", FORM),
    "soft mask": with_font("/ExtGState << /G << /SMask << /G 7 0 R >> >> >>", FORM),
    "graphics state": with_font(
        "/ExtGState << /G << /Font [7 0 R 9] >> >>", {7: b"<< /Subtype /TrueType >>"}
    ),
    "glyph": with_font(
        "/Font << /T 8 0 R >>",
        {**FORM, 8: b"<< /Subtype /Type3 /Resources << /XObject << /X 7 0 R >> >> >>"},
    ),
    "font that is its own descendant": with_font(
        "/Font << /T 8 0 R >>", {8: b"<< /Subtype /Type0 /DescendantFonts [8 0 R] >>"}
    ),
    "appearance": with_font("/X 0 >> /Annots [<< /Subtype /Stamp /AP << /N 7 0 R >> >>] /Y <<", FORM),
    "state of an appearance": with_font(
        "/X 0 >> /Annots [<< /Subtype /Widget /AP << /D << /On 7 0 R /Off null >> >> >>] /Y <<", FORM
    ),
}  # fmt: skip


@pytest.mark.parametrize("where", DRAWN)
def test_fonts_are_found_in_all_that_is_drawn(where: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(DRAWN[where])
    assert pdf.preflight(path) == (pdf.Finding(Kind.FONT, 1, 1),)


@pytest.mark.parametrize(("asked", "found"), [("true", {Kind.FONT}), ("false", set())])
def test_fonts_of_a_form_count_where_readers_draw_its_fields(
    asked: str, found: set[Kind], tmp_path: Path
) -> None:
    path = tmp_path / "a.pdf"
    objects = generated_pdfs.pdfa(2)
    form = HELVETICA.replace("/Resources", "/DR") + f" /NeedAppearances {asked} /Fields []"
    objects[1] = f"<< /Type /Catalog /Pages 2 0 R /AcroForm << {form} >> >>".encode()
    path.write_bytes(generated_pdfs.with_table(objects))
    assert {one.kind for one in pdf.preflight(path)} == found


def test_files_that_belong_to_what_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    image = {7: generated_pdfs.stream(f"/Subtype /Image {FILE}", b"")}
    marked = "/Properties << /M << /MCAF [<< /EF << >> >>] >> >>"
    path.write_bytes(with_font(f"/XObject << /X 7 0 R >> {marked}", image))
    assert pdf.preflight(path) == (pdf.Finding(Kind.ATTACHMENT, 2, 1),)


SCRIPTED = {
    "rendition": "/Subtype /Screen /A << /S /Rendition /OP 0 /JS (1) >>",
    "model": "/Subtype /3D /3DD 7 0 R",
    "shared model": "/Subtype /3D /3DD << /Type /3DRef /3DD 7 0 R >>",
    "rich media": "/Subtype /RichMedia /RichMediaSettings << /Activation << /Scripts [<< >>] >> >>",
}


@pytest.mark.parametrize("what", SCRIPTED)
def test_scripts_of_what_moves(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    model = {7: generated_pdfs.stream("/Subtype /U3D /OnInstantiate 8 0 R", b"")}
    path.write_bytes(with_page(f"/Annots [<< {SCRIPTED[what]} >>]", model))
    assert {one.kind for one in pdf.preflight(path)} == {
        Kind.JAVASCRIPT,
        Kind.MULTIMEDIA,
        Kind.FONT,
    }


def test_a_field_is_counted_where_it_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    objects = generated_pdfs.one_page()
    objects[1] = b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [7 0 R] >> >>"
    objects[3] = objects[3].replace(b"/Type /Page", b"/Type /Page /Annots [7 0 R]", 1)
    objects[7] = f"<< /Subtype /Widget /FT /Btn /T (a) /A {SCRIPT} >>".encode()
    path.write_bytes(generated_pdfs.with_table(objects))
    assert pdf.Finding(Kind.JAVASCRIPT, 1, 1) in pdf.preflight(path)
    assert pdf.Finding(Kind.JAVASCRIPT, 2, 3).words == "javascript (2, first on page 3)"
    assert pdf.Finding(Kind.XFA, 1, None).words == "xfa (1)"


@pytest.mark.parametrize("what", FOUND)
def test_it_is_found(what: str, tmp_path: Path) -> None:
    octets, kind, page = FOUND[what]
    path = tmp_path / "a.pdf"
    path.write_bytes(octets)
    found = {one.kind: one for one in pdf.preflight(path)}
    assert set(found) == {kind, Kind.FONT}
    assert found[kind].page == page


def test_empty_trees_of_names_are_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    empty = "/JavaScript << /Names [] >> /EmbeddedFiles << /Kids [<< /Names [] >>] >>"
    path.write_bytes(with_catalog(f"/Names << {empty} >>"))
    assert {one.kind for one in pdf.preflight(path)} == {Kind.FONT}


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


RINGS = {
    "actions": with_catalog("/OpenAction 7 0 R", {7: b"<< /S /GoTo /Next 7 0 R >>"}),
    "bookmarks": with_catalog("/Outlines 7 0 R", {7: b"<< /First 7 0 R /Next 8 0 R >>", 8: b"<< /Next 7 0 R >>"}),
    "fields": with_catalog("/AcroForm << /Fields [7 0 R] >>", {7: b"<< /T (a) /Kids [7 0 R] >>"}),
    "steps": with_page("/PresSteps 7 0 R", {7: b"<< /Next 7 0 R /Prev 7 0 R >>"}),
    "forms": with_page(
        "/Annots [<< /AP << /N 7 0 R >> >>]",
        {7: generated_pdfs.stream("/Resources << /XObject << /A 7 0 R >> /Font << /F 5 0 R >> >>", b"")},
    ),
    "patterns": with_page(
        "/Annots [<< /AP << /N 7 0 R >> >>]",
        {7: generated_pdfs.stream("/Resources 8 0 R", b""), 8: b"<< /Pattern << /A 7 0 R >> >>"},
    ),
    "what is no object": with_page("/Annots [<< /AP << /N 9999 0 R /R 8 0 R >> >>]", {8: b"8 0 R"}),
}  # fmt: skip


@pytest.mark.parametrize("of", RINGS)
def test_rings_end(of: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(RINGS[of])
    assert pdf.preflight(path) == (pdf.Finding(Kind.FONT, 1, 1),)


def chain(length: int, link: str, last: str) -> dict[int, bytes]:
    """Objects from number 7, each below the one before."""
    links = {7 + step: f"<< /{link} {8 + step} 0 R >>".encode() for step in range(length)}
    return {**links, 7 + length: last.encode()}


@pytest.mark.parametrize(
    ("link", "last"), [("First", f"<< /A {SCRIPT} >>"), ("Next", f"<< /A {SCRIPT} >>")]
)
def test_bookmarks_are_followed_however_deep(link: str, last: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(with_catalog("/Outlines 7 0 R", chain(5_000, link, last)))
    assert {one.kind for one in pdf.preflight(path)} == {Kind.JAVASCRIPT, Kind.FONT}


FORK = b"[" + b"<< /First 7 0 R /Kids 7 0 R /Next 7 0 R >> " * 3_000 + b"]"
FORKS = {
    "fields": with_catalog("/AcroForm << /Fields 7 0 R >>", {7: FORK}),
    "bookmarks": with_catalog("/Outlines << /First 7 0 R >>", {7: FORK}),
    "steps": with_page("/PresSteps 7 0 R", {7: FORK}),
    "names": with_catalog("/Names << /JavaScript 7 0 R >>", {7: FORK}),
    "lists in lists": with_catalog("/Outlines 7 0 R", {7: b"[" + b"[7 0 R] " * 3_000 + b"]"}),
}  # fmt: skip


@pytest.mark.parametrize("of", FORKS)
def test_what_forks_at_every_step_takes_no_memory(of: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(FORKS[of])
    tracemalloc.start()
    try:
        assert {one.kind for one in pdf.preflight(path)} == {Kind.FONT}
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


MASSES = {
    "annotations": with_page("/Annots [" + "<< >> " * 120_000 + "]"),
    "pages": generated_pdfs.with_table(
        {**generated_pdfs.one_page(), 2: b"<< /Kids [" + b"<< /Type /Page >> " * 340_000 + b"] >>"}
    ),
    "bookmarks": with_catalog("/Outlines << /First [" + "<< >> " * 120_000 + "] >>"),
    "drawings that grow": with_page(
        "/Annots [<< /AP << /N << /A << /Resources << /XObject 7 0 R >> >> >> >> >>]",
        {7: b"<< /A << /Resources << /XObject 7 0 R >> >> /B << /Resources << /XObject 7 0 R >> >> >>"},
    ),
    "states again and again": with_page(
        "/Annots [" + "<< /AP 7 0 R >> " * 5_000 + "]",
        {7: ("<< " + " ".join(f"/S{number} 5 0 R" for number in range(500)) + " >>").encode()},
    ),
    "graphics states again and again": with_page(
        "/Annots [" + "<< /AP << /N << /A << /Resources << /ExtGState 7 0 R >> >> >> >> >> " * 2_000 + "]",
        {7: ("<< " + " ".join(f"/S{number} 9 0 R" for number in range(1_000)) + " >>").encode()},
    ),
}  # fmt: skip


@pytest.mark.parametrize("of", MASSES)
def test_masses_are_refused(of: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(MASSES[of])
    with pytest.raises(PdfLimit, match="too many pages" if of == "pages" else "too m"):
        pdf.preflight(path)


@pytest.mark.parametrize("by", ["cross-references", "a scan"])
def test_a_broken_file_is_searched_as_any_reader_has_it(by: str, tmp_path: Path) -> None:
    """A font that is broken, and two objects of one number: each way of reading finds another."""
    path = tmp_path / "a.pdf"
    link = f"<< /Subtype /Link /A {SCRIPT} >>".encode(), b"<< /Subtype /Link >>"
    objects = generated_pdfs.one_page()
    objects[2] = b"<< /Type /Pages /Kids [3 0 R 7 0 R] /Count 2 >>"
    objects[7] = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Annots [8 0 R] >>"
    objects[8], objects[9] = link if by == "cross-references" else link[::-1]
    octets = generated_pdfs.with_table(objects).replace(b"9 0 obj", b"8 0 obj")
    path.write_bytes(octets.replace(b"\n5 0 obj", b"\n5 0 obx"))
    assert pdf.Finding(Kind.JAVASCRIPT, 1, 2) in pdf.preflight(path)


BROKEN = {
    "string": b"<< /Title (x /Next 8 0 R >>",
    "dictionary": b"<< /Title 1 /Next 8 0 R",
    "ring": b"8 0 R",
}
HELD = {
    "bookmark": "/Outlines << /First 7 0 R >>",
    "field": "/AcroForm << /Fields [7 0 R] >>",
    "names": "/Names << /JavaScript 7 0 R >>",
    "event": "/AA << /WC 7 0 R >>",
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("held", [*HELD, "step", "font"])
@pytest.mark.parametrize("table", [b"startxref", b"startxxxx"])
def test_one_broken_object_is_nothing(held: str, broken: str, table: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    more = {7: BROKEN[broken], 8: b"7 0 R"}
    if held == "font":
        octets = with_font("/Font << /F 7 0 R >>", more)
    else:
        step = with_page("/PresSteps 7 0 R", more)
        octets = step if held == "step" else with_catalog(HELD[held], more)
    path.write_bytes(octets.replace(b"startxref", table))
    found = {one.kind for one in pdf.preflight(path)}
    assert found == (set() if held == "font" else {Kind.FONT})


def test_a_print_stream_of_many_pages_is_searched(tmp_path: Path) -> None:
    """Each page with four fonts that all share, and an image of its own."""
    path = tmp_path / "a.pdf"
    pages, embedded = 100_000, b"<< /Subtype /TrueType /FontDescriptor << /FontFile2 6 0 R >> >>"
    objects = generated_pdfs.pdfa(2)
    fonts = {8 + number: embedded for number in range(4)}
    font = " ".join(f"/F{number} {number} 0 R" for number in fonts)
    page = "<< /Type /Page /Resources << /Font << {} >> /XObject << /X {} 0 R >> >> >>"
    image = generated_pdfs.stream("/Subtype /Image /Width 1 /ColorSpace /DeviceGray", b"1")
    kids = range(12, 12 + 2 * pages, 2)
    objects |= fonts | {kid: page.format(font, kid + 1).encode() for kid in kids}
    objects |= {kid + 1: image for kid in kids}
    objects[2] = f"<< /Type /Pages /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] >>".encode()
    path.write_bytes(generated_pdfs.with_table(objects))
    assert pdf.preflight(path) == ()


PLAIN = (
    b"<< /Type /XObject /Size [1 -2.5 .5] /Flag true /None null /In << /A [5 0 R] >> >>",
    b"[5 0 R /XYZ null 792 0]",
    generated_pdfs.stream("/Filter [/FlateDecode]", b"/Type /Page"),
)
ELSEWHERE = (
    b"<< /Type /Page >>",
    b"<</Type/Page/Parent 2 0 R>>",
    b"<< /Type /P#61ge >>",
    b"<< /A (endobj) /Type /Page >>",
    b"<< /A <</B/C>> /Type % endobj\n/Page >>",
    b"<< /A [ >> ] /Type /Page >>",
    b"<< /A << ] >> /Type /Page >>",
    b"<< /A <feed> /Type /Page >>",
    b"<< /A [" + b"1 " * 4096 + b"] /Type /Page >>",
)


@pytest.mark.parametrize("item", ELSEWHERE)
def test_a_page_out_of_reach_is_found_however_it_is_written(item: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(with_page("", {7: item}))
    assert pdf.Finding(Kind.HIDDEN, 1, None) in pdf.preflight(path)


@pytest.mark.parametrize("item", PLAIN)
def test_what_is_plainly_no_page_is_not_read(item: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(with_page("", {7: item}))
    with opened(path) as document:
        assert document.plainly_lacks(7, b"/Page")
        assert not document.plainly_lacks(3, b"/Page")
        assert not document.plainly_lacks(8, b"/Page")
    assert Kind.HIDDEN not in {one.kind for one in pdf.preflight(path)}


def test_what_is_drawn_and_cannot_be_read_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    octets = with_font("/XObject << /X 7 0 R >>", FORM)
    path.write_bytes(octets.replace(b"7 0 obj", b"7 0 obx"))
    assert pdf.preflight(path) == ()


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
