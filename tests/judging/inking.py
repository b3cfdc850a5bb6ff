"""What two independent readers draw differently on a page, in points of the page as it is shown."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

RESOLUTION = 144


class Ink(NamedTuple):
    """The rectangle in which two pictures differ, in points from the top left corner."""

    left: float
    top: float
    right: float
    bottom: float


class Image(NamedTuple):
    """Pixels, three octets each."""

    width: int
    height: int
    pixels: bytes


def poppler(path: Path, page: int = 1, resolution: int = RESOLUTION) -> Image:
    """A page as Poppler draws it."""
    number = str(page)
    return _read(
        "pdftoppm", "-cropbox", "-r", str(resolution), "-f", number, "-l", number, str(path)
    )


def mupdf(path: Path, page: int = 1, resolution: int = RESOLUTION) -> Image:
    """A page as MuPDF draws it."""
    return _read(
        "mutool", "draw", "-q", "-F", "ppm", "-r", str(resolution), "-o", "-", str(path), str(page)
    )


def dark(image: Image, left: float, top: float, right: float, bottom: float) -> bytes:
    """One octet for each pixel of this rectangle (points): 1 where there is little red."""
    scale = RESOLUTION / 72
    columns = slice(3 * round(left * scale), 3 * round(right * scale), 3)
    row = 3 * image.width
    reds = b"".join(
        image.pixels[number * row : (number + 1) * row][columns]
        for number in range(round(top * scale), round(bottom * scale))
    )
    return bytes(red < 128 for red in reds)


READERS = {"poppler": poppler, "mupdf": mupdf}


def _read(*command: str) -> Image:
    out = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    kind, size, depth, rest = out.split(b"\n", 3)
    assert (kind, depth) == (b"P6", b"255")
    width, height = map(int, size.split())
    assert len(rest) == 3 * width * height
    return Image(width, height, rest)


def difference(before: Image, after: Image, resolution: int = RESOLUTION) -> Ink | None:
    """Where they differ; None when they do not."""
    assert (before.width, before.height) == (after.width, after.height)
    row = 3 * before.width
    lefts, rights, rows = [], [], []
    for number in range(before.height):
        old = before.pixels[number * row : (number + 1) * row]
        new = after.pixels[number * row : (number + 1) * row]
        if old != new:
            changed = [index for index in range(row) if old[index] != new[index]]
            lefts.append(changed[0] // 3)
            rights.append(changed[-1] // 3 + 1)
            rows.append(number)
    if not rows:
        return None
    scale = 72 / resolution
    return Ink(min(lefts) * scale, rows[0] * scale, max(rights) * scale, (rows[-1] + 1) * scale)
