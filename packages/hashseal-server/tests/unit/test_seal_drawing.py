"""Seals are drawn inside their rings, the same each time, or not at all."""

from __future__ import annotations

import hashlib
import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st

from hashseal_core.errors import CharacterUndrawable, ConfigurationInvalid
from hashseal_core.lettering import Letter, Outline, Point, Segment, box_of, installed
from hashseal_server.seals.drawing import SealData, draw
from hashseal_server.seals.drawing.setting import Arc, Type, fit, halves, line, natural, on_arc
from hashseal_server.seals.drawing.shapes import frame, ring, star
from hashseal_server.seals.model import KINDS

CHINESE, LATIN = "深圳市晨光电子商务有限公司", "Meridian Trading GmbH"
ORGANISATIONS = sorted(KINDS - {"personal"})
SQUARE: Outline = (
    Segment("M", (Point(0, 0),)), Segment("L", (Point(0.5, 0),)), Segment("L", (Point(0.5, 0.7),)),
    Segment("L", (Point(0, 0.7),)), Segment("Z"),
)  # fmt: skip


def inked(areas: tuple[Outline, ...] | list[Outline]) -> list[Point]:
    return [point for area in areas for segment in area for point in segment.points]


def furthest(areas: list[Outline]) -> float:
    return max((math.hypot(*point) for point in inked(areas)), default=0.0)


@pytest.mark.parametrize("name", [CHINESE, LATIN])
@pytest.mark.parametrize("kind", ORGANISATIONS)
def test_the_seven_kinds(kind: str, name: str) -> None:
    made = draw(SealData(kind, name, number="91440300MA5F8X7Y2Q", country="CN"))
    assert made.colour == ("#d4101e" if name == CHINESE else "#16419a")
    assert (made.width, made.height) == (42, 42)
    rings = 1 if name == CHINESE else 3
    assert furthest(list(made.areas[rings:])) < 19.6  # all text stands inside the ring
    assert made.title.endswith(f": {name}")
    others = {draw(SealData(one, name)).svg() for one in ORGANISATIONS}
    assert len(others) == len(ORGANISATIONS)


def test_a_star_is_for_chinese_organisations() -> None:
    assert draw(SealData("official", "株式会社日本", country="JP")).colour == "#16419a"
    assert draw(SealData("official", "中國科技", country="TW")).colour == "#d4101e"


def test_people_have_a_square_or_a_signature() -> None:
    square, signature = draw(SealData("personal", "王小明")), draw(SealData("personal", "Ana Ruiz"))
    assert (square.width, square.height, square.colour) == (20, 20, "#d4101e")
    assert len(square.areas) == 5  # the frame and 王小明印
    assert signature.width > 3 * signature.height
    for made in (square, signature):
        assert max(abs(point.x) for point in inked(list(made.areas))) <= made.width / 2
        assert max(abs(point.y) for point in inked(list(made.areas))) <= made.height / 2


def test_columns_are_read_downwards_from_the_right() -> None:
    boxes = [box_of(area) for area in draw(SealData("personal", "欧阳修文")).areas[1:]]
    first, second, third, fourth = (
        (box.left + box.right, box.bottom + box.top) for box in boxes if box is not None
    )
    assert first[0] > third[0]
    assert first[1] < second[1]
    assert third[1] < fourth[1]


PINNED = {
    ("contract", CHINESE): "889f30558fa978e2b4d82811b6d7c6c0e2a82eb74021c45b86a98f2143227f61",
    ("finance", LATIN): "01686944dbb87fcc5ea3b8a4698c4f739374c93252a18de14753282a337bdcce",
    ("personal", "王小明"): "0ad2b623c18e651fac62a1c0c4eb7e33edabb9b1b577efbef2575d2d079f6c61",
    (
        "personal",
        "Katharina Lindqvist",
    ): "51c551c077bce1a80b3c140cc41869dc3ea1d505d992dc82324797a5233d6641",
}


@pytest.mark.parametrize(("kind", "name"), PINNED)
def test_equal_seals_are_equal_octets(kind: str, name: str) -> None:
    """On every machine: who changes a design on purpose changes these digests."""
    octets = draw(SealData(kind, name, number="HRB 184523")).svg()
    assert hashlib.sha256(octets).hexdigest() == PINNED[kind, name]


def test_nothing_but_outlines_of_one_colour() -> None:
    for name in (CHINESE, LATIN):
        text = draw(SealData("hr", f"{name} <&> \"'", number="1", address="Bahnhofstraße 1")).svg()
        words = set(re.findall(r"<(/?[a-z]+)", text.decode()))
        assert words == {"svg", "title", "/title", "path", "/svg"}
        assert b"href" not in text
        assert len(text) < 100_000


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Firma \N{GRINNING FACE}", "no font has the character U\\+1F600"),
        ("شركة", "needs shaping"),
        ("q\N{COMBINING DOUBLE ACUTE ACCENT}", "needs shaping"),
        ("深圳\U0002b820\U000323af公司", "no font has the character U\\+"),
    ],
)
def test_what_cannot_be_set_is_refused(name: str, reason: str) -> None:
    for kind in ("official", "personal"):
        with pytest.raises(CharacterUndrawable, match=reason):
            draw(SealData(kind, name))
    with pytest.raises(CharacterUndrawable, match=reason):
        draw(SealData("official", LATIN, address=name))


def test_composed_and_decomposed_names_are_the_same() -> None:
    assert draw(SealData("hr", "Cafe\u0301")).areas == draw(SealData("hr", "Café")).areas


def test_a_font_of_the_machine_helps_with_rare_characters(tmp_path: Path) -> None:
    rare = "\U000323af"
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((900, 0), (900, 900), (0, 900)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "rare"])
    builder.setupCharacterMap({ord(rare): "rare"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "rare": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "rare": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({})
    builder.setupPost()
    builder.save(tmp_path / "rare.ttf")
    face = installed(str(tmp_path / "rare.ttf"))
    with_it = draw(SealData("official", f"深圳{rare}公司"), [face])
    without = draw(SealData("official", "深圳公司"))
    assert len(inked([with_it.areas[2]])) == len(inked([without.areas[2]])) + 4
    (tmp_path / "none.ttf").write_text("no font")
    with pytest.raises(ConfigurationInvalid, match=r"none\.ttf"):
        draw(SealData("official", rare), [installed(str(tmp_path / "none.ttf"))])


names = st.text(st.sampled_from("深圳市晨光\uff08集团\uff09·ABCxyz 12éßЖ"), min_size=1, max_size=64)


@settings(max_examples=25, deadline=None)
@given(names, st.sampled_from(ORGANISATIONS), names, names)
def test_whatever_is_long_stays_inside(name: str, kind: str, number: str, address: str) -> None:
    for data in (SealData(kind, name, number, 2 * address), SealData("personal", name)):
        made = draw(data)
        assert len(made.svg()) < 400_000
        for point in inked(list(made.areas)):
            assert abs(point.x) <= made.width / 2
            assert abs(point.y) <= made.height / 2
        if made.width == 42:
            text = made.areas[1:] if made.colour == "#d4101e" else made.areas[3:]
            assert furthest(list(text)) < 19.7


@given(st.integers(1, 40), st.floats(5, 20), st.floats(0.5, 4.5), st.booleans())
def test_letters_stand_on_their_circle(count: int, radius: float, span: float, below: bool) -> None:
    letters = [Letter("x", 0.6, SQUARE)] * count
    style = Type(4.0, tracking=0.1, condensed=0.4, middle=0.35)
    outline = on_arc(letters, style, Arc(radius, span, below=below))
    size = fit(letters, style, span * radius)
    assert size.size * size.width * natural(letters, 0.1) <= span * radius * 1.000001
    middles = []
    for index in range(count):
        corners = [segment.points[0] for segment in outline[5 * index : 5 * index + 4]]
        middle = Point(sum(one.x for one in corners) / 4, sum(one.y for one in corners) / 4)
        # The letter is a little left of the middle of its advance.
        beside = size.size * size.width * 0.05
        assert math.hypot(*middle) == pytest.approx(math.hypot(radius, beside))
        middles.append(math.atan2(middle.x, middle.y if below else -middle.y))
        up = math.hypot(*corners[3]) - math.hypot(*corners[0])
        assert (up < 0) == below  # heads outwards above, inwards below
    steps = [after - before for before, after in pairwise(middles)]
    assert all(step > 0 for step in steps)  # read from the left
    assert middles == pytest.approx(
        [
            -one - 2 * math.asin(0.05 * size.size * size.width / math.hypot(radius, beside))
            for one in reversed(middles)
        ],
        abs=1e-6,
    )


@given(st.integers(1, 40), st.floats(1, 50))
def test_lines_are_centred_and_fit(count: int, room: float) -> None:
    letters = [Letter("x", 0.5, SQUARE)] * count
    box = box_of(line(letters, Type(4.0, condensed=0.5), room, Point(3, 7)))
    assert box is not None
    assert box.right - box.left <= room * 1.000001
    assert (box.left + box.right) / 2 == pytest.approx(3)


def test_shapes_have_their_size() -> None:
    assert box_of(ring(20, 1)) == pytest.approx((-20, -20, 20, 20))
    assert min(math.hypot(*point) for point in inked([ring(20, 1)])) == pytest.approx(19)
    five = star(10)
    assert len(inked([five])) == 10
    assert min(inked([five]), key=lambda point: point.y) == pytest.approx((0, -10))
    reach = sorted(math.hypot(*point) for point in inked([five]))
    assert reach[0] / reach[9] == pytest.approx(0.381966, abs=1e-5)
    assert box_of(frame(9.8, 1, 1.1)) == pytest.approx((-9.8, -9.8, 9.8, 9.8))


@given(st.text(st.sampled_from("ab 中"), min_size=2, max_size=40), st.floats(0.3, 0.7))
def test_halves_lose_nothing(text: str, share: float) -> None:
    first, second = halves(text, share)
    assert text in {first + second, f"{first} {second}"}
