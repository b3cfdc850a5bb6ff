"""Attacked files, made from a file that is really signed; nothing of Hashseal is used.

The shadow attacks (hide, replace, hide and replace) have two halves: what stands in the document
before it is signed, in `PREPARED`, and the update after it. Updates are written by hand, so that no
library puts anything right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import generated_pdfs
from asn1crypto import cms
from generated_pdfs import stream

CATALOG, PAGES, PAGE, CONTENT, FONT, INFO = 1, 2, 3, 4, 5, 6
OVERLAY, TEXT_FIELD, SHOWN, HIDDEN_PAGES, HIDDEN_PAGE, HIDDEN_CONTENT, RUNNER, LAYER = range(8, 16)
NOT_YET, NOT_YET_INHERITED = 98, 99
"""Named by the document, and not there."""
_ENTRY = re.compile(rb"/ByteRange\s*\[[^\]]*\]")
_START = re.compile(rb"startxref\s+(\d+)")


def _text(words: str) -> bytes:
    return stream("", f"BT /F1 18 Tf 60 400 Td ({words}) Tj ET".encode())


def _form(drawing: str) -> bytes:
    return stream("/Type /XObject /Subtype /Form /BBox [0 0 420 595]", drawing.encode())


def prepared() -> bytes:
    """A contract over 100 that is prepared for all variants; object 13 is not reached by anything."""
    objects = generated_pdfs.one_page(text="pay 100")
    objects[CATALOG] = (
        f"<< /Type /Catalog /Pages {PAGES} 0 R /AcroForm << /Fields [{TEXT_FIELD} 0 R] "
        f"/DR << /Font << /F1 {FONT} 0 R >> >> /DA (/F1 12 Tf 0 g) >> "
        f"/OCProperties << /OCGs [{LAYER} 0 R] /D << /ON [{LAYER} 0 R] >> >> >>"
    ).encode()
    objects[PAGE] = (
        f"<< /Type /Page /Parent {PAGES} 0 R /MediaBox [0 0 420 595] "
        f"/Contents [{CONTENT} 0 R {NOT_YET} 0 R] /Annots [{TEXT_FIELD} 0 R] /Resources << /Font << /F1 {FONT} 0 R >> "
        f"/XObject << /O {OVERLAY} 0 R >> /Properties << /L {LAYER} 0 R >> >> >>"
    ).encode()
    objects[PAGES] = (
        f"<< /Type /Pages /Kids [{PAGE} 0 R] /Count 1 "
        f"/Resources << /XObject << /Q {NOT_YET_INHERITED} 0 R >> >> >>"
    ).encode()
    objects[CONTENT] = stream("", b"BT /F1 18 Tf 60 400 Td (pay 900) Tj ET /OC /L BDC /O Do EMC")
    objects[OVERLAY] = _form("1 g 50 380 200 60 re f 0 g")
    objects[TEXT_FIELD] = (
        f"<< /Type /Annot /Subtype /Widget /FT /Tx /T (amount) /V (100) /F 4 /P {PAGE} 0 R "
        f"/Rect [50 300 250 330] /DA (/F1 12 Tf 0 g) /AP << /N {SHOWN} 0 R >> >>"
    ).encode()
    objects[SHOWN] = _form("0 g 0 0 100 30 re f")
    objects[HIDDEN_PAGES] = f"<< /Type /Pages /Kids [{HIDDEN_PAGE} 0 R] /Count 1 >>".encode()
    objects[HIDDEN_PAGE] = (
        f"<< /Type /Page /Parent {HIDDEN_PAGES} 0 R /MediaBox [0 0 420 595] /Contents "
        f"{HIDDEN_CONTENT} 0 R /Resources << /Font << /F1 {FONT} 0 R >> >> >>"
    ).encode()
    objects[HIDDEN_CONTENT] = _text("pay 900000")
    objects[RUNNER] = stream("", f"{CONTENT} 0 obj\n".encode() + _text("pay 900000") + b"\nendobj")
    objects[LAYER] = b"<< /Type /OCG /Name (L) >>"
    return generated_pdfs.with_table(objects)


def updated(
    octets: bytes,
    objects: Mapping[int, bytes],
    *,
    free: tuple[int, ...] = (),
    at: Mapping[int, int] | None = None,
    root: int = CATALOG,
    info: int = INFO,
    size: int = 0,
) -> bytes:
    """An incremental update (7.5.6): new objects, freed ones, and offsets that are turned aside.

    With `size` it says to have only so many objects.
    """
    out = bytearray(octets if octets.endswith(b"\n") else octets + b"\n")
    offsets = dict(at or {})
    for number, content in objects.items():
        offsets[number] = len(out)
        out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    before = int(_START.findall(octets)[-1])
    size = size or max(*map(int, re.findall(rb"/Size (\d+)", octets)), *(n + 1 for n in offsets), 1)
    start = len(out)
    out += b"xref\n"
    for number in sorted({*offsets, *free}):
        line = "0000000000 00001 f " if number in free else f"{offsets[number]:010d} 00000 n "
        out += f"{number} 1\n{line}\n".encode()
    out += (
        f"trailer\n<< /Size {size} /Root {root} 0 R /Info {info} 0 R /Prev {before} "
        f"{generated_pdfs.IDENTIFIER} >>\nstartxref\n{start}\n%%EOF\n"
    ).encode()
    return bytes(out)


def newest(octets: bytes, number: int) -> bytes:
    """The newest body of an object that stands by itself."""
    start = octets.rindex(f"\n{number} 0 obj".encode())
    start = octets.index(b"obj", start) + 3
    return octets[start : octets.index(b"endobj", start)].strip()


def numbered(octets: bytes, mark: bytes) -> int:
    """The number of the first object whose text holds the mark."""
    at = octets.index(mark)
    return int(re.findall(rb"\n(\d+) 0 obj", octets[:at])[-1])


def next_number(octets: bytes) -> int:
    """The first number that no object has."""
    return max(map(int, re.findall(rb"/Size (\d+)", octets)))


def replaced(octets: bytes, number: int, old: bytes, new: bytes) -> bytes:
    """The file with an update in which one object says something else."""
    body = newest(octets, number)
    if old not in body:
        raise ValueError(f"object {number} does not hold {old!r}")
    return updated(octets, {number: body.replace(old, new, 1)})


def _signature(octets: bytes) -> tuple[int, bytes]:
    number = numbered(octets, b"/ByteRange")
    return number, newest(octets, number)


def _with_range(new: bytes) -> Callable[[bytes], bytes]:
    def attack(octets: bytes) -> bytes:
        number, body = _signature(octets)
        return updated(octets, {number: _ENTRY.sub(new, body)})

    return attack


def _with_contents(new: bytes) -> Callable[[bytes], bytes]:
    def attack(octets: bytes) -> bytes:
        number, body = _signature(octets)
        return updated(octets, {number: re.sub(rb"/Contents\s*<[0-9a-fA-F]*>", new, body)})

    return attack


def _in_place(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def attack(octets: bytes) -> bytes:
        if len(old) != len(new) or old not in octets:
            raise ValueError("not the same length, or not there")
        return octets.replace(old, new, 1)

    return attack


def wrapped_in_the_tail(octets: bytes) -> bytes:
    """The hole is moved behind everything, where an update stands that nobody signed.

    The two signed parts are put together, so that the digest is right; the signature is given again
    in the update, as a literal string, which takes half the room of the hexadecimal one. Who only
    adds the lengths up finds that the signature covers the whole file.
    """
    range_ = [int(one) for one in re.findall(rb"\d+", _ENTRY.search(octets).group())]  # type: ignore[union-attr]
    _, length, behind, rest = range_
    digits = octets[length + 1 : behind - 1]
    contents = bytes.fromhex(digits.decode())
    number = numbered(octets, b"/ByteRange")
    joined = octets[:length] + octets[behind : behind + rest]
    escaped = re.sub(rb"([\\()\r])", lambda m: b"\\r" if m[1] == b"\r" else b"\\" + m[1], contents)
    body = (
        b"<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached /ByteRange "
        b"[0 %d %d %d] /Contents (" % (length, length, rest)
    ) + escaped + b") >>"  # fmt: skip
    every = {  # the tables in the signed parts count the hole; all is told again
        n: joined.rindex(f"\n{n} 0 obj".encode()) + 1
        for n in map(int, re.findall(rb"\n(\d+) 0 obj", joined))
    }

    def made(room: int) -> bytes:
        padded = joined + b" " * room
        tail = updated(padded, {number: body, CONTENT: _text("pay 900000")}, at=every)[
            len(joined) :
        ]
        return joined + re.sub(rb"/Prev \d+ ", b"", tail)

    whole = len(joined) + len(digits) + 2
    room = whole - len(made(1))
    return next(one for one in map(made, range(room - 9, room + 9)) if len(one) == whole)


def empty_field_that_shows(octets: bytes) -> bytes:
    """An empty signature field with a picture over the page."""
    new = next_number(octets)
    field = (
        f"<< /Type /Annot /Subtype /Widget /FT /Sig /T (later) /F 132 /P {PAGE} 0 R "
        f"/Rect [0 0 420 595] /AP << /N {new + 1} 0 R >> >>"
    ).encode()
    form = numbered(octets, b"/SigFlags")
    body, page = newest(octets, form), newest(octets, PAGE)
    return updated(
        octets,
        {
            new: field,
            new + 1: _form("1 g 0 0 420 595 re f"),
            form: re.sub(rb"(/Fields\s*\[)", b"\\g<1>%d 0 R " % new, body),
            PAGE: re.sub(rb"(/Annots\s*\[)", b"\\g<1>%d 0 R " % new, page),
        },
    )


def _filled(octets: bytes) -> bytes:
    new = next_number(octets)
    field = newest(octets, TEXT_FIELD)
    field = field.replace(b"(100)", b"(900)").replace(b"/N %d 0" % SHOWN, b"/N %d 0" % new)
    return updated(octets, {TEXT_FIELD: field, new: _form("0 g 0 0 200 30 re f")})


def _noted(octets: bytes) -> bytes:
    new = next_number(octets)
    note = b"<< /Type /Annot /Subtype /FreeText /Contents (pay 900) /DA (/F1 9 Tf) /Rect [0 0 420 595] >>"
    page = re.sub(rb"(/Annots\s*\[)", b"\\g<1>%d 0 R " % new, newest(octets, PAGE))
    return updated(octets, {new: note, PAGE: page})


def _other_catalog(octets: bytes) -> bytes:
    new = next_number(octets)
    catalog = newest(octets, CATALOG).replace(b"/Pages 2 0", b"/Pages %d 0" % HIDDEN_PAGES)
    return updated(octets, {new: catalog}, root=new)


def _turned_aside(octets: bytes) -> bytes:
    inside = octets.index(f"\n{CONTENT} 0 obj".encode(), octets.index(f"\n{RUNNER} 0 obj".encode()))
    return updated(octets, {}, at={CONTENT: inside + 1})


def _stripped(octets: bytes) -> bytes:
    field = numbered(octets, b"/FT /Sig")
    body = re.sub(rb"/V\s+\d+ 0 R", b"", newest(octets, field))
    return updated(octets, {field: body})


def _told_smaller(octets: bytes) -> bytes:
    """An update that says the file has one object, then one that replaces the content."""
    smaller = updated(octets, {next_number(octets): b"(nothing)"}, size=1)
    return updated(smaller, {CONTENT: _text("pay 900000")})


def _exchanged(octets: bytes) -> bytes:
    """The field names another signature dictionary, which says the same."""
    new, field = next_number(octets), numbered(octets, b"/FT /Sig")
    body = re.sub(rb"/V\s+\d+ 0 R", b"/V %d 0 R" % new, newest(octets, field))
    return updated(octets, {field: body, new: _signature(octets)[1]})


def _wrong_value(octets: bytes) -> bytes:
    start = octets.index(b"/Contents <") + len(b"/Contents <")
    contents = bytes.fromhex(octets[start : octets.index(b">", start)].decode())
    value = cms.ContentInfo.load(contents)["content"]["signer_infos"][0]["signature"].native
    other = value[:-1] + bytes([value[-1] ^ 1])
    return octets.replace(value.hex().encode(), other.hex().encode(), 1).replace(
        value.hex().upper().encode(), other.hex().upper().encode(), 1
    )


FILL: Callable[[bytes], bytes] = _filled
NOTE: Callable[[bytes], bytes] = _noted

CHANGED: dict[str, Callable[[bytes], bytes]] = {
    "octet of the content": _in_place(b"(pay 900)", b"(pay 901)"),
    "octet behind the signature": _in_place(b"/Rect [0 0 0 0]", b"/Rect [0 0 9 9]"),
}
APPENDED: dict[str, Callable[[bytes], bytes]] = {
    "octets": lambda octets: octets + b"\n% more\n",
    "annotation": _noted,
    "page box": lambda octets: replaced(octets, PAGE, b"420 595]", b"100 100]"),
    "title": lambda octets: replaced(octets, INFO, b"/Title ()", b"/Title (Pay 900)"),
    "empty field with a picture": empty_field_that_shows,
}
SHADOWS: dict[str, Callable[[bytes], bytes]] = {
    "hide: overlay freed": lambda octets: updated(octets, {}, free=(OVERLAY,)),
    "hide: overlay emptied": lambda octets: updated(octets, {OVERLAY: _form("")}),
    "hide: layer switched off": lambda octets: replaced(octets, CATALOG, b"/ON [", b"/OFF ["),
    "replace: field": _filled,
    "replace: font": lambda octets: replaced(octets, FONT, b"Helvetica", b"Symbol"),
    "replace: fonts of the form": lambda octets: replaced(
        octets, numbered(octets, b"/SigFlags"), b"12 Tf", b"99 Tf"
    ),
    "replace: content behind a lie about the size": _told_smaller,
    "hide and replace: content that was not there": lambda octets: updated(
        octets, {NOT_YET: _text("pay 900000")}
    ),
    "hide and replace: resources that were not there": lambda octets: updated(
        octets, {NOT_YET_INHERITED: _form("1 g 50 380 200 60 re f 0 g")}
    ),
    "hide and replace: page tree": lambda octets: replaced(
        octets, PAGES, b"[3 0 R]", b"[%d 0 R]" % HIDDEN_PAGE
    ),
    "hide and replace: catalog": _other_catalog,
    "hide and replace: table only": _turned_aside,
}
WRAPPED: dict[str, Callable[[bytes], bytes]] = {
    "no ByteRange": _with_range(b""),
    "ByteRange null": _with_range(b"/ByteRange null"),
    "ByteRange empty": _with_range(b"/ByteRange []"),
    "ByteRange of zeros": _with_range(b"/ByteRange [0 0 0 0]"),
    "ByteRange negative": _with_range(b"/ByteRange [0 -1 -1 -1]"),
    "ByteRange of one pair": _with_range(b"/ByteRange [0 500]"),
    "ByteRange moved": _with_range(b"/ByteRange [10 500 900 500]"),
    "no Contents": _with_contents(b""),
    "Contents null": _with_contents(b"/Contents null"),
    "Contents empty": _with_contents(b"/Contents <>"),
    "Contents zero": _with_contents(b"/Contents <00>"),
    "hole in the tail": wrapped_in_the_tail,
}
STRIPPED: dict[str, Callable[[bytes], bytes]] = {
    "value removed": _stripped,
    "value exchanged": _exchanged,
}
FORGED: dict[str, Callable[[bytes], bytes]] = {"signature value": _wrong_value}
