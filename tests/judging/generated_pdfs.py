"""Small PDF files made by hand, one for each form a file can have (ISO 32000-2, 7.5).

Nothing of Hashseal is used here, so that these files are an independent input.
"""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path

XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">
<pdfaid:part>2</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""

Objects = dict[int, bytes]


def stream(dictionary: str, content: bytes) -> bytes:
    """A stream object's body."""
    return (
        f"<< {dictionary} /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream"
    )


def one_page(
    *, text: str = "Test Organisation", title: str = "", rotate: int = 0, pdfa: bool = False
) -> Objects:
    """The objects of a document with one page: catalog 1, pages 2, page 3, content 4, font 5."""
    extra = " /Metadata 7 0 R" if pdfa else ""
    drawing = "1 0 0 RG 50 50 300 200 re S"
    if not pdfa:
        drawing += f" BT /F1 18 Tf 60 400 Td ({text}) Tj ET"
    fonts = "" if pdfa else "/Font << /F1 5 0 R >>"
    objects: Objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R{extra} >>".encode(),
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 420 595] /Rotate {rotate}"
            f" /Contents 4 0 R /Resources << {fonts} >> >>"
        ).encode(),
        4: stream("", drawing.encode()),
        5: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        6: f"<< /Title ({title}) >>".encode(),
    }
    if pdfa:
        objects[7] = stream("/Type /Metadata /Subtype /XML", XMP.encode())
    return objects


def pdfa(part: int) -> Objects:
    """An empty page that veraPDF calls PDF/A, level B; nothing on it needs a colour space."""
    metadata = XMP.replace("<pdfaid:part>2", f"<pdfaid:part>{part}")
    return {
        1: b"<< /Type /Catalog /Pages 2 0 R /Metadata 7 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 420 595] /Contents 4 0 R"
        b" /Resources << >> >>",
        4: stream("", b"0 0 m"),
        5: b"null",
        6: b"<< >>",
        7: stream("/Type /Metadata /Subtype /XML", metadata.encode()),
    }


def pdfua(*, kids: bool = False) -> Objects:
    """Two tagged pages that veraPDF calls PDF/UA-1; `kids` says how its parent tree is built."""
    metadata = (
        XMP.replace(
            'xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">',
            'xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/"'
            ' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt>'
            '<rdf:li xml:lang="x-default">Test</rdf:li></rdf:Alt></dc:title>',
        )
        .replace("<pdfaid:part>2</pdfaid:part>", "<pdfuaid:part>1</pdfuaid:part>")
        .replace("<pdfaid:conformance>B</pdfaid:conformance>", "")
    )
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 420 595] /Contents 4 0 R"
        b" /Resources << >> /Tabs /S >>"
    )
    return {
        1: b"<< /Type /Catalog /Pages 2 0 R /Metadata 7 0 R /Lang (en)"
        b" /MarkInfo << /Marked true >> /ViewerPreferences << /DisplayDocTitle true >>"
        b" /StructTreeRoot 8 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R 12 0 R] /Count 2 >>",
        3: page,
        4: stream("", b"/Artifact BMC EMC"),
        5: b"null",
        6: b"<< >>",
        7: stream("/Type /Metadata /Subtype /XML", metadata.encode()),
        8: b"<< /Type /StructTreeRoot /K 9 0 R /ParentTree 10 0 R >>",
        9: b"<< /Type /StructElem /S /Document /P 8 0 R >>",
        10: b"<< /Kids [11 0 R] >>" if kids else b"<< /Nums [] >>",
        11: b"<< /Limits [0 4] /Nums [0 null 4 null] >>",
        12: page,
    }


def certified(permission: int) -> bytes:
    """A file whose author's signature (a stand-in) allows only what `permission` says (12.8.2.2)."""
    objects = one_page()
    objects[1] = (
        b"<< /Type /Catalog /Pages 2 0 R /Perms << /DocMDP 8 0 R >>"
        b" /AcroForm << /SigFlags 3 /Fields [9 0 R] >> >>"
    )
    objects[3] = objects[3].replace(b"/Rotate 0", b"/Annots [9 0 R]")
    transform = f"/TransformParams << /Type /TransformParams /P {permission} /V /1.2 >>"
    objects[8] = (
        "<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached"
        f" /Reference [<< /Type /SigRef /TransformMethod /DocMDP {transform} >>]"
        f" /ByteRange [0 10 20 30] /Contents <{'0' * 64}> >>"
    ).encode()
    objects[9] = (
        b"<< /Type /Annot /Subtype /Widget /FT /Sig /T (Author) /V 8 0 R /P 3 0 R"
        b" /Rect [0 0 0 0] /F 132 >>"
    )
    return with_table(objects)


def body(objects: Mapping[int, bytes], version: str) -> tuple[bytearray, dict[int, int]]:
    """Header and objects, with the offset of each."""
    out = bytearray(f"%PDF-{version}\n%\xe2\xe3\xcf\xd3\n".encode("latin-1"))
    offsets = {}
    for number, content in sorted(objects.items()):
        offsets[number] = len(out)
        out += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    return out, offsets


IDENTIFIER = "/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>]"


def with_table(objects: Mapping[int, bytes], version: str = "1.7", extra: str = "") -> bytes:
    """Cross-reference table (7.5.4)."""
    out, offsets = body(objects, version)
    start = len(out)
    size = max(objects) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n".encode()
    for number in range(1, size):
        at = offsets.get(number)
        out += b"0000000000 00000 f \n" if at is None else f"{at:010d} 00000 n \n".encode()
    out += f"trailer\n<< /Size {size} /Root 1 0 R /Info 6 0 R {IDENTIFIER}{extra} >>\n".encode()
    return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())


def rows(entries: Mapping[int, tuple[int, int, int]], size: int) -> bytes:
    """Entries of a cross-reference stream with /W [1 4 2] (7.5.8.3)."""
    out = bytearray()
    for number in range(size):
        kind, second, third = entries.get(number, (0, 0, 65535 if number == 0 else 0))
        out += bytes([kind]) + second.to_bytes(4, "big") + third.to_bytes(2, "big")
    return bytes(out)


def with_stream(
    objects: Mapping[int, bytes], version: str = "1.7", packed: tuple[int, ...] = ()
) -> bytes:
    """Cross-reference stream (7.5.8); the `packed` objects go into an object stream (7.5.7)."""
    plain = {number: content for number, content in objects.items() if number not in packed}
    entries: dict[int, tuple[int, int, int]] = {}
    container = max(objects) + 1
    if packed:
        heads, bodies = [], b""
        for index, number in enumerate(packed):
            heads.append(f"{number} {len(bodies)}")
            bodies += objects[number] + b" "
            entries[number] = (2, container, index)
        head = (" ".join(heads) + " ").encode()
        content = zlib.compress(head + bodies)
        plain[container] = stream(
            f"/Type /ObjStm /N {len(packed)} /First {len(head)} /Filter /FlateDecode", content
        )
    out, offsets = body(plain, version)
    own = container + 1
    start = len(out)
    entries |= {number: (1, offset, 0) for number, offset in offsets.items()}
    entries[own] = (1, start, 0)
    table = zlib.compress(rows(entries, own + 1))
    dictionary = (
        f"/Type /XRef /Size {own + 1} /W [1 4 2] /Root 1 0 R /Info 6 0 R {IDENTIFIER} "
        "/Filter /FlateDecode"
    )
    out += f"{own} 0 obj\n".encode() + stream(dictionary, table) + b"\nendobj\n"
    return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())


def hybrid(objects: Mapping[int, bytes]) -> bytes:
    """A table whose trailer names a cross-reference stream with hidden objects (7.5.8.4)."""
    hidden = max(objects) + 1
    container, own = hidden + 1, hidden + 2
    first = f"{hidden} 0 "
    packed = zlib.compress(first.encode() + b"<< /Hidden true >>")
    plain = {
        **objects,
        container: stream(f"/Type /ObjStm /N 1 /First {len(first)} /Filter /FlateDecode", packed),
    }
    out, offsets = body(plain, "1.7")
    stream_at = len(out)
    row = bytes([2]) + container.to_bytes(4, "big") + bytes(2)
    dictionary = f"/Type /XRef /Size {own + 1} /W [1 4 2] /Index [{hidden} 1] /Root 1 0 R"
    out += f"{own} 0 obj\n".encode() + stream(dictionary, row) + b"\nendobj\n"
    offsets[own] = stream_at
    start = len(out)
    size = own + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n".encode()
    for number in range(1, size):
        at = offsets.get(number)
        out += b"0000000000 00000 f \n" if at is None else f"{at:010d} 00000 n \n".encode()
    trailer = f"<< /Size {size} /Root 1 0 R /Info 6 0 R {IDENTIFIER} /XRefStm {stream_at} >>"
    return bytes(out + f"trailer\n{trailer}\nstartxref\n{start}\n%%EOF\n".encode())


def through_qpdf(source: bytes, folder: Path, *options: str) -> bytes:
    """The same document written by qpdf."""
    before, after = folder / "before.pdf", folder / "after.pdf"
    before.write_bytes(source)
    subprocess.run(["qpdf", *options, str(before), str(after)], check=True, capture_output=True)
    return after.read_bytes()


NAMES = (
    "table",
    "xref-stream",
    "object-stream",
    "hybrid",
    "linearised",
    "encrypted-rc4",
    "encrypted-aes128",
    "encrypted-aes256",
    "rotated",
    "pdf20",
    "pdfa-like",
)


def generate(name: str, folder: Path) -> bytes:
    """The generated file of this name; qpdf works in `folder`."""
    plain = with_table(one_page())
    makers = {
        "table": lambda: plain,
        "xref-stream": lambda: with_stream(one_page()),
        "object-stream": lambda: with_stream(one_page(), packed=(1, 2, 3, 5, 6)),
        "hybrid": lambda: hybrid(one_page()),
        "linearised": lambda: through_qpdf(plain, folder, "--linearize"),
        "encrypted-rc4": lambda: through_qpdf(
            plain,
            folder,
            "--allow-weak-crypto",
            "--encrypt",
            "",
            "owner",
            "128",
            "--use-aes=n",
            "--",
        ),
        "encrypted-aes128": lambda: through_qpdf(
            plain,
            folder,
            "--allow-weak-crypto",
            "--encrypt",
            "",
            "owner",
            "128",
            "--use-aes=y",
            "--",
        ),
        "encrypted-aes256": lambda: through_qpdf(
            plain, folder, "--encrypt", "", "owner", "256", "--"
        ),
        "rotated": lambda: with_table(one_page(rotate=90)),
        "pdf20": lambda: with_table(one_page(), "2.0"),
        "pdfa-like": lambda: with_table(one_page(pdfa=True)),
    }
    return makers[name]()
