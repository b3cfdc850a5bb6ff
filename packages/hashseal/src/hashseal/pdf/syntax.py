"""Reads objects from bytes, tolerantly and within limits (ISO 32000-2, 7.2 and 7.3).

The buffer may be a memory map of a file of any size; only what is asked for is touched. All
patterns use possessive repetition, so that no input makes them slow.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from typing import TypeAlias

from hashseal.pdf.allowance import TOKEN, Allowance
from hashseal.pdf.objects import Dictionary, Name, PdfObject, Raw, Ref, Stream, String
from hashseal_core.errors import PdfLimit, PdfMalformed

Buffer: TypeAlias = "bytes | mmap.mmap"

MAXIMUM_DEPTH = 96
MAXIMUM_TOKENS = 2_000_000
MAXIMUM_STRING = 8 << 20
MAXIMUM_HEXADECIMAL = 32 << 20
MAXIMUM_NAME = 1 << 16
MAXIMUM_STREAM = 64 << 20
_OCTETS_OF_A_STRING = 8  # cost as much as one token

SPACE = rb"(?:[\0\t\n\f\r ]++|%[^\r\n]*+)"
_REGULAR = rb"[^\0\t\n\f\r ()<>\[\]{}/%]"
_TOKEN = re.compile(
    SPACE + rb"*+(?:"
    rb"(?P<open><<)|(?P<close>>>)|(?P<array>\[)|(?P<end>\])"
    rb"|/(?P<name>" + _REGULAR + rb"*+)"
    rb"|(?P<number>\d{1,10})[\0\t\n\f\r ]++(?P<generation>\d{1,5})[\0\t\n\f\r ]++R(?!"
    + _REGULAR
    + rb")"
    rb"|(?P<integer>[+-]?\d{1,19})(?!" + _REGULAR + rb")"
    rb"|<(?P<hex>[^>]*+)>"
    rb"|(?P<literal>\()"
    rb"|(?P<word>" + _REGULAR + rb"++)"
    rb"|(?P<stray>[)>{}]))"
)
_ENTRY = re.compile(
    SPACE + rb"*+/(" + _REGULAR + rb"*+)(?:" + SPACE + rb"*+(?:"
    rb"(\d{1,10})[\0\t\n\f\r ]++(\d{1,5})[\0\t\n\f\r ]++R(?!" + _REGULAR + rb")"
    rb"|([+-]?\d{1,19})(?!" + _REGULAR + rb")"
    rb"|/(" + _REGULAR + rb"*+)))?"
)
"""A key with its value, if that is a reference, an integer or a name: as _TOKEN would take both."""
_KEY_ALONE, _REFERENCE, _INTEGER = 1, 3, 4
_HEADER = re.compile(
    SPACE + rb"*+(\d{1,10})" + SPACE + rb"++(\d{1,10})" + SPACE + rb"++obj(?![A-Za-z])"
)
_STREAM = re.compile(SPACE + rb"*+stream(\r\n|\n|\r|)")
_END_STREAM = re.compile(rb"[\0\t\n\f\r ]*+endstream")
_NAME_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")
_LITERAL_STOP = re.compile(rb"[()\\]")
_LITERAL_ESCAPE = re.compile(rb"\\([0-7]{1,3}|\r\n|[\s\S]|)|\r\n?")
_NOT_HEX = re.compile(rb"[^0-9A-Fa-f]+")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_STOP_WORDS = frozenset(
    {b"endobj", b"stream", b"endstream", b"obj", b"xref", b"trailer", b"startxref"}
)


@dataclass(frozen=True, slots=True)
class IndirectObject:
    """An object with its number, and where its text ends."""

    number: int
    generation: int
    value: PdfObject
    end: int


class _Close:
    """The token that ends a container."""


_CLOSE_DICTIONARY = _Close()
_CLOSE_ARRAY = _Close()
_NOTHING = _Close()


def _unescape_literal(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code is None or code == b"":
        return b"\n" if code is None else b""
    if code[0] in b"01234567":
        return bytes([int(code, 8) & 255])
    if code in {b"\r\n", b"\n", b"\r"}:
        return b""
    return _ESCAPED.get(code, code)


def _unescaped(name: bytes) -> bytes:
    if b"#" in name:
        return _NAME_ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), name)
    return name


class Parser:
    """Reads one object after the other from a position of a buffer."""

    __slots__ = ("_buffer", "_end", "position", "tokens")

    def __init__(self, buffer: Buffer, position: int = 0, end: int | None = None) -> None:
        self._buffer = buffer
        self._end = len(buffer) if end is None else end
        self.position = position
        self.tokens = 0

    def value(self) -> PdfObject:
        """The next object.

        Raises:
            PdfMalformed: there is none here.
            PdfLimit: too deep or too long.
        """
        found = self._next(0)
        if isinstance(found, _Close):
            raise PdfMalformed(f"no object at offset {self.position}")
        return found

    def _next(  # noqa: C901, PLR0911, PLR0912 - one case for each kind of token
        self, depth: int
    ) -> PdfObject | _Close:
        if depth > MAXIMUM_DEPTH:
            raise PdfLimit("objects are nested too deeply")
        self._count(1)
        match = _TOKEN.match(self._buffer, self.position, self._end)
        if match is None:
            return _NOTHING
        start = self.position
        self.position = match.end()
        kind = match.lastgroup
        if self.position - start > (MAXIMUM_NAME if kind == "name" else MAXIMUM_HEXADECIMAL):
            raise PdfLimit("a part of an object is too long")
        match kind:
            case "close":
                return _CLOSE_DICTIONARY
            case "integer":
                return int(match[kind])
            case "end":
                return _CLOSE_ARRAY
            case "generation":
                return Ref(int(match["number"]), int(match[kind]))
            case "open":
                return self._dictionary(depth + 1)
            case "array":
                return self._array(depth + 1)
            case "name":
                return Name(_unescaped(match[kind]))
            case "literal":
                return self._literal()
            case "hex":
                return self._hexadecimal(match[kind])
            case _:
                return self._word(match[kind] if kind else b"", start)

    def _count(self, tokens: int) -> None:
        self.tokens += tokens
        if self.tokens > MAXIMUM_TOKENS:
            raise PdfLimit("an object has too many parts")

    def _word(self, text: bytes, start: int) -> PdfObject | _Close:
        if text in _STOP_WORDS:
            self.position = start
            return _NOTHING
        return {b"true": True, b"false": False, b"null": None}.get(text, Raw(text))

    @staticmethod
    def _hexadecimal(text: bytes) -> String:
        digits = _NOT_HEX.sub(b"", text)
        if len(digits) % 2:
            digits += b"0"
        return String(bytes.fromhex(digits.decode("ascii")), hexadecimal=True)

    def _literal(self) -> String:
        start = self.position
        level = 1
        position = start
        while level:
            limit = min(self._end, start + MAXIMUM_STRING)
            match = _LITERAL_STOP.search(self._buffer, position, limit)
            if match is None:
                raise PdfMalformed(f"the string at offset {start} does not end")
            self._count(1)
            position = match.end()
            sign = match[0]
            if sign == b"\\":
                position += 1
            else:
                level += 1 if sign == b"(" else -1
        self.position = position
        self._count((position - start) // _OCTETS_OF_A_STRING)
        return String(_LITERAL_ESCAPE.sub(_unescape_literal, self._buffer[start : position - 1]))

    def _array(self, depth: int) -> list[PdfObject]:
        items: list[PdfObject] = []
        while True:
            item = self._next(depth)
            if item is _CLOSE_ARRAY:
                return items
            if item is _NOTHING:
                raise PdfMalformed(f"the array before offset {self.position} does not end")
            if not isinstance(item, _Close):
                items.append(item)

    def _dictionary(self, depth: int) -> Dictionary:
        entries: Dictionary = {}
        while True:
            match = _ENTRY.match(self._buffer, self.position, self._end)
            if match is None or match.end() - self.position > MAXIMUM_NAME:
                # The end, something that is no key, or a key that is too long.
                key = self._next(depth)
                if key is _CLOSE_DICTIONARY:
                    return entries
                if key is _NOTHING:
                    raise PdfMalformed(f"the dictionary before offset {self.position} does not end")
                if isinstance(key, Name) and self._value(entries, bytes(key), depth):
                    return entries
                continue
            self.position = match.end()
            kind = match.lastindex
            name = _unescaped(match[1])
            if kind == _KEY_ALONE:
                self._count(1)
                if self._value(entries, name, depth):
                    return entries
                continue
            self._count(2)
            if kind == _REFERENCE:
                entries[name] = Ref(int(match[2]), int(match[3]))
            elif kind == _INTEGER:
                entries[name] = int(match[4])
            else:
                entries[name] = Name(_unescaped(match[5]))

    def _value(self, entries: Dictionary, key: bytes, depth: int) -> bool:
        """Read the value of a key; true when the dictionary ends instead."""
        item = self._next(depth)
        if item is _NOTHING:
            raise PdfMalformed(f"the dictionary before offset {self.position} does not end")
        if not isinstance(item, _Close) and item is not None:
            entries[key] = item
        return item is _CLOSE_DICTIONARY


def object_header(buffer: Buffer, position: int) -> re.Match[bytes] | None:
    """The match of `number generation obj` at a position, if that stands there."""
    if not 0 <= position < len(buffer):
        return None
    return _HEADER.match(buffer, position)


def indirect_object(
    buffer: Buffer, position: int, allowance: Allowance, *, streams: bool = True
) -> IndirectObject:
    """The indirect object at a position. A length that is a reference is found by its keyword.

    Without `streams` the octets of one are not read, and are empty.

    Raises:
        PdfMalformed: no indirect object stands there.
        PdfLimit: it is too large.
    """
    header = object_header(buffer, position)
    if header is None:
        raise PdfMalformed(f"no object at offset {position}")
    parser = Parser(buffer, header.end())
    try:
        found = parser._next(0)  # noqa: SLF001 - same module; an empty object is null
    finally:
        allowance.spend(parser.position - position + TOKEN * parser.tokens)
    value: PdfObject = None if isinstance(found, _Close) else found
    number, generation = int(header[1]), int(header[2])
    if isinstance(value, dict):
        keyword = _STREAM.match(buffer, parser.position)
        if keyword is not None and not streams:
            return IndirectObject(number, generation, Stream(value, b""), keyword.end())
        if keyword is not None:
            raw = _stream_octets(buffer, keyword.end(), value.get(b"Length"))
            allowance.spend(len(raw))
            end = keyword.end() + len(raw)
            return IndirectObject(number, generation, Stream(value, raw), end)
    return IndirectObject(number, generation, value, parser.position)


def _stream_octets(buffer: Buffer, start: int, length: PdfObject) -> bytes:
    if isinstance(length, int) and 0 <= length <= len(buffer) - start:
        if length > MAXIMUM_STREAM:
            raise PdfLimit("a stream that has to be read is too long")
        if _END_STREAM.match(buffer, start + length):
            return buffer[start : start + length]
    end = buffer.find(b"endstream", start, start + MAXIMUM_STREAM)
    if end < 0:
        raise PdfMalformed(f"the stream at offset {start} does not end")
    raw = buffer[start:end]
    return raw[:-2] if raw.endswith(b"\r\n") else raw[:-1] if raw.endswith((b"\n", b"\r")) else raw
