"""A seal that is seen: fetched once, checked, placed; what is wrong writes nothing."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pikepdf
import pytest

from hashseal import pdf
from hashseal.client import wire
from hashseal.client.signing import PreparedSigning, prepare, sign
from hashseal.client.visible import BESIDE, Visibility, VisibleSeal, seen
from hashseal.client.wire import Reply, Request
from hashseal.pdf.caption import set_lines
from hashseal_core.algorithms import Level
from hashseal_core.errors import (
    AnswerMismatch,
    AppearanceInvalid,
    CharacterUndrawable,
    HashsealError,
    InvalidValue,
    PdfNoPlace,
)
from hashseal_core.lettering import box_of
from hashseal_server.seals.drawing import SealData, draw


def drive(opened, workflow, change=lambda _request, reply: reply) -> tuple[object, list[str]]:
    """Run a workflow against the sandbox; what was asked for, in order."""
    asked: list[str] = []
    request: Request = next(workflow)
    while True:
        asked.append(request.path)
        reply = change(request, opened.client.send(request))
        try:
            request = workflow.send(reply)
        except StopIteration as stop:
            return stop.value, asked


def test_a_picture_is_fetched_once(opened, source: Path, tmp_path: Path) -> None:
    seal = opened.seal_ids["P-256"]
    visible = VisibleSeal(pdf.Place("last", pdf.Box(30, 40, 200, 80)), BESIDE)
    options = pdf.SignatureOptions(contents_size=1, reason="合同", location="Zürich")
    target = tmp_path / "out.pdf"
    made, asked = drive(
        opened,
        sign(source, target, seal_id=seal, level=Level.B_B, options=options, visible=visible),
    )
    assert asked.count(f"/v1/seals/{seal}/appearance") == 1
    assert made.covered_fields == ()
    with pikepdf.open(target) as document:
        (widget,) = document.pages[0].Annots
        assert [float(side) for side in widget.Rect] == pytest.approx([30, 672, 230, 752])
        words = str(widget.Contents)
        assert words == str(widget.TU)
        assert words.startswith("Official seal: Test Organisation. Signed by Hashseal TEST Seal.")
        for part in ("UTC", "Reason: 合同", "Location: Zürich", f"Seal: {seal}", "Verify with"):
            assert part in words
        resources = widget.AP.N.Resources
        assert list(resources.keys()) == ["/ColorSpace"]
        content = widget.AP.N.read_bytes()
        assert b"Do" not in content.split()
        assert b"BT" not in content.split()
    _, asked = drive(
        opened,
        sign(source, tmp_path / "again.pdf", seal_id=seal, level=Level.B_B, visible=visible),
    )
    assert asked == [f"/v1/seals/{seal}", "/v1/documents/sign"]


@pytest.mark.parametrize(
    ("svg", "error"),
    [
        (draw(SealData("official", "Somebody else")).svg(), AnswerMismatch),
        (b"<svg><script/></svg>", AppearanceInvalid),
    ],
)
def test_another_picture_is_refused(opened, source, tmp_path: Path, svg, error) -> None:
    target = tmp_path / "out.pdf"

    def change(request: Request, reply: Reply) -> Reply:
        return Reply(200, svg) if request.path.endswith("/appearance") else reply

    workflow = sign(source, target, seal_id=opened.seal_ids["P-256"], visible=VisibleSeal())
    with pytest.raises(error):
        drive(opened, workflow, change)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("reason", "place", "error"),
    [
        ("\N{GRINNING FACE}", pdf.Place(), CharacterUndrawable),
        (None, pdf.Place(2), PdfNoPlace),
        (None, pdf.Place(1, pdf.Anchor("words")), PdfNoPlace),
    ],
)
def test_nothing_is_written_when_it_cannot_be_seen(
    opened, source, tmp_path: Path, reason, place, error
) -> None:
    options = pdf.SignatureOptions(contents_size=1, reason=reason)
    workflow = prepare(
        source,
        tmp_path / "out.pdf",
        seal_id=opened.seal_ids["P-256"],
        options=options,
        visible=VisibleSeal(place, BESIDE),
    )
    with pytest.raises(error):
        opened.client.run(workflow)
    assert list(tmp_path.iterdir()) == [source]


def test_a_prepared_seal_is_stored_and_resumed(opened, source, tmp_path: Path) -> None:
    workflow = prepare(
        source,
        tmp_path / "first.pdf",
        seal_id=opened.seal_ids["P-256"],
        visible=VisibleSeal(pdf.Place(1, pdf.Position("middle"))),
    )
    signing = opened.client.run(workflow)
    assert PreparedSigning.from_json(signing.to_json()) == signing
    workflow = prepare(
        tmp_path / "first.pdf",
        tmp_path / "second.pdf",
        seal_id=opened.seal_ids["P-256"],
        visible=VisibleSeal(pdf.Place(1, pdf.Position("middle"))),
    )
    covering = opened.client.run(workflow)
    assert covering.prepared.covered_fields == (signing.prepared.field_name,)
    assert PreparedSigning.from_json(covering.to_json()) == covering
    # What was stored before there were seals that are seen.
    stored = json.loads(signing.prepared.to_json())
    del stored["covered_fields"]
    assert pdf.PreparedDocument.from_json(json.dumps(stored)) == signing.prepared


def test_options_of_the_command() -> None:
    assert seen(None, None) is None
    assert seen(Visibility.NONE, None) is None
    assert seen(None, "2:top") == VisibleSeal(pdf.Place(2, pdf.Position("top")))
    assert seen(Visibility.SEAL, None) == VisibleSeal()
    assert seen(Visibility.SEAL_AND_TEXT, "every") == VisibleSeal(pdf.Place("every"), BESIDE)
    with pytest.raises(InvalidValue, match="no place"):
        seen(Visibility.NONE, "last")


@pytest.mark.parametrize("height", [5, 20, 80])
@pytest.mark.parametrize(
    "lines",
    [("Short",), ("a" * 200,), ("many words " * 30, "合同" * 20), ("one", "", "three", "4", "5")],
)
def test_lines_fit_into_their_box(lines: tuple[str, ...], height: float) -> None:
    box = box_of(set_lines(lines, 150, height))
    assert box is not None
    assert box.left >= -0.5
    assert box.right <= 150.5
    assert box.bottom >= -0.5
    assert box.top <= height + 0.5


def test_errors_of_the_service_reach_the_caller() -> None:
    """A picture that cannot be drawn is the service's typed error."""
    problem = (
        b'{"type":"t","title":"t","status":422,"code":"character-undrawable","detail":"no font",'
        b'"action":"a"}'
    )
    with pytest.raises(HashsealError, match="no font") as caught:
        wire.read_octets(Reply(422, problem))
    assert caught.value.code == "character-undrawable"


def test_forms_are_the_same_for_pages_of_one_shape(tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    with pikepdf.new() as made:
        for _ in range(40):
            made.add_blank_page()
        made.save(source)
    drawing = pdf.read_drawing(draw(SealData("hr", "Test")).svg())
    appearance = pdf.SealAppearance(drawing, pdf.Place("every"), alternative_text="Sealed")
    pdf.prepare(source, target, pdf.SignatureOptions(contents_size=64, appearance=appearance))
    grown = target.stat().st_size - source.stat().st_size
    assert grown < 2 * len(zlib.compress(draw(SealData("hr", "Test")).svg())) + 40 * 700
    with pikepdf.open(target) as document:
        assert [len(page.Annots) for page in document.pages] == [1] * 40
        assert {str(page.Annots[0].Contents) for page in document.pages} == {"Sealed"}
        assert len({page.Annots[0].AP.N.objgen for page in document.pages}) == 2
