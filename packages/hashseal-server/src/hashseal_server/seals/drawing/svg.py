"""Writes a picture in the few words of SVG that the SDK reads: one `svg`, a `title`, `path`s.

Coordinates are whole numbers of 5 µm, so that equal pictures are equal octets on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from hashseal_core.lettering import Outline, Point

PER_MILLIMETRE = 200


@dataclass(frozen=True, slots=True)
class Picture:
    """Inked areas (nonzero rule) in millimetres around the middle; `colour` is `#rrggbb`."""

    width: float
    height: float
    colour: str
    areas: Sequence[Outline]
    title: str

    def svg(self) -> bytes:
        """The picture as an SVG document, UTF-8."""
        width, height = (round(side * PER_MILLIMETRE) for side in (self.width, self.height))
        middle = Point(width / 2, height / 2)
        paths = "".join(f'<path d="{_path(area, middle)}"/>\n' for area in self.areas if area)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_millimetres(width)}mm" '
            f'height="{_millimetres(height)}mm" viewBox="0 0 {width} {height}" '
            f'fill="{self.colour}">\n<title>{escape(self.title)}</title>\n{paths}</svg>\n'
        ).encode()


def _millimetres(units: int) -> str:
    return f"{units / PER_MILLIMETRE:.3f}".rstrip("0").rstrip(".")


def _path(area: Outline, middle: Point) -> str:
    parts: list[str] = []
    for segment in area:
        numbers = [
            str(round(PER_MILLIMETRE * value + shift))
            for point in segment.points
            for value, shift in zip(point, middle, strict=True)
        ]
        parts.append(segment.command + " ".join(numbers))
    return "".join(parts)
