"""Pages as they are shown: their box, their rotation, the size of their unit (7.7.3.3, 14.11.2).

Boxes that callers name are in points (1/72 inch) from the top left corner of the page as a reader
shows it. This module knows where that is on the page as the file has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from hashseal.pdf.document import MAXIMUM_PAGES_WALKED, Document
from hashseal.pdf.objects import Dictionary, PdfObject, Raw, Ref, as_array
from hashseal_core.errors import PdfLimit

_INHERITED = (b"MediaBox", b"CropBox", b"Rotate")
_LETTER = (0.0, 0.0, 612.0, 792.0)
_CORNERS = 4


class Rect(NamedTuple):
    """A rectangle in the page's own space: left, bottom, right, top."""

    left: float
    bottom: float
    right: float
    top: float


class Area(NamedTuple):
    """A rectangle on the page as it is shown, in points from its top left corner."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        number: counted from 1.
        reference: None when the page is no object of its own and cannot be written again.
        box: what of it is shown, in its own space.
        rotation: clockwise when it is shown: 0, 90, 180 or 270.
        unit: points in one unit of its own space.
    """

    number: int
    reference: Ref | None
    dictionary: Dictionary
    box: Rect
    rotation: int
    unit: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height as shown, in points."""
        width = (self.box.right - self.box.left) * self.unit
        height = (self.box.top - self.box.bottom) * self.unit
        return (height, width) if self.rotation in {90, 270} else (width, height)

    def rect(self, area: Area) -> Rect:
        """Where a shown area is in the page's own space."""
        left, top, width, height = (side / self.unit for side in area)
        right, bottom = left + width, top + height
        box = self.box
        match self.rotation:
            case 90:
                return Rect(
                    box.left + top, box.bottom + left, box.left + bottom, box.bottom + right
                )
            case 180:
                return Rect(
                    box.right - right, box.bottom + top, box.right - left, box.bottom + bottom
                )
            case 270:
                return Rect(box.right - bottom, box.top - right, box.right - top, box.top - left)
            case _:
                return Rect(box.left + left, box.top - bottom, box.left + right, box.top - top)

    def area(self, rect: Rect) -> Area:
        """What `rect` gives this rectangle for."""
        box = self.box
        match self.rotation:
            case 90:
                left, top = rect.bottom - box.bottom, rect.left - box.left
                width, height = rect.top - rect.bottom, rect.right - rect.left
            case 180:
                left, top = box.right - rect.right, rect.bottom - box.bottom
                width, height = rect.right - rect.left, rect.top - rect.bottom
            case 270:
                left, top = box.top - rect.top, box.right - rect.right
                width, height = rect.top - rect.bottom, rect.right - rect.left
            case _:
                left, top = rect.left - box.left, box.top - rect.top
                width, height = rect.right - rect.left, rect.top - rect.bottom
        return Area(*(side * self.unit for side in (left, top, width, height)))


def pages(document: Document) -> Iterator[Page]:
    """The pages in order, as far as the tree can be followed.

    Raises:
        PdfLimit: the tree is larger than any honest one.
    """
    waiting: list[tuple[PdfObject, Dictionary]] = [(document.catalog.get(b"Pages"), {})]
    seen: set[int] = set()
    steps = number = 0
    while waiting:
        steps += 1
        if steps > MAXIMUM_PAGES_WALKED:
            raise PdfLimit("the page tree is too large")
        node, inherited = waiting.pop()
        reference = node if isinstance(node, Ref) else None
        if reference is not None:
            if reference.number in seen:
                continue
            seen.add(reference.number)
        dictionary = document.resolve(node)
        if not isinstance(dictionary, dict):
            continue
        own = {key: dictionary[key] for key in _INHERITED if key in dictionary}
        attributes = {**inherited, **own}
        kids = document.resolve(dictionary.get(b"Kids"))
        if isinstance(kids, list) and dictionary.get(b"Type") != b"Page":
            waiting.extend((kid, attributes) for kid in reversed(kids))
        elif (
            dictionary.get(b"Type") == b"Page"
            or b"Contents" in dictionary
            or b"MediaBox" in dictionary
        ):
            number += 1
            yield _page(document, number, reference, dictionary, attributes)


def _page(
    document: Document,
    number: int,
    reference: Ref | None,
    dictionary: Dictionary,
    attributes: Dictionary,
) -> Page:
    media = rectangle(document, attributes.get(b"MediaBox")) or Rect(*_LETTER)
    crop = rectangle(document, attributes.get(b"CropBox")) or media
    shown = Rect(
        max(media.left, crop.left), max(media.bottom, crop.bottom),
        min(media.right, crop.right), min(media.top, crop.top),
    )  # fmt: skip
    if shown.left >= shown.right or shown.bottom >= shown.top:
        shown = media
    turned = real(document.resolve(attributes.get(b"Rotate"))) or 0.0
    unit = real(document.resolve(dictionary.get(b"UserUnit"))) or 1.0
    return Page(
        number=number,
        reference=reference,
        dictionary=dictionary,
        box=shown,
        rotation=round(turned / 90) * 90 % 360,
        unit=unit if unit > 0 else 1.0,
    )


def rectangle(document: Document, value: PdfObject) -> Rect | None:
    """A rectangle with its corners in order (7.9.5); None when it is none or empty."""
    found = [real(document.resolve(item)) for item in as_array(document.resolve(value))]
    corners = [item for item in found if item is not None]
    if len(found) != _CORNERS or len(corners) != _CORNERS:
        return None
    left, right = sorted((corners[0], corners[2]))
    bottom, top = sorted((corners[1], corners[3]))
    return Rect(left, bottom, right, top) if left < right and bottom < top else None


def real(value: PdfObject) -> float | None:
    """The value of a number, None for anything else or what no file can mean."""
    if isinstance(value, bool) or not isinstance(value, (int, Raw)):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if abs(found) < 1e7 else None  # noqa: PLR2004 - beyond any page, NaN too
