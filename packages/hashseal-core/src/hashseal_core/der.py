"""Strict DER (X.690): a writer of a few lines and a reader with limits.

The reader takes definite lengths in their shortest form only and never recurses by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from hashseal_core.errors import DerInvalid

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
ENUMERATED, UTF8_STRING, UTC_TIME, GENERALIZED_TIME = 0x0A, 0x0C, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
MAX_ELEMENTS = 10_000


_OCTETS = tuple(bytes((number,)) for number in range(0x100))


def encode(tag: int, content: bytes) -> bytes:
    """One element; `tag` is the single identifier octet."""
    size = len(content)
    if size < 0x80:
        return _OCTETS[tag] + _OCTETS[size] + content
    if size < 0x10000:  # nearly everything else
        if size < 0x100:
            return bytes((tag, 0x81, size)) + content
        return bytes((tag, 0x82, size >> 8, size & 0xFF)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    """SEQUENCE of encoded elements."""
    return encode(SEQUENCE, b"".join(parts))


def set_of(parts: Iterable[bytes], tag: int = SET) -> bytes:
    """SET OF encoded elements, in the order that DER asks for (X.690, 11.6)."""
    return encode(tag, b"".join(sorted(parts)))


def integer(value: int, tag: int = INTEGER) -> bytes:
    """INTEGER, or the same under an implicit tag."""
    return encode(
        tag, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)
    )


def octet_string(content: bytes) -> bytes:
    """OCTET STRING."""
    return encode(OCTET_STRING, content)


@lru_cache(maxsize=1024)
def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        out += bytes(reversed(groups))
    return encode(OID, bytes(out))


def generalized_time(at: datetime) -> bytes:
    """GeneralizedTime in UTC, with milliseconds if there are any (RFC 3161, 2.4.2)."""
    at = at.astimezone(UTC)
    # strftime takes longer, and writes a year before 1000 in fewer than four digits.
    day = (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond // 1000)
    text = "%04d%02d%02d%02d%02d%02d.%03d" % day  # noqa: UP031 - faster than an f-string
    if text[-1] == "0":
        text = text.rstrip("0").removesuffix(".")
    return encode(GENERALIZED_TIME, f"{text}Z".encode())


@dataclass(frozen=True, slots=True)
class Element:
    """One element as it stands in the source: `raw` is all of it, `content` without its head."""

    tag: int
    content: bytes
    raw: bytes

    def children(self) -> Reader:
        """A reader over the content of a constructed element."""
        if not self.tag & 0x20:
            raise DerInvalid("expected a constructed element")
        return Reader(self.content)

    def retag(self, tag: int) -> bytes:
        """The same content under another tag (implicit tagging)."""
        return encode(tag, self.content)


class Reader:
    """Reads the elements of one level, front to back.

    Raises:
        DerInvalid: from every method, when the octets are not strict DER or not what is asked for.
    """

    __slots__ = ("_octets", "_position")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._position = 0

    @property
    def at_end(self) -> bool:
        """Nothing is left."""
        return self._position >= len(self._octets)

    def peek(self) -> int | None:
        """Tag of the next element; None at the end."""
        return None if self.at_end else self._octets[self._position]

    def take(self, tag: int | None = None) -> Element:
        """The next element, which must have this tag."""
        octets, start = self._octets, self._position
        if start + 2 > len(octets):
            raise DerInvalid("the message ends too early")
        found, size, begin = octets[start], octets[start + 1], start + 2
        if found & 0x1F == 0x1F:
            raise DerInvalid("long tags do not occur in these messages")
        if tag is not None and found != tag:
            raise DerInvalid(f"expected tag 0x{tag:02x}, found 0x{found:02x}")
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 4 or begin + count > len(octets):
                raise DerInvalid("indefinite or impossible length")
            size = int.from_bytes(octets[begin : begin + count], "big")
            if size < 0x80 or size < 1 << (8 * (count - 1)):
                raise DerInvalid("length not in its shortest form")
            begin += count
        end = begin + size
        if end > len(octets):
            raise DerInvalid("an element is longer than what holds it")
        self._position = end
        return Element(found, octets[begin:end], octets[start:end])

    def optional(self, tag: int) -> Element | None:
        """The next element if it has this tag."""
        return self.take(tag) if self.peek() == tag else None

    def end(self) -> None:
        """Nothing may be left."""
        if not self.at_end:
            raise DerInvalid("octets after the last element")

    def sequence(self) -> Reader:
        """Enter a SEQUENCE."""
        return self.take(SEQUENCE).children()

    def integer(self, tag: int = INTEGER) -> int:
        """An INTEGER in its shortest form."""
        content = self.take(tag).content
        if not content or (
            len(content) > 1 and content[0] in (0, 0xFF) and (content[0] ^ content[1]) < 0x80
        ):
            raise DerInvalid("integer not in its shortest form")
        return int.from_bytes(content, "big", signed=True)

    def oid(self) -> str:
        """An OBJECT IDENTIFIER, dotted."""
        content = self.take(OID).content
        if not content or content[-1] & 0x80 or len(content) > 64:
            raise DerInvalid("malformed object identifier")
        arcs, value, fresh = [], 0, True
        for octet in content:
            if fresh and octet == 0x80:
                raise DerInvalid("object identifier not in its shortest form")
            value = value << 7 | octet & 0x7F
            fresh = not octet & 0x80
            if fresh:
                arcs.append(value)
                value = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))

    def boolean(self) -> bool:
        """A BOOLEAN: 00 or FF."""
        content = self.take(BOOLEAN).content
        if content not in (b"\x00", b"\xff"):
            raise DerInvalid("malformed boolean")
        return content == b"\xff"

    def time(self) -> datetime:
        """A GeneralizedTime in UTC with at most six fraction digits and no trailing zero."""
        text = self.take(GENERALIZED_TIME).content
        whole, _, fraction = text.removesuffix(b"Z").partition(b".")
        try:
            moment = datetime.strptime(whole.decode("ascii"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
            micros = int((fraction or b"0").ljust(6, b"0")[:6])
        except ValueError as error:
            raise DerInvalid("malformed time") from error
        dotted = b"." in text
        if text[-1:] != b"Z" or len(whole) != 14 or (dotted and not fraction.isdigit()):
            raise DerInvalid("malformed time")
        if fraction.endswith(b"0"):
            raise DerInvalid("time fraction not in its shortest form")
        return moment.replace(microsecond=micros)


def only(octets: bytes, tag: int = SEQUENCE) -> Element:
    """The one element that fills `octets`."""
    reader = Reader(octets)
    element = reader.take(tag)
    reader.end()
    return element


def elements(octets: bytes) -> Iterator[Element]:
    """Every element of one level, at most `MAX_ELEMENTS`."""
    reader = Reader(octets)
    count = 0
    while not reader.at_end:
        count += 1
        if count > MAX_ELEMENTS:
            raise DerInvalid("too many elements")
        yield reader.take()
