"""Files that ordinary readers open although something about them is odd or broken, made by hand."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from generated_pdfs import (
    IDENTIFIER,
    Objects,
    body,
    one_page,
    rows,
    stream,
    through_qpdf,
    with_stream,
    with_table,
)


def lzw(content: bytes) -> bytes:
    """LZW with nine-bit codes only: the table is cleared before it grows (7.4.4)."""
    codes = []
    for start in range(0, len(content), 200):
        codes += [256, *content[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def ascii85(content: bytes) -> bytes:
    """ASCII base-85 with its end mark (7.4.3)."""
    return base64.a85encode(content) + b"~>"


def packed_with(filters: str, encode: Callable[[bytes], bytes]) -> bytes:
    """All objects in an object stream that is encoded in an unusual way."""
    objects = one_page()
    heads, bodies = [], b""
    entries: dict[int, tuple[int, int, int]] = {}
    container, own = 8, 9
    for index, number in enumerate((1, 2, 3, 5, 6)):
        heads.append(f"{number} {len(bodies)}")
        bodies += objects[number] + b"\n"
        entries[number] = (2, container, index)
    head = (" ".join(heads) + " ").encode()
    dictionary = f"/Type /ObjStm /N 5 /First {len(head)} /Filter {filters}"
    out, offsets = body(
        {4: objects[4], container: stream(dictionary, encode(head + bodies))}, "1.7"
    )
    start = len(out)
    entries |= {number: (1, offset, 0) for number, offset in offsets.items()}
    entries[own] = (1, start, 0)
    dictionary = f"/Type /XRef /Size {own + 1} /W [1 4 2] /Root 1 0 R /Info 6 0 R {IDENTIFIER}"
    out += f"{own} 0 obj\n".encode() + stream(dictionary, rows(entries, own + 1)) + b"\nendobj\n"
    return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())


def predicted(kind: int) -> bytes:
    """A cross-reference stream with a PNG predictor of this kind (7.4.4.4)."""
    plain = with_stream(one_page())
    match = re.search(
        rb"(\d+) 0 obj\n<< (/Type /XRef[^>]*>\s*<[^>]*>[^>]*) /Filter /FlateDecode /Length \d+ >>\n"
        rb"stream\n(.*?)\nendstream",
        plain,
        re.DOTALL,
    )
    assert match is not None
    table = zlib.decompress(match[3])
    above, encoded = bytes(7), bytearray()
    for at in range(0, len(table), 7):
        line = table[at : at + 7]
        encoded.append(kind)
        for index, octet in enumerate(line):
            left = line[index - 1] if index else 0
            corner = above[index - 1] if index else 0
            estimate = left + above[index] - corner
            nearest = min((left, above[index], corner), key=lambda one: abs(estimate - one))
            guess = (0, left, above[index], (left + above[index]) // 2, nearest)[kind]
            encoded.append((octet - guess) & 255)
        above = line
    made = (
        match[1]
        + b" 0 obj\n"
        + stream(
            match[2].decode("latin-1")
            + " /Filter /FlateDecode /DecodeParms << /Predictor 15 /Columns 7 >>",
            zlib.compress(bytes(encoded)),
        )
    )
    return plain[: match.start()] + made + plain[match.end() :]


def generations() -> bytes:
    """Objects 4 and 5 were freed and used again: their generation is not 0."""
    octets = with_table(one_page())
    octets = octets.replace(b"\n4 0 obj", b"\n4 3 obj").replace(b"4 0 R", b"4 3 R")
    octets = octets.replace(b"\n5 0 obj", b"\n5 7 obj").replace(b"5 0 R", b"5 7 R")
    head, table = octets[: octets.rindex(b"xref\n0 ")], octets[octets.rindex(b"xref\n0 ") :]
    lines = table.split(b"\n")
    lines[2 + 4] = lines[2 + 4].replace(b" 00000 n", b" 00003 n")
    lines[2 + 5] = lines[2 + 5].replace(b" 00000 n", b" 00007 n")
    return head + b"\n".join(lines)


def changed(number: int, old: bytes, new: bytes, more: Mapping[int, bytes] | None = None) -> bytes:
    """The plain file with a part of one object replaced, and more objects."""
    objects: Objects = one_page()
    assert old in objects[number]
    objects[number] = objects[number].replace(old, new)
    return with_table({**objects, **(more or {})})


def wrong_offset() -> bytes:
    """The form, which nothing needs to open the file, is not where the table says."""
    octets = changed(
        1,
        b"/Pages 2 0 R",
        b"/Pages 2 0 R /AcroForm 7 0 R",
        {7: b"<< /Fields [] /DA (/Helv 0 Tf) >>"},
    )
    at = octets.index(b"\n7 0 obj") + 1
    return octets.replace(b"%010d 00000 n" % at, b"%010d 00000 n" % (at + 3))


def broken(what: str) -> bytes:
    """The plain file with its cross-references damaged."""
    octets = with_table(one_page())
    start = int(re.findall(rb"startxref\n(\d+)", octets)[0])
    match what:
        case "one":
            table = re.sub(rb"xref\n0 (\d+)\n0{10} 65535 f \n", rb"xref\n1 \1\n", octets[start:])
            return octets[:start] + table
        case "startxref":
            return octets.replace(b"startxref\n%d" % start, b"startxref\n%d" % (start + 3))
        case "no-startxref":
            return octets.replace(b"startxref", b"startyref")
        case "truncated":
            return octets[:start]
        case "loop":
            return octets.replace(b" /Root 1 0 R", b" /Prev %d /Root 1 0 R" % start, 1)
        case "short-lines":
            return re.sub(rb"(\d{10} \d{5} [nf]) \n", rb"\1\n", octets)
        case _:
            raise ValueError(what)


def returns() -> bytes:
    """Lines end with a carriage return alone."""
    octets = with_table(one_page())
    binary = octets.index(b"\n", octets.index(b"\n") + 1)
    return octets[:binary] + octets[binary:].replace(b"endstream", b"\nendstream").replace(
        b"stream\n", b"stream\r\n"
    ).replace(b"\n", b"\r").replace(b"stream\r\r", b"stream\r\n")


ODD: Mapping[str, Callable[[], bytes]] = {
    "junk-before": lambda: b"Received: by mail\n" * 20 + with_table(one_page()),
    "junk-after": lambda: with_table(one_page()) + b"\0" * 700,
    "generations": generations,
    "annots-by-reference": lambda: changed(
        3,
        b"/Rotate 0",
        b"/Annots 7 0 R",
        {7: b"[8 0 R]", 8: b"<< /Type /Annot /Subtype /Link /Rect [1 1 9 9] >>"},
    ),
    "annots-to-nothing": lambda: changed(3, b"/Rotate 0", b"/Annots 99 0 R"),
    "annots-no-array": lambda: changed(3, b"/Rotate 0", b"/Annots << /Odd true >>"),
    "form-to-nothing": lambda: changed(1, b"/Pages", b"/AcroForm 99 0 R /Pages"),
    "form-empty": lambda: changed(1, b"/Pages", b"/AcroForm << >> /Pages"),
    "fields-by-reference": lambda: changed(
        1, b"/Pages", b"/AcroForm << /Fields 7 0 R >> /Pages", {7: b"[]"}
    ),
    "kids-by-reference": lambda: changed(2, b"[3 0 R]", b"7 0 R", {7: b"[3 0 R]"}),
    "kids-nested": lambda: changed(
        2, b"[3 0 R]", b"[7 0 R]", {7: b"<< /Type /Pages /Parent 2 0 R /Kids [3 0 R] /Count 1 >>"}
    ),
    "page-without-type": lambda: changed(3, b"/Type /Page ", b""),
    "names-with-escapes": lambda: changed(3, b"/MediaBox", b"/Media#42ox"),
    "lzw": lambda: packed_with("/LZWDecode", lzw),
    "ascii85": lambda: packed_with(
        "[/ASCII85Decode /FlateDecode]", lambda c: ascii85(zlib.compress(c))
    ),
    "hexadecimal": lambda: packed_with("/ASCIIHexDecode", lambda c: c.hex().encode() + b">"),
    **{f"predictor-{kind}": lambda kind=kind: predicted(kind) for kind in range(5)},
    "wrong-offset": wrong_offset,
    "table-from-one": lambda: broken("one"),
    "startxref-off": lambda: broken("startxref"),
    "no-startxref": lambda: broken("no-startxref"),
    "truncated": lambda: broken("truncated"),
    "prev-loop": lambda: broken("loop"),
    "short-lines": lambda: broken("short-lines"),
    "carriage-returns": returns,
}


def aes_256_r5(folder: Path) -> bytes:
    """Encrypted as the extension level 3 of PDF 1.7 did, before ISO 32000-2."""
    options = ("--allow-weak-crypto", "--encrypt", "", "owner", "256", "--force-R5", "--")
    return through_qpdf(with_table(one_page()), folder, *options)
