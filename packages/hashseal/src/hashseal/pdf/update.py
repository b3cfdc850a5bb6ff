"""Builds an incremental update (ISO 32000-2, 7.5.6): new bytes after the file, none changed.

The cross-reference section has the form of the file's last one. After a repair it covers all
objects and has no /Prev, so that readers need nothing of what was broken.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from hashseal.pdf.crossreference import COMPRESSED, FREE, IN_USE, MAXIMUM_NUMBER, Entry
from hashseal.pdf.document import Document
from hashseal.pdf.objects import (
    Dictionary,
    Name,
    PdfObject,
    Raw,
    Ref,
    Stream,
    String,
    as_array,
    write,
)
from hashseal_core.errors import PdfLimit

_NOT_COPIED = frozenset(
    {
        b"Prev",
        b"XRefStm",
        b"Size",
        b"Type",
        b"W",
        b"Index",
        b"Filter",
        b"DecodeParms",
        b"Length",
        b"ID",
    }
)
_TABLE_LIMIT = 10**10


@dataclass(frozen=True, slots=True)
class Appendix:
    """The bytes to append, and where in the file each object that was written begins."""

    octets: bytes
    offsets: dict[int, int]


class Update:
    """Collects new and changed objects of a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._next = 0
        self._objects: dict[int, tuple[int, PdfObject]] = {}

    def add(self, value: PdfObject) -> Ref:
        """A new object.

        Raises:
            PdfLimit: there is no number left.
        """
        reference = self.reserve()
        self._objects[reference.number] = (0, value)
        return reference

    def reserve(self) -> Ref:
        """A number for an object that `put` gives later.

        Raises:
            PdfLimit: there is no number left.
        """
        self._next = self._size() + 1
        if self._next > MAXIMUM_NUMBER:
            raise PdfLimit("the file has no object number left")
        return Ref(self._next - 1)

    def _size(self) -> int:
        """A number that no object has, nor any higher one; a repair on the way may find more."""
        document = self.document
        if document.repaired:
            return max(self._next, max(document.scanned, default=0) + 1)
        return self._next or document.references.top()

    def put(self, reference: Ref, value: PdfObject) -> None:
        """Write an object again, under the number and generation it has."""
        entry = self.document.entry(reference.number)
        generation = entry.detail if entry is not None and entry.kind == IN_USE else 0
        self._objects[reference.number] = (generation, value)

    def value(self, value: PdfObject) -> PdfObject:
        """What a reference leads to in this update."""
        if isinstance(value, Ref) and value.number in self._objects:
            return self._objects[value.number][1]
        return self.document.resolve(value)

    @property
    def empty(self) -> bool:
        """Nothing was changed."""
        return not self._objects

    def render(self, identifier: bytes) -> Appendix:
        """The bytes; `identifier` becomes the second half of /ID.

        Raises:
            PdfLimit: the file is too long for its form of cross-references.
        """
        document = self.document
        start = len(document.buffer)
        found = bytearray()
        if document.buffer[start - 1 : start] != b"\n":
            found += b"\n"
        offsets: dict[int, int] = {}
        entries: dict[int, Entry] = dict(document.scanned) if document.repaired else {}
        for number, (generation, value) in sorted(self._objects.items()):
            offsets[number] = start + len(found)
            entries[number] = Entry(IN_USE, offsets[number] - document.base, generation)
            body = write(self._encrypted(value, number, generation))
            found += b"%d %d obj\n%b\nendobj\n" % (number, generation, body)
        here = start + len(found) - document.base
        if here >= _TABLE_LIMIT:
            raise PdfLimit("the file is too long")
        trailer = self._trailer(identifier)
        if self._as_stream(entries):
            found += self._stream_section(entries, trailer, here)
        else:
            trailer[b"Size"] = self._size()
            found += _table_section(entries, complete=document.repaired)
            found += b"trailer\n" + write(trailer)
        found += b"\nstartxref\n%d\n%%%%EOF\n" % here
        return Appendix(bytes(found), offsets)

    def _as_stream(self, entries: dict[int, Entry]) -> bool:
        if self.document.repaired:
            return any(entry.kind == COMPRESSED for entry in entries.values())
        return self.document.references.sections[0].is_stream

    def _trailer(self, identifier: bytes) -> Dictionary:
        document = self.document
        trailer = {key: value for key, value in document.trailer.items() if key not in _NOT_COPIED}
        stored = as_array(document.resolve(document.trailer.get(b"ID")))
        first = stored[0] if stored and isinstance(stored[0], String) else None
        if first is not None:
            trailer[b"ID"] = [
                String(first.value, hexadecimal=True),
                String(identifier, hexadecimal=True),
            ]
        elif b"Encrypt" not in trailer:
            trailer[b"ID"] = [String(identifier, hexadecimal=True)] * 2
        if not document.repaired:
            trailer[b"Prev"] = document.references.last
        return trailer

    def _stream_section(self, entries: dict[int, Entry], trailer: Dictionary, here: int) -> bytes:
        number = self._size()
        rows = {**entries, number: Entry(IN_USE, here, 0)}
        if self.document.repaired:
            rows[0] = Entry(FREE, 0, 65535)
        width = max(4, (here.bit_length() + 7) // 8)
        index: list[PdfObject] = []
        packed = bytearray()
        for first, count in _runs(sorted(rows)):
            index += [first, count]
            for item in range(first, first + count):
                row = rows[item]
                packed += bytes([row.kind]) + row.place.to_bytes(width, "big")
                packed += min(row.detail, 65535).to_bytes(2, "big")
        trailer |= {
            b"Type": Name(b"XRef"), b"Size": number + 1, b"W": [1, width, 2], b"Index": index,
            b"Filter": Name(b"FlateDecode"),
        }  # fmt: skip
        body = write(Stream(trailer, zlib.compress(bytes(packed))))
        return b"%d 0 obj\n%b\nendobj" % (number, body)

    def _encrypted(self, value: PdfObject, number: int, generation: int) -> PdfObject:
        handler = self.document.handler
        if handler is None:
            return value
        match value:
            case String() if not value.clear:
                return String(
                    handler.encrypt_string(value.value, number, generation), hexadecimal=True
                )
            case list():
                return [self._encrypted(item, number, generation) for item in value]
            case dict():
                return {
                    key: self._encrypted(item, number, generation) for key, item in value.items()
                }
            case Stream():
                dictionary = self._encrypted(value.dictionary, number, generation)
                raw = handler.encrypt_stream(value.raw, number, generation)
                return Stream(dictionary if isinstance(dictionary, dict) else {}, raw)
            case _:
                return value


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][0] + runs[-1][1] == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs


def _table_section(entries: dict[int, Entry], *, complete: bool) -> bytes:
    rows = {**entries, 0: Entry(FREE, 0, 65535)} if complete else entries
    found = bytearray(b"xref\n")
    for first, count in _runs(sorted(rows)):
        found += b"%d %d\n" % (first, count)
        for number in range(first, first + count):
            row = rows[number]
            letter = b"f" if row.kind == FREE else b"n"
            found += b"%010d %05d %b \n" % (row.place, min(row.detail, 65535), letter)
    return bytes(found)


def placeholder(digits: int) -> Raw:
    """Room for a hexadecimal string of this many digits."""
    return Raw(b"<" + b"0" * digits + b">")
