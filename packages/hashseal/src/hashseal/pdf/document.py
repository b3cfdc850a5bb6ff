"""A PDF file as a lazily read set of objects; nothing is held that was not asked for.

A file whose cross-references are broken is scanned; then `repaired` is true and the next update
must carry cross-references for all objects.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

from hashseal.pdf import crossreference, encryption, filters
from hashseal.pdf.allowance import TOKEN, Allowance
from hashseal.pdf.crossreference import COMPRESSED, IN_USE, CrossReferences, Entry
from hashseal.pdf.objects import (
    Dictionary,
    Name,
    PdfObject,
    Ref,
    Stream,
    String,
    as_array,
    as_dictionary,
    as_integer,
)
from hashseal.pdf.syntax import Buffer, Parser, indirect_object
from hashseal_core.errors import (
    InputUnreadable,
    PdfError,
    PdfLimit,
    PdfMalformed,
)

MAXIMUM_CHAIN = 32
MAXIMUM_PAGES_WALKED = 1_000_000
_HEADER_WITHIN = 1 << 16
_CACHED_OCTETS = 32 << 20
_IN_MEMORY = 64 << 20
_NUMBERS = re.compile(rb"\d{1,10}")
_VERSION = re.compile(rb"%PDF-(\d\.\d)")
_PLAIN_WITHIN = 1 << 12
_WORD = rb"[\0\t\n\f\r ]++|/[A-Za-z0-9._+*,:-]++|[-+]?[0-9.]++|(?:R|true|false|null)(?![A-Za-z])"


def _nested(inner: bytes) -> bytes:
    return rb"\[(?:%b)*+\]|<<(?:%b)*+>>" % (inner, inner)


_PLAIN = re.compile(  # arrays and dictionaries, three deep, of names, numbers and references
    rb"\d{1,10} \d{1,5} obj[\t\n\r ]*+(?:%b)[\t\n\r ]*+(?:endobj|stream)"
    % _nested(rb"%b|%b" % (_WORD, _nested(rb"%b|%b" % (_WORD, _nested(_WORD)))))
)


class Document:
    """The newest revision of a file.

    An object that is broken has the file scanned, once, and all is as the scan found it from then
    on. While `mends` is false it is null instead, as are references that form a loop, and `broken`
    says that there was one.

    Raises:
        PdfMalformed: it is not a PDF that can be read.
        PdfPasswordRequired: it is encrypted and the password does not open it.
        PdfEncryptionUnsupported: it is encrypted in another way.
        PdfLimit: it exceeds a limit.
    """

    def __init__(self, buffer: Buffer, password: str | None = None) -> None:
        self.buffer = buffer
        self.handler: encryption.Handler | None = None
        self.repaired = False
        self.mends = True
        self.broken = False
        self.trailer: Dictionary = {}
        self._cache: dict[int, PdfObject] = {}
        self._unpacked: dict[int, tuple[bytes, list[tuple[int, int]]]] = {}
        self._unpacked_octets = 0
        self._scanned: dict[int, Entry] = {}
        self._allowance = Allowance()
        self._references = CrossReferences([], None)
        header = buffer.find(b"%PDF-", 0, _HEADER_WITHIN)
        self.base = max(header, 0)
        self._password = password
        self._opened = False
        self._lookup_price = 0
        try:
            self._references = crossreference.read(buffer, self.base, self._allowance)
            self._lookup_price = self._references.subsections()
            self._open([section.trailer for section in self._references.sections])
        except PdfMalformed:
            self._repair()
        self._opened = True

    @property
    def references(self) -> CrossReferences:
        """The cross-references as the file has them; empty when it was repaired."""
        return self._references

    @property
    def scanned(self) -> dict[int, Entry]:
        """All objects that a repair found."""
        return self._scanned

    def _open(self, trailers: list[Dictionary]) -> None:
        self.trailer = dict(trailers[0]) if trailers else {}
        for older in trailers[1:]:
            for key in (b"Root", b"Info", b"ID", b"Encrypt"):
                if key in older:
                    self.trailer.setdefault(key, older[key])
        self._unlock()
        if not isinstance(self.trailer.get(b"Root"), Ref) or b"Pages" not in self.catalog:
            raise PdfMalformed("the trailer leads to no catalog")
        if self.first_page() is None:
            raise PdfMalformed("the catalog leads to no page")

    def _unlock(self) -> None:
        if b"Encrypt" not in self.trailer:
            return
        encrypt = self.trailer[b"Encrypt"]
        dictionary = self.resolve(encrypt)
        if dictionary is None:  # a reference to nothing is as good as no entry (7.3.10)
            del self.trailer[b"Encrypt"]
            return
        if not isinstance(dictionary, dict):
            raise PdfMalformed("the encryption dictionary is none")
        identifiers = as_array(self.resolve(self.trailer.get(b"ID")))
        first = identifiers[0] if identifiers else None
        first_id = first.value if isinstance(first, String) else b""
        self.handler = encryption.open_handler(dictionary, first_id, self._password, self.resolve)
        self._forget()
        if isinstance(encrypt, Ref):
            self._cache[encrypt.number] = dictionary

    def repair(self) -> None:
        """Scan the file, although its cross-references could be read.

        Raises:
            PdfMalformed: there is no page in it.
            PdfLimit: it exceeds a limit.
        """
        self._repair()

    def _repair(self) -> None:
        found = crossreference.scan(self.buffer, self.base)
        self.repaired = True
        self.handler = None
        self._forget()
        self._scanned = dict(found.entries)
        self._references = CrossReferences([], None)
        trailers = [trailer for trailer in found.trailers if b"Root" in trailer]
        of_kind: dict[PdfObject, list[int]] = {}
        for number, dictionary in found.dictionaries.items():
            kind = dictionary.get(b"Type")
            if kind == b"XRef" and b"Root" in dictionary:
                trailers.append(dictionary)
            elif isinstance(kind, Name):
                of_kind.setdefault(kind, []).append(number)
        self.trailer = dict(trailers[-1]) if trailers else {}
        self._unlock()
        self._scan_packed(found.entries, of_kind.get(Name(b"ObjStm"), []))
        if b"Pages" not in self.catalog:
            self._find_catalog(of_kind.get(Name(b"Catalog"), []))
        if self.first_page() is None:
            raise PdfMalformed("the file has no page")

    def _forget(self) -> None:
        self._cache.clear()
        self._unpacked.clear()
        self._unpacked_octets = 0

    def _scan_packed(self, entries: dict[int, Entry], containers: list[int]) -> None:
        """What is in object streams, unless the object was written again behind its stream."""
        for container in sorted(containers, key=lambda number: entries[number].place):
            try:
                index = self._unpack(container)[1]
            except PdfLimit:
                raise
            except PdfError:
                continue
            for position, (number, _) in enumerate(index):
                older = entries.get(number)
                if older is None or older.place < entries[container].place:
                    self._scanned[number] = Entry(COMPRESSED, container, position)

    def _find_catalog(self, known: list[int]) -> None:
        """Without a trailer that names it: the last catalog that has pages.

        Raises:
            PdfMalformed: there is none.
        """
        packed = [number for number, at in self._scanned.items() if at.kind == COMPRESSED]
        for number in reversed([*packed, *known]):
            candidate = as_dictionary(self.resolve(Ref(number)))
            if candidate.get(b"Type") == b"Catalog" and b"Pages" in candidate:
                self.trailer[b"Root"] = Ref(number, self._generation(number))
                return
        raise PdfMalformed("the file has no catalog with pages")

    def _generation(self, number: int) -> int:
        entry = self._scanned[number]
        return entry.detail if entry.kind == IN_USE else 0

    def entry(self, number: int) -> Entry | None:
        """Where an object is."""
        if self.repaired:
            return self._scanned.get(number)
        self._allowance.spend(self._lookup_price)
        return self._references.entry(self.buffer, number)

    def resolve(self, value: PdfObject) -> PdfObject:
        """The object that a reference leads to; null when it leads nowhere.

        Raises:
            PdfMalformed: something else stands where the object should be.
        """
        for _ in range(MAXIMUM_CHAIN):
            if not isinstance(value, Ref):
                return value
            value = self._object(value.number)
        if self._opened and not self.mends:
            self.broken = True
            return None
        raise PdfMalformed("references form a loop")

    def plainly_lacks(self, number: int, *names: bytes) -> bool:
        """Whether it can be seen without reading an object that no name in it begins like these.

        Never wrong when true, and much faster than reading: only small objects without strings,
        comments and escapes are seen through, and no packed ones. The names are with their slashes.
        """
        entry = self.entry(number)
        if entry is None or entry.kind != IN_USE:
            return False
        place = entry.place + self.base
        found = _PLAIN.match(self.buffer, place, place + _PLAIN_WITHIN)
        if found is None:
            return False
        self._allowance.spend(len(found[0]))
        return not any(name in found[0] for name in names)

    def glance(self, number: int) -> PdfObject:
        """An object as it stands, strings still encrypted, and of a stream the dictionary alone.

        Nothing of it is kept, so that looking at all objects of a large file costs no memory.

        Raises:
            PdfMalformed: something else stands where the object should be.
            PdfLimit: it is too large.
        """
        entry = self.entry(number)
        if number in self._cache or entry is None or entry.kind != IN_USE:
            return self.resolve(Ref(number, 0))
        place = entry.place + self.base
        found = indirect_object(self.buffer, place, self._allowance, streams=False)
        if found.number != number:
            raise PdfMalformed(f"another object stands at the offset of object {number}")
        return found.value

    def _object(self, number: int) -> PdfObject:
        if number in self._cache:
            return self._cache[number]
        try:
            value = self._found(number)
        except PdfMalformed:
            if self._opened and not self.mends:
                self.broken, value = True, None
            elif self.repaired or not self._opened:
                raise
            else:
                self._repair()
                value = self._found(number)
        self._cache[number] = value
        return value

    def _found(self, number: int) -> PdfObject:
        entry = self.entry(number)
        if entry is None or entry.kind not in {IN_USE, COMPRESSED}:
            return None
        return self._at(entry, number)

    def _at(self, entry: Entry, number: int) -> PdfObject:
        if entry.kind == COMPRESSED:
            octets, index = self._unpack(entry.place)
            for stored, offset in [*index[entry.detail : entry.detail + 1], *index]:
                if stored == number:
                    parser = Parser(octets, offset)
                    value = parser.value()
                    self._allowance.spend(TOKEN * parser.tokens)
                    return value
            return None
        found = indirect_object(self.buffer, entry.place + self.base, self._allowance)
        if found.number != number:
            raise PdfMalformed(f"another object stands at the offset of object {number}")
        if self.handler is None:
            return found.value
        return self._decrypted(found.value, self.handler, number, found.generation)

    def _decrypted(
        self, value: PdfObject, handler: encryption.Handler, number: int, generation: int
    ) -> PdfObject:
        match value:
            case String():
                return replace(value, value=handler.decrypt_string(value.value, number, generation))
            case list():
                return [self._decrypted(item, handler, number, generation) for item in value]
            case dict():
                signature = b"ByteRange" in value
                return {
                    key: item
                    if signature and key == b"Contents"
                    else self._decrypted(item, handler, number, generation)
                    for key, item in value.items()
                }
            case Stream():
                if value.dictionary.get(b"Type") == b"XRef":
                    return value
                names = value.dictionary.get(b"Filter")
                first = names[0] if isinstance(names, list) and names else names
                clear = (
                    value.raw
                    if first == b"Crypt"
                    else handler.decrypt_stream(value.raw, number, generation)
                )
                return Stream(
                    as_dictionary(self._decrypted(value.dictionary, handler, number, generation)),
                    clear,
                )
            case _:
                return value

    def _unpack(self, container: int) -> tuple[bytes, list[tuple[int, int]]]:
        if container in self._unpacked:
            return self._unpacked[container]
        entry = self.entry(container)
        if entry is None or entry.kind != IN_USE:
            raise PdfMalformed("an object stream is missing")
        stream = self._at(entry, container)
        if not isinstance(stream, Stream):
            raise PdfMalformed("an object stream is not a stream")
        octets = self.decoded(stream)
        first = as_integer(self.resolve(stream.dictionary.get(b"First")))
        count = as_integer(self.resolve(stream.dictionary.get(b"N")))
        self._allowance.spend(2 * TOKEN * max(0, count))
        heads = _NUMBERS.finditer(octets, 0, max(0, first))
        found = [int(head[0]) for head in islice(heads, 2 * max(0, count))]
        pairs = zip(found[::2], found[1::2], strict=False)
        index = [(number, first + offset) for number, offset in pairs]
        while self._unpacked and self._unpacked_octets + len(octets) > _CACHED_OCTETS:
            dropped, _ = self._unpacked.pop(next(iter(self._unpacked)))
            self._unpacked_octets -= len(dropped)
        self._unpacked[container] = (octets, index)
        self._unpacked_octets += len(octets)
        return octets, index

    def decoded(self, stream: Stream) -> bytes:
        """The octets of a stream of the file's structure, without filters.

        Raises:
            PdfMalformed, PdfUnsupported: they do not decode.
            PdfLimit: they decode to too much.
        """
        return filters.decode(stream, stream.raw, self._allowance)

    @property
    def catalog(self) -> Dictionary:
        """The document catalog."""
        return as_dictionary(self.resolve(self.trailer.get(b"Root")))

    @property
    def version(self) -> str:
        """The version that header and catalog agree on (7.2.2)."""
        match = _VERSION.match(self.buffer, self.base)
        header = match[1].decode() if match else "1.4"
        name = self.resolve(self.catalog.get(b"Version"))
        return max(header, name.decode("latin-1")) if isinstance(name, Name) else header

    def pages(self) -> Iterator[tuple[Ref | None, Dictionary]]:
        """The pages in order, as far as the tree can be followed.

        Raises:
            PdfLimit: the tree is larger than any honest one.
        """
        waiting: list[PdfObject] = [self.catalog.get(b"Pages")]
        seen: set[int] = set()
        steps = 0
        while waiting:
            steps += 1
            if steps > MAXIMUM_PAGES_WALKED:
                raise PdfLimit("the page tree is too large")
            node = waiting.pop()
            reference = node if isinstance(node, Ref) else None
            if reference is not None:
                if reference.number in seen:
                    continue
                seen.add(reference.number)
            dictionary = self.resolve(node)
            if not isinstance(dictionary, dict):
                continue
            kids = self.resolve(dictionary.get(b"Kids"))
            if isinstance(kids, list) and dictionary.get(b"Type") != b"Page":
                waiting.extend(reversed(kids))
            elif (
                dictionary.get(b"Type") == b"Page"
                or b"Contents" in dictionary
                or b"MediaBox" in dictionary
            ):
                yield reference, dictionary

    def first_page(self) -> tuple[Ref | None, Dictionary] | None:
        """The first page, preferably one that can be written again."""
        first = None
        for count, page in enumerate(self.pages()):
            if page[0] is not None:
                return page
            first = first or page
            if count > MAXIMUM_CHAIN:
                break
        return first


@contextmanager
def opened(
    path: Path, password: str | None = None, *, in_memory: int = _IN_MEMORY
) -> Iterator[Document]:
    """The document in a file, memory-mapped while the context lasts if it is large.

    `in_memory` is the size in octets up to which it is read instead; what looks at little of a file
    is better off with less.

    Raises:
        InputUnreadable: the file cannot be read.
        PdfError: it is not a PDF that can be read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise PdfMalformed("the file is empty")
            if size <= in_memory:
                yield Document(file.read(), password)
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
                yield Document(buffer, password)
    except OSError as error:
        raise InputUnreadable(f"{path.name} cannot be read: {error.strerror}") from None
