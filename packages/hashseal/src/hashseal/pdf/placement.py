"""Where on which page a seal stands, as people say it: "last:bottom-right", "2:60%,80%,20%,10%".

Points are 1/72 inch; percent are of the page as it is shown; both from its top left corner.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from hashseal.pdf.pages import Area, Page
from hashseal_core.errors import InvalidValue, PdfNoPlace

PageChoice: TypeAlias = int | Literal["last", "every", "any"]
POINTS_PER_MILLIMETRE = 72 / 25.4
MARGIN = 36.0
_TOLERANCE = 0.01
_POSITIONS = {
    "top-left": (0.0, 0.0), "top": (0.5, 0.0), "top-right": (1.0, 0.0),
    "left": (0.0, 0.5), "middle": (0.5, 0.5), "right": (1.0, 0.5),
    "bottom-left": (0.0, 1.0), "bottom": (0.5, 1.0), "bottom-right": (1.0, 1.0),
}  # fmt: skip
_NUMBER = re.compile(r"(\d{1,5}(?:\.\d{1,4})?)(%?)")
_BOX_NUMBERS = 4
_NAMED: dict[str, PageChoice] = {"last": "last", "every": "every", "any": "any"}
HELP = (
    "a place is PAGE:POSITION, PAGE:LEFT,TOP,WIDTH,HEIGHT (points, or percent with %) or "
    "PAGE:text=WORDS, where PAGE is a number, last, every or, for words, any"
)


@dataclass(frozen=True, slots=True)
class Position:
    """At an edge, in a corner or in the middle of the page, in the seal's natural size."""

    name: str = "bottom-right"

    def __post_init__(self) -> None:
        if self.name not in _POSITIONS:
            names = ", ".join(_POSITIONS)
            raise InvalidValue(f"a position is one of {names}", field="place")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the page as it is shown; the seal fills it as far as its shape allows."""

    left: float
    top: float
    width: float
    height: float
    percent: bool = False

    def __post_init__(self) -> None:
        if not (self.left >= 0 and self.top >= 0 and self.width > 0 and self.height > 0):
            raise InvalidValue("a box has a place on the page and a size", field="place")


@dataclass(frozen=True, slots=True)
class Anchor:
    """Over the middle of words on the page; `hashseal.anchoring` finds them.

    Attributes:
        text: the words as the page shows them; spaces and capitals do not matter.
        occurrence: which one, counted from 1 over the pages in question; -1 is the last one.
    """

    text: str
    occurrence: int = -1


@dataclass(frozen=True, slots=True)
class Place:
    """On which page, and where there.

    `page` counts from 1. "every" puts the signature on the last page and the same picture on all
    others; "any" goes with words only, which are then looked for in the whole file. `size` is the
    seal's longer side in points; None is its natural size, which only a page that is too small
    reduces.
    """

    page: PageChoice = "last"
    where: Position | Box | Anchor = Position()
    size: float | None = None

    def __post_init__(self) -> None:
        words = isinstance(self.where, Anchor)
        named = {"last", "any"} if words else {"last", "every"}
        if self.page not in named and not (isinstance(self.page, int) and self.page > 0):
            raise InvalidValue(HELP, field="place")
        if self.size is not None and not self.size > 0:
            raise InvalidValue("the size is not positive", field="place")


def read_place(text: str) -> Place:
    """The place that a text names; see `HELP`.

    Raises:
        InvalidValue: it names none.
    """
    page, colon, where = text.partition(":")
    chosen: PageChoice
    if page in _NAMED:
        chosen = _NAMED[page]
    elif page.isdecimal() and page.isascii() and len(page) < 8:  # noqa: PLR2004
        chosen = int(page)
    else:
        raise InvalidValue(HELP, field="place")
    if not colon:
        return Place(chosen)
    kind, equals, words = where.partition("=")
    if equals and kind == "text" and words.strip():
        return Place(chosen, Anchor(words.strip()))
    if where in _POSITIONS:
        return Place(chosen, Position(where))
    numbers = [_NUMBER.fullmatch(part.strip()) for part in where.split(",")]
    found = [number for number in numbers if number is not None]
    signs = {number[2] for number in found}
    if len(numbers) != len(found) or len(found) != _BOX_NUMBERS or len(signs) != 1:
        raise InvalidValue(HELP, field="place")
    left, top, width, height = (float(number[1]) for number in found)
    return Place(chosen, Box(left, top, width, height, percent=signs == {"%"}))


def area_on(page: Page, place: Place, natural: tuple[float, float]) -> Area:
    """The area of the page that a seal of this natural size (points) takes.

    Raises:
        PdfNoPlace: the box is not wholly on the page, or words have not been looked for.
    """
    width, height = page.size
    if isinstance(place.where, Anchor):
        raise PdfNoPlace("the words were not looked for yet", field="place")
    if isinstance(place.where, Box):
        return _of_box(page, place.where)
    if place.size is not None:
        ratio = place.size / max(natural)
        natural = natural[0] * ratio, natural[1] * ratio
    margin = min(MARGIN, 0.05 * min(width, height))
    ratio = min(1.0, (width - 2 * margin) / natural[0], (height - 2 * margin) / natural[1])
    size = natural[0] * ratio, natural[1] * ratio
    across, down = _POSITIONS[place.where.name]
    return Area(
        margin + across * (width - 2 * margin - size[0]),
        margin + down * (height - 2 * margin - size[1]),
        *size,
    )


def _of_box(page: Page, box: Box) -> Area:
    width, height = page.size
    x, y = (width / 100, height / 100) if box.percent else (1.0, 1.0)
    area = Area(box.left * x, box.top * y, box.width * x, box.height * y)
    if area.left + area.width > width + _TOLERANCE or area.top + area.height > height + _TOLERANCE:
        raise PdfNoPlace(
            f"the box is not wholly on page {page.number}, which is {width:.0f} by {height:.0f} "
            "points as it is shown",
            field="place",
        )
    return area


def around(page: Page, words: Area, place: Place, natural: tuple[float, float]) -> Place:
    """The place over the middle of words that were found, moved onto the page where needed."""
    ratio = 1.0 if place.size is None else place.size / max(natural)
    width, height = page.size
    ratio = min(ratio, width / natural[0], height / natural[1])
    wide, tall = natural[0] * ratio, natural[1] * ratio
    left = words.left + words.width / 2 - wide / 2
    top = words.top + words.height / 2 - tall / 2
    box = Box(max(0.0, min(left, width - wide)), max(0.0, min(top, height - tall)), wide, tall)
    return replace(place, page=page.number, where=box)
