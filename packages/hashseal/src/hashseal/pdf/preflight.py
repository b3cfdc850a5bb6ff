"""What a file holds that makes a signature on it mean less than it seems.

A signature covers octets. What runs, what is fetched, what may be shown or hidden later and what a
reader draws with a font of its own is not in them. Found here, judged by whoever signs: this module
refuses nothing but files that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from hashseal.pdf import form
from hashseal.pdf.document import Document, opened
from hashseal.pdf.objects import (
    Dictionary,
    PdfObject,
    Ref,
    as_array,
    as_dictionary,
    as_integer,
)
from hashseal_core.errors import PdfLimit, PdfMalformed

MAXIMUM_ACTIONS = 100_000
_HIDDEN = 0b100010  # Hidden and NoView (ISO 32000-2, table 167)
_COVERING = frozenset({b"Widget", b"FreeText", b"Stamp", b"Square", b"Circle", b"Polygon"})
_MAXIMUM_COVERING = 300  # of one page, each held against each
_MAXIMUM_OBJECTS = 10_000  # a file with more is not searched for pages out of reach
_MOVING = frozenset({b"RichMedia", b"3D", b"Screen", b"Movie", b"Sound"})
_FONT_FILES = (b"FontFile", b"FontFile2", b"FontFile3")


_Box: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right, top; points."""


class Kind(StrEnum):
    """Kinds of findings, by their names in policies and reports."""

    JAVASCRIPT = "javascript"
    LAUNCH = "launch-action"
    XFA = "xfa"
    SUBMIT = "submit-action"
    MULTIMEDIA = "multimedia"
    HIDDEN = "hidden-content"
    ATTACHMENT = "embedded-file"
    FONT = "font-not-embedded"


_ACTIONS: dict[bytes, Kind] = {
    b"JavaScript": Kind.JAVASCRIPT,
    b"Launch": Kind.LAUNCH,
    b"ImportData": Kind.LAUNCH,
    b"SubmitForm": Kind.SUBMIT,
    b"Rendition": Kind.MULTIMEDIA,
    b"SetOCGState": Kind.HIDDEN,
    b"Hide": Kind.HIDDEN,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """How often something was found, and where first (page from 1, None: not on a page)."""

    kind: Kind
    count: int
    page: int | None


def preflight(source: Path, password: str | None = None) -> tuple[Finding, ...]:
    """Everything that was found, one entry for each kind.

    Raises:
        PdfError: the file cannot be read.
        InputUnreadable: likewise.
    """
    with opened(source, password) as document:
        first: dict[Kind, int | None] = {}
        counts: dict[Kind, int] = {}
        for kind, page in _Search(document).all():
            first.setdefault(kind, page)
            counts[kind] = counts.get(kind, 0) + 1
        return tuple(Finding(kind, counts[kind], first[kind]) for kind in Kind if kind in counts)


class _Search:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._seen: set[int] = set()
        self._steps = 0

    def all(self) -> Iterator[tuple[Kind, int | None]]:
        for kind in self._catalog():
            yield kind, None
        reached = set()
        for number, (reference, page) in enumerate(self._document.pages(), 1):
            if reference is not None:
                reached.add(reference.number)
            for kind in self._page(page):
                yield kind, number
        for kind in self._out_of_reach(reached):
            yield kind, None

    def _dictionary(self, value: PdfObject) -> Dictionary:
        return as_dictionary(self._document.resolve(value))

    def _array(self, value: PdfObject) -> list[PdfObject]:
        return as_array(self._document.resolve(value))

    def _new(self, value: PdfObject) -> bool:
        """Not a reference that was followed before; everything is paid for.

        Raises:
            PdfLimit: the file has more than any honest one.
        """
        self._steps += 1
        if self._steps > MAXIMUM_ACTIONS:
            raise PdfLimit("the file has too many actions, annotations and fonts")
        if not isinstance(value, Ref):
            return True
        fresh = value.number not in self._seen
        self._seen.add(value.number)
        return fresh

    def _catalog(self) -> Iterator[Kind]:
        catalog = self._document.catalog
        yield from self._triggers(catalog, b"OpenAction")
        names = self._dictionary(catalog.get(b"Names"))
        if self._dictionary(names.get(b"JavaScript")):
            yield Kind.JAVASCRIPT
        if self._dictionary(names.get(b"EmbeddedFiles")):
            yield Kind.ATTACHMENT
        if b"XFA" in self._dictionary(catalog.get(b"AcroForm")):
            yield Kind.XFA
        layers = self._dictionary(catalog.get(b"OCProperties"))
        if self._array(layers.get(b"OCGs")):
            yield Kind.HIDDEN
        for field in form.fields(self._document):
            yield from self._triggers(field.dictionary, b"A")

    def _page(self, page: Dictionary) -> Iterator[Kind]:
        yield from self._triggers(page, b"")
        covering = []
        for item in self._array(page.get(b"Annots")):
            if self._new(item):
                annotation = self._dictionary(item)
                yield from self._annotation(annotation)
                covering += self._covers(annotation)
        for number, one in enumerate(covering[:_MAXIMUM_COVERING]):
            if any(_overlap(one, other) for other in covering[:number]):
                yield Kind.HIDDEN
        yield from self._fonts(page)

    def _covers(self, annotation: Dictionary) -> list[_Box]:
        """The box of an annotation that is drawn and may stand over another."""
        kind = self._document.resolve(annotation.get(b"Subtype"))
        flags = as_integer(self._document.resolve(annotation.get(b"F")))
        box = [self._document.resolve(one) for one in self._array(annotation.get(b"Rect"))]
        sides = [float(one) for one in box if isinstance(one, int | float)]
        drawn = kind in _COVERING and b"AP" in annotation and not flags & _HIDDEN
        if not drawn or len(sides) != 4:  # noqa: PLR2004 - left, bottom, right, top
            return []
        (left, right), (bottom, top) = sorted(sides[0::2]), sorted(sides[1::2])
        return [(left, bottom, right, top)]

    def _out_of_reach(self, reached: set[int]) -> Iterator[Kind]:
        """Pages that an update could bring in the place of those that are shown.

        Last of all, and only as far as the allowance goes: what is out of reach costs no refusal.
        """
        references, repaired = self._document.references, self._document.scanned
        top = references.top() if references.sections else 1
        if max(top, len(repaired)) > _MAXIMUM_OBJECTS:
            return
        numbers = {*range(1, top), *repaired}
        for number in sorted(numbers - reached):
            try:
                found = self._document.glance(number)
            except PdfMalformed:  # nothing reaches it, so it is no fault of the document
                continue
            except PdfLimit:  # all that counts was read before
                return
            if isinstance(found, dict) and found.get(b"Type") == b"Page":
                yield Kind.HIDDEN

    def _annotation(self, annotation: Dictionary) -> Iterator[Kind]:
        kind = self._document.resolve(annotation.get(b"Subtype"))
        if kind in _MOVING:
            yield Kind.MULTIMEDIA
        if kind == b"FileAttachment":
            yield Kind.ATTACHMENT
        flags = as_integer(self._document.resolve(annotation.get(b"F")))
        if flags & _HIDDEN and kind not in {b"Popup", b"Widget"}:
            yield Kind.HIDDEN
        yield from self._triggers(annotation, b"A")

    def _triggers(self, owner: Dictionary, name: bytes) -> Iterator[Kind]:
        """The actions of one object: its own, and those of its events (12.6.3)."""
        waiting = [owner.get(name), *self._dictionary(owner.get(b"AA")).values()]
        while waiting:
            value = waiting.pop()
            if value is None or not self._new(value):
                continue
            action = self._document.resolve(value)
            if isinstance(action, list):  # several, or a destination
                waiting += [item for item in action if isinstance(item, Ref | dict)]
                continue
            described = as_dictionary(action)
            found = self._document.resolve(described.get(b"S"))
            if isinstance(found, bytes) and bytes(found) in _ACTIONS:
                yield _ACTIONS[bytes(found)]
            if found is not None and b"Next" in described:
                waiting.append(described[b"Next"])

    def _fonts(self, page: Dictionary) -> Iterator[Kind]:
        resources = page.get(b"Resources")
        above, depth = page, 0
        while resources is None and b"Parent" in above and depth < 32:  # noqa: PLR2004 - inherited
            above, depth = self._dictionary(above[b"Parent"]), depth + 1
            resources = above.get(b"Resources")
        if isinstance(resources, Ref) and not self._new(resources):
            return
        for value in self._dictionary(self._dictionary(resources).get(b"Font")).values():
            if self._new(value) and not self._embedded(self._dictionary(value)):
                yield Kind.FONT

    def _embedded(self, font: Dictionary) -> bool:
        kind = self._document.resolve(font.get(b"Subtype"))
        if kind == b"Type3" or not font:
            return True
        if kind == b"Type0":
            below = self._array(font.get(b"DescendantFonts"))[:1]
            return all(self._embedded(self._dictionary(one)) for one in below)
        descriptor = self._dictionary(font.get(b"FontDescriptor"))
        return any(name in descriptor for name in _FONT_FILES)


def _overlap(one: _Box, other: _Box) -> bool:
    """By more than a border: a point in both directions."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide > 1 and high > 1
