"""PDF files of any size, written piece by piece; nothing of Hashseal is used here."""

from __future__ import annotations

from pathlib import Path

import generated_pdfs


def sized(path: Path, octets: int, objects: int) -> None:
    """A file of about this size: the page and that many streams of noise."""
    each = max(1, octets // objects)
    offsets = {}
    with path.open("wb") as file:
        head, offsets = generated_pdfs.body(generated_pdfs.one_page(), "1.7")
        file.write(head)
        noise = bytes(range(256)) * (each // 256 + 1)
        for number in range(7, 7 + objects):
            offsets[number] = file.tell()
            file.write(b"%d 0 obj\n<< /Length %d >>\nstream\n" % (number, each))
            file.write(noise[:each])
            file.write(b"\nendstream\nendobj\n")
        start = file.tell()
        size = 7 + objects
        file.write(b"xref\n0 %d\n0000000000 65535 f \n" % size)
        for number in range(1, size):
            file.write(b"%010d 00000 n \n" % offsets[number])
        file.write(b"trailer\n<< /Size %d /Root 1 0 R /Info 6 0 R >>\n" % size)
        file.write(b"startxref\n%d\n%%%%EOF\n" % start)
