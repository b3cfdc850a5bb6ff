"""Appearances of seals: from a picture to what stands on the page (ISO 32000-2, 12.5.5, 12.7.5.5).

The appearance is a form XObject of filled paths in CalRGB, which needs no output intent, no font
and no transparency: what a PDF/A file of any part may hold. Everything that is seen is in the
revision that is signed. A seal on every page is the signature's own widget on one page and stamps
with the same picture on the others: a signature field has one widget only (12.7.5.5).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from hashseal.pdf.caption import set_lines
from hashseal.pdf.document import Document
from hashseal.pdf.drawing import Drawing, Step
from hashseal.pdf.model import SealAppearance
from hashseal.pdf.objects import (
    Dictionary,
    Name,
    PdfObject,
    Raw,
    Ref,
    Stream,
    as_array,
    as_dictionary,
    text_string,
)
from hashseal.pdf.pages import Area, Page, Rect, pages, rectangle
from hashseal.pdf.placement import POINTS_PER_MILLIMETRE, area_on
from hashseal_core.errors import PdfNoPlace
from hashseal_core.lettering import Outline

_CAPTION_RATIO = 1.9
_CAPTION_GAP = 0.08
_TEXT_COLOUR = (0x22, 0x22, 0x2A)
_PRINT_LOCKED_UNCHANGED = 4 | 128 | 512
_SRGB: list[PdfObject] = [
    Name(b"CalRGB"),
    {
        b"WhitePoint": [Raw(b"0.9505"), 1, Raw(b"1.089")],
        b"Gamma": [Raw(b"2.2"), Raw(b"2.2"), Raw(b"2.2")],
        b"Matrix": [
            Raw(number)
            for number in (
                b"0.4124 0.2126 0.0193 0.3576 0.7152 0.1192 0.1805 0.0722 0.9505".split()
            )
        ],
    },
]  # fmt: skip
_OPERATORS = {"M": b"m", "L": b"l", "C": b"c", "Z": b"h"}


class Field(Protocol):
    """See `hashseal.pdf.form.Field`."""

    @property
    def reference(self) -> Ref | None: ...
    @property
    def dictionary(self) -> Dictionary: ...
    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture on a page: `area` as it is shown, `rect` in the page's own space."""

    page: Page
    area: Area
    rect: Rect


def natural_size(appearance: SealAppearance) -> tuple[float, float]:
    """Width and height in points of the seal with the text beside it."""
    drawing = appearance.drawing
    width, height = (side * POINTS_PER_MILLIMETRE for side in (drawing.width, drawing.height))
    if appearance.lines:
        width += height * (_CAPTION_GAP + _CAPTION_RATIO)
    return width, height


def place(
    document: Document, appearance: SealAppearance, own: Placed | None = None
) -> tuple[Placed, tuple[Placed, ...]]:
    """Where the signature's own picture stands, and where its stamps do.

    `own` is where it stands in any case: in a field that has its place already.

    Raises:
        PdfNoPlace: there is no such page, or the box is not on it.
        PdfLimit: there are more pages than any honest file has.
    """
    chosen = appearance.place.page
    if own is not None and chosen != "every":
        return own, ()
    size = natural_size(appearance)

    def put(page: Page) -> Placed:
        if page.reference is None:
            raise PdfNoPlace(f"page {page.number} cannot be written again", field="place")
        area = area_on(page, appearance.place, size)
        return Placed(page, area, page.rect(area))

    count, last = 0, None
    others: list[Page] = []
    for page in pages(document):
        count += 1
        if page.number == chosen:
            return put(page), ()
        if chosen == "every":
            others.append(page)
        last = page
    if last is None or isinstance(chosen, int):
        raise PdfNoPlace(f"the file has {count} pages", field="place")
    mine = own or put(last)
    return mine, tuple(put(page) for page in others if page.number != mine.page.number)


def place_of(document: Document, reference: Ref, widget: Dictionary) -> Placed | None:
    """Where a widget that the file has stands; None when it is invisible or on no page."""
    rect = rectangle(document, widget.get(b"Rect"))
    if rect is None:
        return None
    named = widget.get(b"P")
    for page in pages(document):
        listed = as_array(document.resolve(page.dictionary.get(b"Annots")))
        if (isinstance(named, Ref) and page.reference == named) or reference in listed:
            return Placed(page, page.area(rect), rect)
    return None


def overlapping(document: Document, placed: Placed, fields: Iterable[Field]) -> tuple[str, ...]:
    """Names of the fields that the picture covers in part or whole."""
    listed = as_array(document.resolve(placed.page.dictionary.get(b"Annots")))
    found = []
    for field in fields:
        kids = as_array(document.resolve(field.dictionary.get(b"Kids")))
        for one in (field.reference, *kids):
            rect = rectangle(document, as_dictionary(document.resolve(one)).get(b"Rect"))
            if one in listed and rect is not None and _meet(rect, placed.rect):
                found.append(field.name)
    return tuple(dict.fromkeys(found))


def _meet(one: Rect, other: Rect) -> bool:
    return (
        one.left < other.right
        and other.left < one.right
        and one.bottom < other.top
        and other.bottom < one.top
    )


def alternative_text(appearance: SealAppearance) -> str:
    """What the picture shows, in words."""
    if appearance.alternative_text is not None:
        return appearance.alternative_text
    return ". ".join([appearance.drawing.title, *appearance.lines])


def form_xobject(appearance: SealAppearance, placed: Placed) -> Stream:
    """The picture for this place, upright as the page is shown.

    Raises:
        CharacterUndrawable: the text beside it has a character that no font has.
    """
    unit, rotation = placed.page.unit, placed.page.rotation
    width, height = placed.area.width / unit, placed.area.height / unit
    content = zlib.compress(_content(appearance, placed.area, 1 / unit), 9)
    entries: Dictionary = {
        b"Type": Name(b"XObject"),
        b"Subtype": Name(b"Form"),
        b"BBox": [0, 0, number(width), number(height)],
        b"Resources": {b"ColorSpace": {b"sRGB": _SRGB}},
        b"Filter": Name(b"FlateDecode"),
    }
    turned = {
        90: [0, 1, -1, 0, number(height), 0],
        180: [-1, 0, 0, -1, number(width), number(height)],
        270: [0, -1, 1, 0, 0, number(width)],
    }
    if rotation:
        entries[b"Matrix"] = list(turned[rotation])
    return Stream(entries, content)


def stamp(placed: Placed, form: PdfObject, words: str) -> Dictionary:
    """An annotation that shows the seal on a page where the signature is not."""
    return {
        b"Type": Name(b"Annot"),
        b"Subtype": Name(b"Stamp"),
        b"Rect": corners(placed.rect),
        b"F": _PRINT_LOCKED_UNCHANGED,
        b"Contents": text_string(words),
        b"P": placed.page.reference,
        b"AP": {b"N": form},
    }


def corners(rect: Rect) -> list[PdfObject]:
    """The rectangle as an array."""
    return [number(side) for side in rect]


def number(value: float) -> PdfObject:
    """A number with four decimals at most."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return Raw(b"0" if text == "-0" else text.encode())


def _content(appearance: SealAppearance, area: Area, scale: float) -> bytes:
    """Operators in a space of points, origin top left, y downwards."""
    drawing = appearance.drawing
    width, height = area.width, area.height
    shape = drawing.width / drawing.height
    parts = [b"q %b 0 0 %b 0 %b cm" % (_text(scale), _text(-scale), _text(height * scale))]
    room = width
    if appearance.lines:
        whole = shape + _CAPTION_GAP + _CAPTION_RATIO
        room = min(height * shape, width * shape / whole)
    side = min(room / shape, height)
    left = (room - side * shape) / 2
    parts.append(_seal(drawing, left, (height - side) / 2, side))
    if appearance.lines:
        begin = room + side * _CAPTION_GAP
        text = set_lines(appearance.lines, width - begin, height)
        parts.append(_lines(text, begin))
    return b"\n".join([*parts, b"Q"])


def _seal(drawing: Drawing, left: float, top: float, height: float) -> bytes:
    scale = height / drawing.units[1]
    paths = b"\n".join(
        b"\n".join(_operator(step) for step in path) + b"\nf" for path in drawing.paths
    )
    return b"q %b 0 0 %b %b %b cm\n/sRGB cs %b sc\n%b\nQ" % (
        _text(scale, 8), _text(scale, 8), _text(left), _text(top), _colour(drawing.colour), paths,
    )  # fmt: skip


def _operator(step: Step) -> bytes:
    return b" ".join([*(b"%d" % operand for operand in step.operands), _OPERATORS[step.command]])


def _lines(outline: Outline, left: float) -> bytes:
    """Hundredths of a point keep the letters' shapes."""
    steps = [
        b" ".join(
            [
                *(b"%d" % round(100 * value) for point in segment.points for value in point),
                _OPERATORS[segment.command],
            ]
        )
        for segment in outline
    ]
    return b"q 0.01 0 0 0.01 %b 0 cm\n/sRGB cs %b sc\n%b\nf\nQ" % (
        _text(left), _colour(_TEXT_COLOUR), b"\n".join(steps),
    )  # fmt: skip


def _colour(colour: tuple[int, int, int]) -> bytes:
    return b" ".join(_text(part / 255) for part in colour)


def _text(value: float, decimals: int = 4) -> bytes:
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return b"0" if text == "-0" else text.encode()
