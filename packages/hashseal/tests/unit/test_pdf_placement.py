"""Where a seal stands: what people say, and where that is on the page as the file has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashseal.pdf import Anchor, Box, Place, Position, read_place
from hashseal.pdf.objects import Raw
from hashseal.pdf.pages import Area, Page, Rect, real
from hashseal.pdf.placement import area_on, around
from hashseal_core.errors import InvalidValue, PdfNoPlace


def page(box: Rect, rotation: int = 0, unit: float = 1.0) -> Page:
    return Page(1, None, {}, box, rotation, unit)


A4 = page(Rect(0, 0, 595, 842))
sides = st.floats(-2000, 2000)
lengths = st.floats(20, 2000)
shares = st.floats(0, 1)
pages = st.builds(
    lambda left, bottom, width, height, rotation, unit: page(
        Rect(left, bottom, left + width, bottom + height), rotation, unit
    ),
    sides, sides, lengths, lengths, st.sampled_from([0, 90, 180, 270]), st.floats(0.25, 4),
)  # fmt: skip


@given(pages, shares, shares, shares, shares)
def test_areas_and_rectangles_are_inverse(
    shown: Page, left: float, top: float, width: float, height: float
) -> None:
    whole = shown.size
    area = Area(
        left * whole[0] * 0.5, top * whole[1] * 0.5,
        width * whole[0] * 0.5, height * whole[1] * 0.5,
    )  # fmt: skip
    rect = shown.rect(area)
    assert shown.area(rect) == pytest.approx(area, abs=1e-6)
    box = shown.box
    assert box.left - 1e-6 <= rect.left <= rect.right <= box.right + 1e-6
    assert box.bottom - 1e-6 <= rect.bottom <= rect.top <= box.top + 1e-6
    covered = (rect.right - rect.left) * (rect.top - rect.bottom) * shown.unit**2
    assert covered == pytest.approx(area.width * area.height, abs=1e-3, rel=1e-6)


@pytest.mark.parametrize(
    ("rotation", "corner"),
    [(0, (10, 300)), (90, (10, 20)), (180, (210, 20)), (270, (210, 300))],
)
def test_the_top_left_corner_of_a_turned_page(rotation: int, corner: tuple[float, float]) -> None:
    """Turned clockwise by 90 degrees, the bottom left corner is at the top left."""
    rect = page(Rect(10, 20, 210, 300), rotation).rect(Area(0, 0, 30, 40))
    assert corner in {(x, y) for x in rect[::2] for y in rect[1::2]}
    wide, tall = rect.right - rect.left, rect.top - rect.bottom
    assert (wide, tall) == ((30, 40) if rotation in {0, 180} else (40, 30))


@given(pages, st.sampled_from(["top-left", "middle", "right", "bottom-right"]), lengths, lengths)
def test_positions_are_on_the_page(shown: Page, name: str, width: float, height: float) -> None:
    area = area_on(shown, Place(1, Position(name)), (width, height))
    whole = shown.size
    assert area.left >= 0
    assert area.top >= 0
    assert area.left + area.width <= whole[0] + 1e-6
    assert area.top + area.height <= whole[1] + 1e-6
    assert area.width / area.height == pytest.approx(width / height)


def test_natural_sizes_and_margins() -> None:
    assert area_on(A4, Place(), (119, 119)) == pytest.approx(
        (595 - 29.75 - 119, 842 - 29.75 - 119, 119, 119)
    )
    assert area_on(A4, Place(1, Position("top-left"), size=50), (119, 59.5)) == pytest.approx(
        (29.75, 29.75, 50, 25)
    )


def test_boxes_in_points_and_percent() -> None:
    assert area_on(A4, Place(1, Box(10, 20, 30, 40)), (1, 1)) == (10, 20, 30, 40)
    percent = area_on(A4, Place(1, Box(50, 50, 50, 50, percent=True)), (1, 1))
    assert percent == pytest.approx((297.5, 421, 297.5, 421))
    for box in (Box(500, 20, 100, 40), Box(0, 800, 10, 50), Box(90, 0, 11, 1, percent=True)):
        with pytest.raises(PdfNoPlace, match="595 by 842"):
            area_on(A4, Place(1, box), (1, 1))
    with pytest.raises(PdfNoPlace):
        area_on(A4, Place(1, Anchor("words")), (1, 1))


@given(pages, shares, shares)
def test_a_seal_over_words_stays_on_the_page(shown: Page, across: float, down: float) -> None:
    whole = shown.size
    words = Area(across * whole[0], down * whole[1], 0, 0)
    place = around(shown, words, Place(1, Anchor("words")), (60, 60))
    assert place.page == 1
    area = area_on(shown, place, (60, 60))
    if min(whole) > 60 and 0.3 < across < 0.7 and whole[0] > 200:
        assert area.left + area.width / 2 == pytest.approx(words.left)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("last", Place("last")),
        ("3:top", Place(3, Position("top"))),
        ("every:bottom-left", Place("every", Position("bottom-left"))),
        ("1:10,20.5,30,40", Place(1, Box(10, 20.5, 30, 40))),
        ("last:60%,80%, 20%,10%", Place("last", Box(60, 80, 20, 10, percent=True))),
        ("2:text=Seal of the seller", Place(2, Anchor("Seal of the seller"))),
        ("any:text=盖章", Place("any", Anchor("盖章"))),
    ],
)
def test_places_as_people_say_them(text: str, place: Place) -> None:
    assert read_place(text) == place


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "-1:top", "first:top", "1:nowhere", "1:10,20,30", "1:10,20,30,40,50"),
        *("1:10,20,30%,40", "1:10,20,0,40", "1:-1,2,3,4", "1:1e9,2,3,4", "1:text=", "1:text= "),
        *("any", "any:top", "every:text=words", "any:1,2,3,4", "1:nan,1,1,1", "٣:top"),
    ],
)
def test_other_places_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        read_place(text)


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), (Raw(b"-.5"), -0.5), (Raw(b"4."), 4.0), (True, None), (None, None),
     (Raw(b"nan"), None), (Raw(b"inf"), None), (Raw(b"1e300"), None), (Raw(b"--5"), None)],
)  # fmt: skip
def test_numbers_of_files(value, number) -> None:
    assert real(value) == number
