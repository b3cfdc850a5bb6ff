"""Decodes the streams that the structure of a file is kept in (ISO 32000-2, 7.4), within limits."""

from __future__ import annotations

import base64
import binascii
import re
import zlib

from hashseal.pdf.allowance import SLOW, SLOWEST, Allowance
from hashseal.pdf.objects import Dictionary, PdfObject, Stream, as_dictionary, as_integer
from hashseal_core.errors import PdfLimit, PdfMalformed, PdfUnsupported

MAXIMUM_DECODED = 64 << 20
_PNG_FIRST = 10
_TIFF = 2
_WHITE = re.compile(rb"[\0\t\n\f\r ]+")


def decode(stream: Stream, raw: bytes, allowance: Allowance) -> bytes:
    """The octets of a stream without its filters; `raw` is decrypted already.

    Raises:
        PdfMalformed: the octets do not decode.
        PdfLimit: they decode to too much.
        PdfUnsupported: a filter that no structure stream uses.
    """
    names = _as_list(stream.dictionary.get(b"Filter", stream.dictionary.get(b"F")))
    parameters = _as_list(stream.dictionary.get(b"DecodeParms", stream.dictionary.get(b"DP")))
    octets = raw
    for index, name in enumerate(names):
        options = as_dictionary(parameters[index] if index < len(parameters) else None)
        octets = _decode_one(name, octets, options, allowance)
        allowance.spend(len(octets))
    return octets


def _as_list(value: PdfObject) -> list[PdfObject]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _decode_one(name: PdfObject, octets: bytes, options: Dictionary, allowance: Allowance) -> bytes:
    match name:
        case b"FlateDecode" | b"Fl":
            return _unpredict(inflate(octets), options, allowance)
        case b"ASCIIHexDecode" | b"AHx":
            digits = _WHITE.sub(b"", octets.split(b">", 1)[0])
            try:
                return binascii.unhexlify(digits + b"0" * (len(digits) % 2))
            except binascii.Error:
                raise PdfMalformed("a hexadecimal stream does not decode") from None
        case b"ASCII85Decode" | b"A85":
            try:
                return base64.a85decode(octets.split(b"~>", 1)[0].strip())
            except ValueError:
                raise PdfMalformed("an ASCII85 stream does not decode") from None
        case b"LZWDecode" | b"LZW":
            allowance.spend(SLOWEST * len(octets))
            early = as_integer(options.get(b"EarlyChange"), 1)
            return _unpredict(_unpack_lzw(octets, early), options, allowance)
        case b"Crypt":
            return octets
        case _:
            raise PdfUnsupported("a stream of the file's structure has an unknown filter")


def inflate(octets: bytes) -> bytes:
    """Inflate within the limit; what a damaged end still gives is taken.

    Raises:
        PdfMalformed: nothing can be inflated.
        PdfLimit: it inflates to too much.
    """
    for window in (15, -15):
        engine = zlib.decompressobj(window)
        found = bytearray()
        try:
            for start in range(0, len(octets), 1 << 14):
                piece = octets[start : start + (1 << 14)]
                found += engine.decompress(piece, MAXIMUM_DECODED - len(found) + 1)
                if len(found) > MAXIMUM_DECODED:
                    raise PdfLimit("a stream of the file's structure inflates to too much")
                if engine.eof:
                    break
        except zlib.error:
            if found:
                return bytes(found)
            continue
        return bytes(found)
    raise PdfMalformed("a compressed stream does not inflate")


def _unpack_lzw(octets: bytes, early: int) -> bytes:
    table: list[bytes] = []
    found = bytearray()
    previous = b""
    width, bits, held = 9, 0, 0
    for octet in octets:
        held = (held << 8 | octet) & 0xFFFFFFFF
        bits += 8
        if bits < width:
            continue
        bits -= width
        code = held >> bits & ((1 << width) - 1)
        if code == 257:  # noqa: PLR2004 - end of data
            break
        if code == 256:  # noqa: PLR2004 - clear the table
            table, previous, width = [], b"", 9
            continue
        if code < 256:  # noqa: PLR2004 - a literal octet
            entry = bytes([code])
        elif code - 258 < len(table):
            entry = table[code - 258]
        elif previous:
            entry = previous + previous[:1]
        else:
            raise PdfMalformed("an LZW stream does not decode")
        if previous and len(table) < 4096 - 258:
            table.append(previous + entry[:1])
        previous = entry
        found += entry
        if len(found) > MAXIMUM_DECODED:
            raise PdfLimit("a stream of the file's structure decodes to too much")
        size = len(table) + 258 + early
        width = 12 if size >= 2048 else 11 if size >= 1024 else 10 if size >= 512 else 9  # noqa: PLR2004
    return bytes(found)


def _unpredict(octets: bytes, options: Dictionary, allowance: Allowance) -> bytes:
    predictor = as_integer(options.get(b"Predictor"), 1)
    if predictor < _TIFF:
        return octets
    columns = as_integer(options.get(b"Columns"), 1)
    colors = as_integer(options.get(b"Colors"), 1)
    depth = as_integer(options.get(b"BitsPerComponent"), 8)
    width = (columns * colors * depth + 7) // 8
    step = max(1, colors * depth // 8)
    if not 0 < width <= MAXIMUM_DECODED or predictor < _PNG_FIRST:
        raise PdfUnsupported("a stream of the file's structure has an unusual predictor")
    allowance.spend(SLOW * len(octets))
    found = bytearray()
    above = bytearray(width)
    for start in range(0, len(octets), width + 1):
        line = bytearray(octets[start + 1 : start + 1 + width])
        if len(line) < width:
            line += bytes(width - len(line))
        _unpredict_line(octets[start], line, above, step)
        found += line
        above = line
    return bytes(found)


def _unpredict_line(kind: int, line: bytearray, above: bytearray, step: int) -> None:
    if kind == 0:
        return
    if kind == 2:  # noqa: PLR2004 - "up", the one that all cross-reference streams use
        for index, octet in enumerate(above):
            line[index] = (line[index] + octet) & 255
        return
    for index in range(len(line)):
        left = line[index - step] if index >= step else 0
        up = above[index]
        corner = above[index - step] if index >= step else 0
        match kind:
            case 1:
                guess = left
            case 3:
                guess = (left + up) // 2
            case _:
                estimate = left + up - corner
                nearest = (abs(estimate - left), abs(estimate - up), abs(estimate - corner))
                guess = (left, up, corner)[nearest.index(min(nearest))]
        line[index] = (line[index] + guess) & 255
