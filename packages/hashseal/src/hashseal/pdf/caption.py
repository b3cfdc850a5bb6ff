"""Text beside a seal as outlines, so that a file needs no font for it."""

from __future__ import annotations

from collections.abc import Sequence

from hashseal_core.lettering import Letter, Outline, Point, Typeface, moved, shipped

_LEADING = 1.32
_ASCENT = 0.78
_NARROWEST = 0.8
_LARGEST = 9.0
_SMALLEST = 3.0


def typeface() -> Typeface:
    """What captions are set in: upright letters, ideographs from the seals' face."""
    return Typeface([shipped("sans"), shipped("serif"), shipped("song")])


def set_lines(lines: Sequence[str], width: float, height: float) -> Outline:
    """The lines as large as they fit into a box (points), origin top left, y downwards.

    A line that is too long is broken between words, then narrowed; in the end it is made to fit.

    Raises:
        CharacterUndrawable: a line has a character that no font has.
    """
    face = typeface()
    words = [[face.letters(word) for word in line.split()] for line in lines]
    space = face.letters(" ")
    size = _LARGEST
    rows = _broken(words, space, width / size)
    while size > _SMALLEST and (
        len(rows) * size * _LEADING > height
        or any(_length(row) * size * _NARROWEST > width for row in rows)
    ):
        size *= 0.95
        rows = _broken(words, space, width / size)
    tall = min(1.0, height / (len(rows) * size * _LEADING)) if rows else 1.0
    found: list[Outline] = []
    top = max(0.0, (height - len(rows) * size * _LEADING) / 2)
    for number, row in enumerate(rows):
        length = _length(row) * size
        narrow = min(1.0, width / length) if length else 1.0
        baseline = top + (number * _LEADING + _ASCENT + (_LEADING - 1) / 2) * size * tall
        found.append(_row(row, size * narrow, size * tall, baseline))
    return tuple(segment for outline in found for segment in outline)


def _length(row: Sequence[Letter]) -> float:
    return sum(letter.advance for letter in row)


def _broken(
    lines: Sequence[Sequence[Sequence[Letter]]], space: Sequence[Letter], width: float
) -> list[list[Letter]]:
    """Rows no longer than `width` (em) where words allow it."""
    rows: list[list[Letter]] = []
    for words in lines:
        row: list[Letter] = []
        for word in words:
            longer = [*row, *space, *word] if row else list(word)
            if row and _length(longer) > width:
                rows.append(row)
                longer = list(word)
            row = longer
        rows.append(row)
    return rows


def _row(row: Sequence[Letter], across: float, up: float, baseline: float) -> Outline:
    found: list[Outline] = []
    left = 0.0
    for letter in row:
        begin = left

        def put(point: Point, begin: float = begin) -> Point:
            return Point(begin + point.x * across, baseline - point.y * up)

        found.append(moved(letter.outline, put))
        left += letter.advance * across
    return tuple(segment for outline in found for segment in outline)
