"""Files made to keep a reader busy or to fill its memory: each is small, or made of repetition."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

from generated_pdfs import IDENTIFIER, body, one_page, stream, with_table


def deflated(octets: int, filler: bytes = b"\0") -> bytes:
    """A stream of this many octets, deflated piece by piece."""
    engine = zlib.compressobj(9)
    piece = filler * ((1 << 20) // len(filler))
    made = b"".join(engine.compress(piece) for _ in range(octets >> 20))
    return made + engine.flush()


def object_streams(count: int, content: bytes, *, entries: int = 1) -> bytes:
    """The catalog says that its pages are in object streams, each of which is a bomb."""
    containers = range(10, 10 + count)
    packed = range(40, 40 + count)
    kids = " ".join(f"{number} 0 R" for number in packed)
    described = f"/Type /ObjStm /N {entries} /First 60000000 /Filter /FlateDecode"
    plain = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
        **{container: stream(described, content) for container in containers},
    }
    out, offsets = body(plain, "1.7")
    start = len(out)
    own = 40 + count
    rows = {number: (1, offset, 0) for number, offset in offsets.items()}
    rows |= {n: (2, container, 0) for n, container in zip(packed, containers, strict=True)}
    table = bytearray()
    for number in range(own):
        kind, second, third = rows.get(number, (0, 0, 0))
        table += bytes([kind]) + second.to_bytes(4, "big") + third.to_bytes(2, "big")
    dictionary = f"/Type /XRef /Size {own} /W [1 4 2] /Root 1 0 R {IDENTIFIER}"
    out += f"{own} 0 obj\n".encode() + stream(dictionary, bytes(table)) + b"\nendobj\n"
    return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())


def page_tree(kind: str) -> bytes:
    """Page trees that do not end, or are as wide as they can be."""
    objects = one_page()
    match kind:
        case "own-child":
            objects[2] = b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 1 >>"
        case "ring":
            objects[2] = b"<< /Type /Pages /Kids [7 0 R] /Count 1 >>"
            objects[7] = b"<< /Type /Pages /Kids [8 0 R] /Count 1 >>"
            objects[8] = b"<< /Type /Pages /Kids [7 0 R 2 0 R] /Count 1 >>"
        case "wide":
            objects[2] = b"<< /Type /Pages /Kids [" + b"9 0 R " * 1_500_000 + b"] >>"
        case "references":
            objects[2] = b"7 0 R"
            objects[7] = b"8 0 R"
            objects[8] = b"7 0 R"
    return with_table(objects)


def form(fields: bytes, more: Mapping[int, bytes] | None = None) -> bytes:
    """A form with these fields."""
    objects = one_page()
    objects[1] = b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [" + fields + b"] >> >>"
    return with_table({**objects, **(more or {})})


def sections(count: int) -> bytes:
    """A chain of cross-reference streams, each of which inflates to a lot."""
    out, _ = body(one_page(), "1.7")
    content = deflated(32 << 20)
    before = 0
    for index in range(count):
        start = len(out)
        previous = f"/Prev {before} " if before else ""
        dictionary = f"/Type /XRef /Size 9 /W [1 4 2] {previous}/Root 1 0 R /Filter /FlateDecode"
        out += f"{20 + index} 0 obj\n".encode() + stream(dictionary, content) + b"\nendobj\n"
        before = start
    return bytes(out + f"startxref\n{before}\n%%EOF\n".encode())


def overlapping(opening: bytes, count: int) -> bytes:
    """Without cross-references; every object reaches to the end of the file."""
    head, _ = body(one_page(), "1.7")
    return bytes(head) + b"".join(b"%d 0 obj %b" % (30 + n, opening) for n in range(count))


def lzw_bomb() -> bytes:
    """Twelve-bit codes that each stand for a long entry."""
    objects = one_page()
    objects[7] = stream(
        "/Type /ObjStm /N 1 /First 4 /Filter /LZWDecode", b"\x80\x0b\x60\x50" * 2_000_000
    )
    octets = with_table(objects)
    return octets[: octets.rindex(b"xref\n0 ")]


HOSTILE: Mapping[str, Callable[[], bytes]] = {
    "deep-arrays": lambda: form(b"[" * 500_000),
    "deep-dictionaries": lambda: form(b"<< /A " * 200_000),
    "many-tokens": lambda: form(b"0 " * 6_000_000),
    "many-parentheses": lambda: form(b"(" * 12_000_000),
    "many-escapes": lambda: form(b"(" + b"\\a" * 12_000_000 + b")"),
    "long-name": lambda: form(b"/" + b"#41" * 8_000_000),
    "long-hexadecimal": lambda: form(b"<" + b"0" * 60_000_000 + b">"),
    "long-comment": lambda: form(b"%" + b"x" * 60_000_000),
    "own-child": lambda: page_tree("own-child"),
    "ring": lambda: page_tree("ring"),
    "wide": lambda: page_tree("wide"),
    "references": lambda: page_tree("references"),
    "field-ring": lambda: form(
        b"7 0 R", {7: b"<< /T (a) /Kids [8 0 R] >>", 8: b"<< /T (b) /Kids [7 0 R 8 0 R] >>"}
    ),
    "object-stream-bomb": lambda: object_streams(12, deflated(1 << 30)),
    "object-stream-index": lambda: object_streams(
        6, deflated(60 << 20, b"7 7 "), entries=30_000_000
    ),
    "section-bombs": lambda: sections(200),
    "overlapping-strings": lambda: overlapping(b"(", 120_000),
    "overlapping-hexadecimal": lambda: overlapping(b"<< /Type /Catalog /A <", 120_000),
    "overlapping-arrays": lambda: overlapping(b"[ /Catalog ", 200_000),
    "many-objects": lambda: overlapping(b"", 1_200_000),
    "lzw": lzw_bomb,
    "subsections": lambda: (
        bytes(body(one_page(), "1.7")[0])
        + b"xref\n"
        + b"0 0\n" * 3_000_000
        + b"trailer << /Root 1 0 R /Size 9 >>\nstartxref\n%d\n" % len(body(one_page(), "1.7")[0])
    ),
    "loose-entries": lambda: (
        bytes(body(one_page(), "1.7")[0])
        + b"xref\n0 4000000\n"
        + b"1 0 n\n" * 4_000_000
        + b"trailer << /Root 1 0 R /Size 9 >>\n"
        b"startxref\n%d\n" % len(body(one_page(), "1.7")[0])
    ),
    "trailers": lambda: bytes(body(one_page(), "1.7")[0]) + b"trailer <<" * 300_000,
    "huge-numbers": lambda: with_table(one_page()).replace(b"/Size 7", b"/Size 99999999999999999"),
    "negative": lambda: with_table(one_page()).replace(b"/Size 7", b"/Size -7 /Prev -1"),
    "nothing-but-header": lambda: b"%PDF-1.7\n",
    "empty": lambda: b"",
    "zeros": lambda: bytes(8 << 20),
    "text": lambda: b"no document at all\n" * 1000,
}
