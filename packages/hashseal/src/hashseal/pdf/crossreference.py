"""Cross-references: where each object is (ISO 32000-2, 7.5.4 and 7.5.8), read only when asked.

A table of fixed entries is looked up by arithmetic, so that a file of 200,000 objects costs no more
to open than one of ten. What does not fit the rules raises, and the caller scans the file instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hashseal.pdf import filters
from hashseal.pdf.allowance import ENTRY, Allowance
from hashseal.pdf.objects import Dictionary, Stream, as_array, as_integer
from hashseal.pdf.syntax import SPACE, Buffer, Parser, indirect_object
from hashseal_core.errors import PdfError, PdfLimit, PdfMalformed

MAXIMUM_NUMBER = 8_388_607
MAXIMUM_SECTIONS = 4_096
MAXIMUM_SCANNED = 1_000_000
FREE, IN_USE, COMPRESSED = 0, 1, 2

_STARTXREF = re.compile(rb"startxref" + SPACE + rb"++(\d{1,19})")
_TABLE = re.compile(SPACE + rb"*+xref(?![A-Za-z])")
_SUBSECTION = re.compile(SPACE + rb"*+(\d{1,10})[ \t]++(\d{1,10})[ \t]*+(?:\r\n|\n|\r)")
_ENTRY = re.compile(rb"(\d{10}) (\d{5}) ([nf])")
_LOOSE_ENTRY = re.compile(
    SPACE + rb"*+(\d{1,19})[ \t]++(\d{1,10})[ \t]++([nf])[ \t]*+(?:\r\n|\n|\r)?"
)
_TRAILER = re.compile(SPACE + rb"*+trailer")
_OBJECT = re.compile(
    rb"(?<![0-9])(?P<number>\d{1,10})[\0\t\n\f\r ]++(?P<generation>\d{1,5})[\0\t\n\f\r ]++obj(?![A-Za-z])"  # noqa: E501
    rb"|(?P<stream>(?<!end)stream\r?\n)|(?P<trailer>trailer)"
)
_STRUCTURE = re.compile(rb"/(?:XRef|ObjStm|Catalog)(?![A-Za-z])")
_STRUCTURE_ROOM = 1 << 20
_TRAILER_ROOM = 1 << 20
_LENGTH = re.compile(rb"/Length[\0\t\n\f\r ]++(\d{1,12})(?![\0\t\n\f\r ]++\d{1,5}[\0\t\n\f\r ]++R)")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an object is: an offset and a generation, or an object stream and an index."""

    kind: int
    place: int
    detail: int


@dataclass(slots=True)
class Section:
    """One cross-reference section with its trailer."""

    trailer: Dictionary
    is_stream: bool
    ranges: list[tuple[int, int, int]] = field(default_factory=list)
    loose: dict[int, Entry] = field(default_factory=dict)
    rows: bytes = b""
    widths: tuple[int, int, int] = (0, 0, 0)
    hybrid: Section | None = None

    def top(self) -> int:
        """One more than the highest number this section speaks of."""
        numbers = [first + count for first, count, _ in self.ranges]
        numbers += [max(self.loose) + 1] if self.loose else []
        numbers += [self.hybrid.top()] if self.hybrid else []
        return max(numbers, default=0)

    def entry(self, buffer: Buffer, number: int) -> Entry | None:
        """The entry of an object number, if this section has one.

        Raises:
            PdfMalformed: the entry is not one.
        """
        found = self._own_entry(buffer, number)
        if self.hybrid is not None and (found is None or found.kind == FREE):
            return self.hybrid.entry(buffer, number) or found
        return found

    def _own_entry(self, buffer: Buffer, number: int) -> Entry | None:
        if self.loose:
            return self.loose.get(number)
        for first, count, start in self.ranges:
            if not first <= number < first + count:
                continue
            if self.is_stream:
                return self._row(start + number - first)
            match = _ENTRY.match(buffer, start + 20 * (number - first))
            if match is None:
                raise PdfMalformed("an entry of the cross-reference table is broken")
            kind = IN_USE if match[3] == b"n" else FREE
            return Entry(kind, int(match[1]), int(match[2]))
        return None

    def _row(self, index: int) -> Entry:
        one, two, three = self.widths
        start = index * (one + two + three)
        row = self.rows[start : start + one + two + three]
        if len(row) < one + two + three:
            return Entry(FREE, 0, 0)
        kind = int.from_bytes(row[:one], "big") if one else IN_USE
        place = int.from_bytes(row[one : one + two], "big")
        detail = int.from_bytes(row[one + two :], "big")
        return Entry(kind if kind <= COMPRESSED else FREE, place, detail)


@dataclass(slots=True)
class CrossReferences:
    """All sections, newest first; `last` is the offset of the newest, None when scanned."""

    sections: list[Section]
    last: int | None

    def entry(self, buffer: Buffer, number: int) -> Entry | None:
        """The newest entry of an object number.

        Raises:
            PdfMalformed: the entry is broken.
        """
        for section in self.sections:
            found = section.entry(buffer, number)
            if found is not None:
                return found
        return None

    def top(self) -> int:
        """A number that no object has, nor any higher one."""
        sizes = [as_integer(section.trailer.get(b"Size")) for section in self.sections]
        sizes = [size for size in sizes if 0 <= size <= MAXIMUM_NUMBER]
        return max(1, *sizes, *(section.top() for section in self.sections))

    def subsections(self) -> int:
        """How many pieces a look-up may have to look through."""
        return sum(1 + len(section.ranges) for section in self.sections)


def read(buffer: Buffer, base: int, allowance: Allowance) -> CrossReferences:
    """Follow the chain from the last startxref.

    Raises:
        PdfMalformed: the chain is broken.
        PdfLimit: it is longer than any honest one.
    """
    start = buffer.rfind(b"startxref")
    match = _STARTXREF.match(buffer, start) if start >= 0 else None
    if match is None:
        raise PdfMalformed("there is no startxref")
    last = int(match[1])
    sections: list[Section] = []
    seen: set[int] = set()
    offset = last
    while offset > 0 or not sections:
        if offset in seen:
            raise PdfMalformed("the cross-reference sections form a loop")
        if len(seen) >= MAXIMUM_SECTIONS:
            raise PdfLimit("there are too many cross-reference sections")
        seen.add(offset)
        section = _section(buffer, offset + base, allowance)
        hybrid = section.trailer.get(b"XRefStm")
        if not section.is_stream and isinstance(hybrid, int):
            section.hybrid = _stream_section(buffer, hybrid + base, allowance)
        sections.append(section)
        offset = as_integer(section.trailer.get(b"Prev"))
    return CrossReferences(sections, last)


def _section(buffer: Buffer, offset: int, allowance: Allowance) -> Section:
    if not 0 <= offset < len(buffer):
        raise PdfMalformed("a cross-reference offset is outside the file")
    match = _TABLE.match(buffer, offset)
    if match:
        return _table_section(buffer, match.end(), allowance)
    return _stream_section(buffer, offset, allowance)


def _table_section(buffer: Buffer, position: int, allowance: Allowance) -> Section:
    ranges: list[tuple[int, int, int]] = []
    loose: dict[int, Entry] = {}
    while True:
        trailer = _TRAILER.match(buffer, position)
        if trailer is not None:
            break
        match = _SUBSECTION.match(buffer, position)
        if match is None:
            raise PdfMalformed("the cross-reference table is broken")
        allowance.spend(ENTRY)
        first, count = int(match[1]), int(match[2])
        if first + count > MAXIMUM_NUMBER:
            raise PdfMalformed("the cross-reference table names impossible objects")
        end = match.end() + 20 * count
        fits = end <= len(buffer) and (
            count == 0 or (_ENTRY.match(buffer, match.end()) and _ENTRY.match(buffer, end - 20))
        )
        if fits and (_TRAILER.match(buffer, end) or _SUBSECTION.match(buffer, end)):
            ranges.append((first, count, match.end()))
            position = end
        else:
            position = _loose_entries(buffer, match.end(), range(first, first + count), loose)
            allowance.spend(ENTRY * len(loose))
    parser = Parser(buffer, trailer.end())
    dictionary = parser.value()
    if not isinstance(dictionary, dict):
        raise PdfMalformed("the trailer is not a dictionary")
    if loose:
        for first, count, start in ranges:
            _loose_entries(buffer, start, range(first, first + count), loose)
        allowance.spend(ENTRY * len(loose))
        ranges = []
    return Section(dictionary, is_stream=False, ranges=ranges, loose=loose)


def _loose_entries(buffer: Buffer, position: int, numbers: range, loose: dict[int, Entry]) -> int:
    for number in numbers:
        match = _LOOSE_ENTRY.match(buffer, position)
        if match is None:
            break
        if len(loose) >= MAXIMUM_SCANNED:
            raise PdfLimit("the cross-reference table has too many entries out of shape")
        loose[number] = Entry(IN_USE if match[3] == b"n" else FREE, int(match[1]), int(match[2]))
        position = match.end()
    return position


def _stream_section(buffer: Buffer, offset: int, allowance: Allowance) -> Section:
    found = indirect_object(buffer, offset, allowance)
    if not isinstance(found.value, Stream) or found.value.dictionary.get(b"Type") != b"XRef":
        raise PdfMalformed("there is no cross-reference section where one should be")
    dictionary = found.value.dictionary
    widths = [as_integer(width, -1) for width in as_array(dictionary.get(b"W"))]
    if len(widths) < 3 or any(not 0 <= width <= 8 for width in widths[:3]):  # noqa: PLR2004
        raise PdfMalformed("the cross-reference stream has impossible widths")
    rows = filters.decode(found.value, found.value.raw, allowance)
    index = [as_integer(item, -1) for item in as_array(dictionary.get(b"Index"))]
    index = index or [0, as_integer(dictionary.get(b"Size"))]
    ranges = []
    row = 0
    for first, count in zip(index[::2], index[1::2], strict=False):
        if first < 0 or count < 0 or first + count > MAXIMUM_NUMBER:
            raise PdfMalformed("the cross-reference stream names impossible objects")
        allowance.spend(ENTRY)
        ranges.append((first, count, row))
        row += count
    return Section(
        dictionary,
        is_stream=True,
        ranges=ranges,
        rows=rows,
        widths=(widths[0], widths[1], widths[2]),
    )


@dataclass(slots=True)
class Scan:
    """What a scan of the whole file found: the last offset of each number, and trailers.

    `dictionaries` are those objects, by number, that a file's structure begins with: catalogs,
    object streams, cross-reference streams.
    """

    entries: dict[int, Entry]
    trailers: list[Dictionary]
    dictionaries: dict[int, Dictionary]


def scan(buffer: Buffer, base: int) -> Scan:
    """Find all objects by their headers, for files whose cross-references are broken.

    Raises:
        PdfLimit: there are more objects than a broken file may have.
    """
    entries: dict[int, Entry] = {}
    trailers: list[Dictionary] = []
    bodies: dict[int, tuple[int, int]] = {}
    position = header_end = number = 0
    while (match := _OBJECT.search(buffer, position)) is not None:
        position = match.end()
        if match["number"] is not None:
            _close(bodies, number, match.start())
            number, header_end = int(match["number"]), position
            if 0 < number < MAXIMUM_NUMBER:
                place = match.start() - base
                entries[number] = Entry(IN_USE, place, int(match["generation"]))
                bodies[number] = (header_end, len(buffer))
            if len(entries) > MAXIMUM_SCANNED:
                raise PdfLimit("the file's cross-references are broken, and it has many objects")
        elif match["stream"] is not None:
            position = _skip_stream(buffer, header_end, match.start(), match.end())
        else:
            _close(bodies, number, match.start())
            if found := _dictionary(buffer, position, min(len(buffer), position + _TRAILER_ROOM)):
                trailers.append(found)
    found_there = {
        number: found
        for number, (start, end) in bodies.items()
        if _STRUCTURE.search(buffer, start, min(end, start + _STRUCTURE_ROOM))
        and (found := _dictionary(buffer, start, end))
    }
    return Scan(entries, trailers, found_there)


def _close(bodies: dict[int, tuple[int, int]], number: int, end: int) -> None:
    """The text of the last object ends where the next one begins: no octet is read twice."""
    if number in bodies and bodies[number][1] > end > bodies[number][0]:
        bodies[number] = (bodies[number][0], end)


def _dictionary(buffer: Buffer, start: int, end: int) -> Dictionary | None:
    try:
        value = Parser(buffer, start, end).value()
    except PdfError:
        return None
    return value if isinstance(value, dict) else None


def _skip_stream(buffer: Buffer, header: int, keyword: int, start: int) -> int:
    lengths = _LENGTH.findall(buffer[header:keyword]) if keyword - header < 1 << 16 else []
    if len(lengths) == 1:
        end = start + int(lengths[0])
        if end <= len(buffer) and buffer.find(b"endstream", end, end + 16) >= 0:
            return end
    end = buffer.find(b"endstream", start)
    return start if end < 0 else end
