"""What a file holds that makes a signature on it mean less than it seems.

A signature covers octets. What runs, what is fetched, what may be shown or hidden later and what a
reader draws with a font of its own is not in them. Found here, judged by whoever signs: this module
refuses nothing but files that cannot be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, TypeAlias

from hashseal.pdf.document import Document, opened
from hashseal.pdf.objects import (
    Dictionary,
    PdfObject,
    Ref,
    Stream,
    as_array,
    as_dictionary,
    as_integer,
)
from hashseal.pdf.pages import Rect, rectangle
from hashseal_core.errors import PdfLimit, PdfMalformed

MAXIMUM_STEPS = 2_000_000
_FRESH = 20  # steps that something costs when it is met for the first time in its part
_LITTLE = 4  # likewise of what is only read, which the document's own allowance pays for too
_READ: frozenset[str] = frozenset({"drawing", "resources"})
_PAGE = 6
_HIDDEN = 0b100010  # Hidden and NoView (ISO 32000-2, table 167)
_COVERING = frozenset({b"Widget", b"FreeText", b"Stamp", b"Square", b"Circle", b"Polygon"})
_MAXIMUM_COVERING = 300  # of one page, each held against each
_MAXIMUM_OBJECTS = 10_000  # a file with more is not searched for pages out of reach
_MOVING = frozenset({b"RichMedia", b"3D", b"Screen", b"Movie", b"Sound"})
_FONT_FILES = (b"FontFile", b"FontFile2", b"FontFile3")
_IN_MEMORY = 1 << 20
_MAXIMUM_ABOVE = 32  # nodes of the page tree from which resources are inherited

_Part: TypeAlias = Literal[
    "action",
    "annotation",
    "attached",
    "bookmark",
    "drawing",
    "field",
    "file",
    "font",
    "resources",
    "script",
    "step",
]
"""What an object was followed as; one object may play several parts, and is followed in each."""


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
    b"Movie": Kind.MULTIMEDIA,
    b"Sound": Kind.MULTIMEDIA,
    b"RichMediaExecute": Kind.MULTIMEDIA,
    b"SetOCGState": Kind.HIDDEN,
    b"Hide": Kind.HIDDEN,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """How often something was found, and where first (page from 1, None: not on a page)."""

    kind: Kind
    count: int
    page: int | None

    @property
    def words(self) -> str:
        """The finding for a person, such as `javascript (2, first on page 3)`."""
        where = "" if self.page is None else f", first on page {self.page}"
        return f"{self.kind} ({self.count}{where})"


def preflight(source: Path, password: str | None = None) -> tuple[Finding, ...]:
    """Everything that was found, one entry for each kind.

    Where an object is broken, some readers take the file as its cross-references have it, others as
    a scan finds it: both are searched, and the more that was found of a kind is told.

    Raises:
        PdfError: the file cannot be read.
        InputUnreadable: likewise.
    """
    with opened(source, password, in_memory=_IN_MEMORY) as document:
        document.mends = False
        views = [list(_Search(document).all())]
        if document.broken and not document.repaired:
            document.repair()
            views.append(list(_Search(document).all()))
        first: dict[Kind, int | None] = {}
        counts: Counter[Kind] = Counter()
        for view in views:
            counts |= Counter(kind for kind, _ in view)
            for kind, page in view:
                first.setdefault(kind, page)
        return tuple(Finding(kind, counts[kind], first[kind]) for kind in Kind if kind in counts)


class _Search:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._seen: set[tuple[_Part, int]] = set()
        self._steps = 0

    def all(self) -> Iterator[tuple[Kind, int | None]]:
        reached = set()
        for number, (reference, page) in enumerate(self._document.pages(), 1):
            if reference is not None:
                reached.add(reference.number)
            for kind in self._page(page):
                yield kind, number
        for kind in self._catalog():
            yield kind, None
        for kind in self._out_of_reach(reached):
            yield kind, None

    def _dictionary(self, value: PdfObject) -> Dictionary:
        return as_dictionary(self._document.resolve(value))

    def _array(self, value: PdfObject) -> list[PdfObject]:
        return as_array(self._document.resolve(value))

    def _glimpse(self, value: PdfObject) -> PdfObject:
        """An object that may be a stream, whose octets are not read; null if it cannot be read."""
        try:
            found = self._document.glance(value.number) if isinstance(value, Ref) else value
            return self._document.resolve(found)
        except PdfMalformed:  # of what is only drawn: no reason to refuse the document
            return None

    def _new(self, value: PdfObject, part: _Part) -> bool:
        """Not a reference that was followed before in this part; everything is paid for.

        Raises:
            PdfLimit: the file has more than any honest one.
        """
        if not isinstance(value, Ref):
            self._pay(_FRESH)
            return True
        if (part, value.number) in self._seen:
            self._pay(1)
            return False
        self._pay(_LITTLE if part in _READ else _FRESH)
        self._seen.add((part, value.number))
        return True

    def _pay(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAXIMUM_STEPS:
            raise PdfLimit("the file has too many pages, actions, annotations, bookmarks and fonts")

    def _linked(
        self, part: _Part, start: PdfObject, *links: bytes
    ) -> Iterator[tuple[PdfObject, Dictionary]]:
        """What is reached over these links, each once: as it is referred to, and what it is."""
        waiting = [start]
        while waiting:
            value = waiting.pop()
            if value is None or not (isinstance(value, list) or self._new(value, part)):
                continue
            found = self._document.resolve(value)
            if isinstance(found, list):
                self._pay(1 + len(found))  # before they are held
                waiting += reversed(found)
                continue
            item = as_dictionary(found)
            yield value, item
            waiting += [item.get(link) for link in links]

    def _catalog(self) -> Iterator[Kind]:
        catalog = self._document.catalog
        yield from self._triggers(catalog, b"OpenAction")
        yield from self._files(catalog)
        names = self._dictionary(catalog.get(b"Names"))
        if self._names_something("script", names.get(b"JavaScript")):
            yield Kind.JAVASCRIPT
        if self._names_something("attached", names.get(b"EmbeddedFiles")):
            yield Kind.ATTACHMENT
        form = self._dictionary(catalog.get(b"AcroForm"))
        if b"XFA" in form:
            yield Kind.XFA
        layers = self._dictionary(catalog.get(b"OCProperties"))
        if self._array(layers.get(b"OCGs")):
            yield Kind.HIDDEN
        for field, found in self._linked("field", form.get(b"Fields"), b"Kids"):
            if self._new(field, "annotation"):  # its widget may have been met on a page
                yield from self._triggers(found, b"A")
        if self._document.resolve(form.get(b"NeedAppearances")) is True:
            yield from self._drawn({b"Resources": form.get(b"DR")})
        for _, bookmark in self._linked("bookmark", catalog.get(b"Outlines"), b"Next", b"First"):
            yield from self._triggers(bookmark, b"A")

    def _names_something(self, part: _Part, tree: PdfObject) -> bool:
        """Whether a name tree has an entry (7.9.6): writers leave empty ones behind."""
        nodes = self._linked(part, tree, b"Kids")
        return any(self._array(node.get(b"Names")) for _, node in nodes)

    def _page(self, page: Dictionary) -> Iterator[Kind]:
        self._pay(_PAGE)
        yield from self._triggers(page)
        for _, step in self._linked("step", page.get(b"PresSteps"), b"Next", b"Prev"):
            yield from self._triggers(step, b"NA", b"PA")
        covering = []
        for item in self._array(page.get(b"Annots")):
            if self._new(item, "annotation"):
                annotation = self._dictionary(item)
                yield from self._annotation(annotation)
                covering += self._covers(annotation)
        for number, one in enumerate(covering[:_MAXIMUM_COVERING]):
            if any(_overlap(one, other) for other in covering[:number]):
                yield Kind.HIDDEN
        drawn: list[PdfObject] = []
        yield from self._with_resources({**page, b"Resources": self._inherited(page)}, drawn)
        yield from self._drawn(*drawn)

    def _covers(self, annotation: Dictionary) -> list[Rect]:
        """The box of an annotation that is drawn and may stand over another."""
        kind = self._document.resolve(annotation.get(b"Subtype"))
        flags = as_integer(self._document.resolve(annotation.get(b"F")))
        if kind not in _COVERING or b"AP" not in annotation or flags & _HIDDEN:
            return []
        box = rectangle(self._document, annotation.get(b"Rect"))
        return [] if box is None else [box]

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
                if self._document.plainly_lacks(number, b"/Page"):
                    continue
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
        if self._is_scripted(annotation):
            yield Kind.JAVASCRIPT
        if kind == b"FileAttachment":
            yield Kind.ATTACHMENT
        flags = as_integer(self._document.resolve(annotation.get(b"F")))
        if flags & _HIDDEN and kind not in {b"Popup", b"Widget"}:
            yield Kind.HIDDEN
        yield from self._files(annotation)
        yield from self._triggers(annotation, b"A")
        for value in self._dictionary(annotation.get(b"AP")).values():
            found = self._glimpse(value)
            drawings = [value] if isinstance(found, Stream) else as_dictionary(found).values()
            yield from self._drawn(*drawings)

    def _is_scripted(self, annotation: Dictionary) -> bool:
        """A script comes with a model (13.6.3.2) or with rich media (13.7.2.2.2)."""
        model = as_dictionary(self._glimpse(annotation.get(b"3DD")))
        if b"3DD" in model:  # a reference dictionary (13.6.3.3)
            model = as_dictionary(self._glimpse(model[b"3DD"]))
        settings = self._dictionary(annotation.get(b"RichMediaSettings"))
        activation = self._dictionary(settings.get(b"Activation"))
        return b"OnInstantiate" in model or bool(self._array(activation.get(b"Scripts")))

    def _files(self, owner: Dictionary) -> Iterator[Kind]:
        """The associated files of one object (14.13)."""
        for value in self._array(owner.get(b"AF")):
            if self._new(value, "file"):
                yield Kind.ATTACHMENT

    def _triggers(self, owner: Dictionary, *names: bytes) -> Iterator[Kind]:
        """The actions of one object: its own, and those of its events (12.6.3)."""
        waiting = [owner.get(name) for name in names]
        waiting += self._dictionary(owner.get(b"AA")).values()
        while waiting:
            value = waiting.pop()
            if value is None or not self._new(value, "action"):
                continue
            action = self._document.resolve(value)
            if isinstance(action, list):  # several, or a destination
                waiting += [item for item in action if isinstance(item, Ref | dict)]
                continue
            described = as_dictionary(action)
            found = self._document.resolve(described.get(b"S"))
            if isinstance(found, bytes) and bytes(found) in _ACTIONS:
                yield _ACTIONS[bytes(found)]
            if found == b"Rendition" and b"JS" in described:
                yield Kind.JAVASCRIPT
            if found is not None and b"Next" in described:
                waiting.append(described[b"Next"])

    def _inherited(self, page: Dictionary) -> PdfObject:
        """The resources of a page, or of the nearest node above that has some."""
        above = page
        for _ in range(_MAXIMUM_ABOVE):
            if b"Resources" in above or b"Parent" not in above:
                break
            above = self._dictionary(above[b"Parent"])
        return above.get(b"Resources")

    def _drawn(self, *start: PdfObject) -> Iterator[Kind]:
        """Fonts and files of what is drawn and of all that it is drawn with, however deep.

        Forms, patterns, soft masks and the glyphs of Type 3 fonts have resources of their own.
        """
        waiting = list(start)
        while waiting:
            value = waiting.pop()
            if value is None or not self._new(value, "drawing") or self._is_plain(value):
                continue
            yield from self._with_resources(as_dictionary(self._glimpse(value)), waiting)

    def _is_plain(self, value: PdfObject) -> bool:
        """Seen without reading it that it has neither resources nor files, as most images."""
        try:
            return isinstance(value, Ref) and self._document.plainly_lacks(
                value.number, b"/Resources", b"/AF"
            )
        except PdfMalformed:
            return False

    def _with_resources(self, drawing: Dictionary, waiting: list[PdfObject]) -> Iterator[Kind]:
        """Fonts and files of one drawing; what it is drawn with is added to what waits."""
        yield from self._files(drawing)
        stored = drawing.get(b"Resources")
        if isinstance(stored, Ref) and not self._new(stored, "resources"):
            return
        resources = self._dictionary(stored)
        states = [self._dictionary(one) for one in self._entries(resources, b"ExtGState")]
        fonts = list(self._entries(resources, b"Font"))
        for state in states:
            fonts += self._array(state.get(b"Font"))[:1]
            waiting.append(self._dictionary(state.get(b"SMask")).get(b"G"))
        for font in fonts:
            if self._new(font, "font"):
                described = self._dictionary(font)
                if not self._is_embedded(described):
                    yield Kind.FONT
                waiting += [described] if b"Resources" in described else []
        for marked in self._entries(resources, b"Properties"):
            yield from self._files({b"AF": self._dictionary(marked).get(b"MCAF")})
        waiting += self._entries(resources, b"XObject")
        waiting += self._entries(resources, b"Pattern")

    def _entries(self, resources: Dictionary, category: bytes) -> Iterator[PdfObject]:
        """What resources name in one category."""
        for value in self._dictionary(resources.get(category)).values():
            self._pay(1)
            yield value

    def _is_embedded(self, font: Dictionary) -> bool:
        kind = self._document.resolve(font.get(b"Subtype"))
        if kind == b"Type0":
            below = self._array(font.get(b"DescendantFonts"))
            font = self._dictionary(below[0]) if below else {}
        if kind == b"Type3" or not font:
            return True
        descriptor = self._dictionary(font.get(b"FontDescriptor"))
        return any(name in descriptor for name in _FONT_FILES)


def _overlap(one: Rect, other: Rect) -> bool:
    """By more than a border: a point in both directions."""
    wide = min(one.right, other.right) - max(one.left, other.left)
    high = min(one.top, other.top) - max(one.bottom, other.bottom)
    return wide > 1 and high > 1
