"""Letters out of font files, by fontTools; imported when a text is set, not before."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Literal

from fontTools.pens.basePen import BasePen
from fontTools.ttLib import TTFont, TTLibError

from hashseal_core.errors import ConfigurationInvalid
from hashseal_core.lettering import Letter, Point, Segment


def opened(path: str) -> FontFace:
    """The first face of a font file.

    Raises:
        ConfigurationInvalid: it cannot be read, or is no font.
    """
    try:
        return FontFace(TTFont(BytesIO(Path(path).read_bytes()), fontNumber=0))
    except (OSError, TTLibError, KeyError) as error:
        raise ConfigurationInvalid(f"{path} is not a font that can be read") from error


class FontFace:
    """Letters of one font."""

    def __init__(self, font: TTFont) -> None:
        self._em = float(font["head"].unitsPerEm)
        self._characters: dict[int, str] = font.getBestCmap() or {}
        self._glyphs = font.getGlyphSet()

    def __contains__(self, character: str) -> bool:
        return ord(character) in self._characters

    def letter(self, character: str) -> Letter:
        """The character, which the face must have."""
        glyph = self._glyphs[self._characters[ord(character)]]
        pen = _Pen(self._glyphs, self._em)
        glyph.draw(pen)
        return Letter(character, glyph.width / self._em, tuple(pen.segments))


class _Pen(BasePen):  # type: ignore[misc]
    """Notes what a glyph is made of: curves become cubic ones, components are resolved."""

    def __init__(self, glyphs: object, em: float) -> None:
        super().__init__(glyphs)
        self._per_em = em
        self.segments: list[Segment] = []

    def _note(self, command: Literal["M", "L", "C"], *points: tuple[float, float]) -> None:
        placed = tuple(Point(x / self._per_em, y / self._per_em) for x, y in points)
        self.segments.append(Segment(command, placed))

    def _moveTo(self, point: tuple[float, float]) -> None:  # noqa: N802
        self._note("M", point)

    def _lineTo(self, point: tuple[float, float]) -> None:  # noqa: N802
        self._note("L", point)

    def _curveToOne(  # noqa: N802
        self, first: tuple[float, float], second: tuple[float, float], end: tuple[float, float]
    ) -> None:
        self._note("C", first, second, end)

    def _closePath(self) -> None:  # noqa: N802
        self.segments.append(Segment("Z"))

    def _endPath(self) -> None:  # noqa: N802
        self._closePath()
