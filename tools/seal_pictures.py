"""Make the pictures of docs/how-to/seal-appearance.md; needs Poppler's pdftoppm.

Each sheet is a PDF whose page is prepared once for every seal on it, as signing does it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hashseal import pdf
from hashseal.pdf.placement import POINTS_PER_MILLIMETRE
from hashseal_server.seals.drawing import SealData, draw
from hashseal_server.seals.model import KINDS

TARGET = Path(__file__).parent.parent / "docs" / "how-to" / "images"
ORGANISATIONS = ("official", "authorised-signature", "contract", "hr", "finance", "invoice")
Cell = tuple[SealData, float]
"""What is drawn, and how wide in points."""


def page(width: float, height: float, rotation: int = 0, content: bytes = b"") -> bytes:
    """A PDF with one page."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Rotate %d /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
        b" >>" % (width, height, rotation),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
    ]
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 5\n0000000000 65535 f \n"
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def stamped(source: Path, appearances: Sequence[pdf.SealAppearance]) -> Path:
    """The file with a field for each appearance."""
    for number, appearance in enumerate(appearances):
        target = source.with_name(f"{source.stem}-{number}.pdf")
        options = pdf.SignatureOptions(contents_size=64, appearance=appearance)
        pdf.prepare(source, target, options)
        source = target
    return source


def picture(path: Path, name: str, resolution: int) -> None:
    """The page as PNG, few colours."""
    command = ("pdftoppm", "-r", str(resolution), "-singlefile", "-png")
    subprocess.run([*command, path, TARGET / name], check=True)
    print(f"{name}.png: {(TARGET / f'{name}.png').stat().st_size} octets")


def sheet(name: str, cells: Sequence[Cell], columns: int, cell: tuple[int, int]) -> None:
    """Seals in rows, each in the middle of its cell."""
    rows = -(-len(cells) // columns)
    appearances = []
    for index, (data, width) in enumerate(cells):
        drawing = pdf.read_drawing(draw(data).svg())
        height = width * drawing.height / drawing.width
        row, column = divmod(index, columns)
        left = column * cell[0] + (cell[0] - width) / 2
        top = row * cell[1] + (cell[1] - height) / 2
        place = pdf.Place(1, pdf.Box(left, top, width, height))
        appearances.append(pdf.SealAppearance(drawing, place))
    with tempfile.TemporaryDirectory() as room:
        source = Path(room, "sheet.pdf")
        source.write_bytes(page(columns * cell[0], rows * cell[1]))
        picture(stamped(source, appearances), name, 100)


def on_pages() -> None:
    """A seal with text beside it on a turned page."""
    lines = [
        b"BT /F1 20 Tf 60 330 Td (Supply contract No. 2026-184) Tj ET",
        *(
            b"0.75 g 60 %d %d 5 re f" % (300 - 16 * row, 420 if row % 4 else 300)
            for row in range(9)
        ),
    ]
    drawing = pdf.read_drawing(draw(LATIN["contract"]).svg())
    beside = (
        "Signed by Meridian Trading GmbH", "Time: 2026-03-02 09:15:00 UTC", "Reason: Order 4711",
        "Seal: 8066661d59fa1ea0", "Verify with any PDF reader that checks signatures",
    )  # fmt: skip
    appearance = pdf.SealAppearance(drawing, pdf.Place(), beside)
    with tempfile.TemporaryDirectory() as room:
        source = Path(room, "page.pdf")
        # Written upright for a page that is shown turned by 90 degrees.
        content = b"q 0 1 -1 0 400 0 cm\n" + b"\n".join(lines) + b"\nQ"
        source.write_bytes(page(400, 595, 90, content))
        picture(stamped(source, [appearance]), "seal-on-a-page", 90)


CHINESE = {
    kind: SealData(kind, "深圳市晨光电子商务有限公司", "91440300MA5F8X7Y2Q", country="CN")
    for kind in ORGANISATIONS
}
LATIN = {kind: SealData(kind, "Meridian Trading GmbH", "HRB 184523") for kind in ORGANISATIONS}
PEOPLE = [
    SealData("personal", name)
    for name in ("王小明", "欧阳修文", "阿不都热合曼·买买提", "Katharina Lindqvist", "José Nuñez")
]
LONG = [
    SealData("contract", "内蒙古自治区锡林郭勒盟东乌珠穆沁旗乌里雅斯太镇农牧业生产资料股份有限公司",
             "91152525MA0Q9X1B7C", "内蒙古自治区锡林郭勒盟东乌珠穆沁旗乌里雅斯太镇希拉图街道办事处"
             "振兴路一百二十八号办公楼三层"),
    SealData("finance", "Donaudampfschifffahrtsgesellschaft Versicherungs-Aktiengesellschaft",
             "FN 123456a", "Erzherzog-Karl-Straße 128/3/17, 1220 Wien-Donaustadt, Österreich"),
    SealData("official", "Công ty Trách nhiệm hữu hạn Thương mại Điện tử", "0312345678"),
    SealData("official", "\u041e\u041e\u041e «Северный ветер»", "1027700132195"),
    SealData("hr", "𠮷野家(上海)餐饮有限公司", "9131"),
    SealData("personal", "Maximiliana-Theodora von Hohenstein-Württemberg"),
]  # fmt: skip


def main() -> int:
    """Write every picture."""
    if {data.kind for data in (*CHINESE.values(), *PEOPLE)} != KINDS:
        return 1
    TARGET.mkdir(exist_ok=True)
    sheet("seals-chinese", [(data, 119) for data in CHINESE.values()], 3, (150, 136))
    sheet("seals-latin", [(data, 119) for data in LATIN.values()], 3, (150, 136))
    sheet("seals-personal", [(data, 150 if data in PEOPLE[3:] else 70) for data in PEOPLE],
          3, (165, 90))  # fmt: skip
    sheet("seals-long", [(data, 119) for data in LONG], 3, (150, 136))
    natural = 42 * POINTS_PER_MILLIMETRE
    small = [CHINESE["finance"], LATIN["finance"]]
    sheet("seals-sizes", [(data, natural * share) for data in small for share in (1, 0.5, 0.25)],
          3, (140, 130))  # fmt: skip
    on_pages()
    return 0


if __name__ == "__main__":
    sys.exit(main())
