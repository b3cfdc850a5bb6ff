"""Text as outlines: no fonts are needed where it is shown, and nothing can be told from it but ink.

A letter's outline is in em, y upwards, origin on the baseline. Letters are set one beside the other
as their advances say: scripts that need shaping (Arabic, Indic) and combining marks that have no
composed form are refused, not set wrong. The fonts are in `hashseal_core.fonts`.
"""

from __future__ import annotations

import importlib
import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, NamedTuple, Protocol, TypeAlias

from hashseal_core.errors import CharacterUndrawable

SHIPPED = {"song": "Song.otf", "serif": "Serif.ttf", "sans": "Sans.ttf", "script": "Script.ttf"}
FaceName: TypeAlias = Literal["song", "serif", "sans", "script"]
_SHAPED = frozenset({"R", "AL", "AN"})
_COMBINING = frozenset({"Mn", "Mc", "Me"})


class Point(NamedTuple):
    """A place, in units that the context says."""

    x: float
    y: float


class Segment(NamedTuple):
    """Part of an outline: `M` and `L` with one point, `C` with three, `Z` with none."""

    command: Literal["M", "L", "C", "Z"]
    points: tuple[Point, ...] = ()


Outline: TypeAlias = tuple[Segment, ...]
"""Closed contours, filled by the nonzero rule."""
Transform: TypeAlias = Callable[[Point], Point]


@dataclass(frozen=True, slots=True)
class Letter:
    """One character; `advance` is how far the next one stands, in em."""

    character: str
    advance: float
    outline: Outline


class Box(NamedTuple):
    """What an outline covers: its extremes."""

    left: float
    bottom: float
    right: float
    top: float


def moved(outline: Outline, transform: Transform) -> Outline:
    """The outline with every point, control points too, put elsewhere."""
    return tuple(
        Segment(segment.command, tuple(transform(point) for point in segment.points))
        for segment in outline
    )


def box_of(outline: Iterable[Segment]) -> Box | None:
    """The smallest box around it, curves exactly; None when there is nothing."""
    xs: list[float] = []
    ys: list[float] = []
    here = Point(0, 0)
    for segment in outline:
        if segment.command == "C":
            for axis, found in ((0, xs), (1, ys)):
                found.extend(_extremes(here[axis], *(point[axis] for point in segment.points)))
        else:
            xs.extend(point.x for point in segment.points)
            ys.extend(point.y for point in segment.points)
        if segment.points:
            here = segment.points[-1]
    return Box(min(xs), min(ys), max(xs), max(ys)) if xs else None


def _extremes(start: float, first: float, second: float, end: float) -> list[float]:
    """Ends and turning points of one coordinate of a cubic curve."""
    found = [start, end]
    a = end - 3 * second + 3 * first - start
    b = 2 * (second - 2 * first + start)
    c = first - start
    times: list[float] = []
    if abs(a) > 1e-12:  # noqa: PLR2004 - else it is a parabola
        inner = b * b - 4 * a * c
        if inner >= 0:
            times = [(-b + sign * math.sqrt(inner)) / (2 * a) for sign in (1, -1)]
    elif abs(b) > 1e-12:  # noqa: PLR2004 - else it is a line
        times = [-c / b]
    for t in times:
        if 0 < t < 1:
            u = 1 - t
            found.append(u**3 * start + 3 * u * u * t * first + 3 * u * t * t * second + t**3 * end)
    return found


class Face(Protocol):
    """Letters of one font; see `hashseal_core.glyphs`."""

    def __contains__(self, character: str) -> bool: ...
    def letter(self, character: str) -> Letter: ...


class Typeface:
    """Faces in the order in which they are asked for a character."""

    def __init__(self, faces: Sequence[Face]) -> None:
        self._faces = tuple(faces)

    def has(self, text: str) -> bool:
        """The first face has every character of the text."""
        return all(character in self._faces[0] for character in composed(text))

    def letters(self, text: str) -> tuple[Letter, ...]:
        """The letters of a text, composed (NFC).

        Raises:
            CharacterUndrawable: no face has one of them, or it needs shaping.
        """
        return tuple(self._letter(character) for character in composed(text))

    def _letter(self, character: str) -> Letter:
        if (
            unicodedata.bidirectional(character) in _SHAPED
            or unicodedata.category(character) in _COMBINING
        ):
            raise CharacterUndrawable(f"{_named(character)} needs shaping, which is not done here")
        for face in self._faces:
            if character in face:
                return face.letter(character)
        raise CharacterUndrawable(f"no font has {_named(character)}")


def composed(text: str) -> str:
    """The text in the form in which it is drawn (Unicode NFC)."""
    return unicodedata.normalize("NFC", text)


def _named(character: str) -> str:
    name = unicodedata.name(character, "without a name")
    return f"the character U+{ord(character):04X} ({name})"


class _OnDemand:
    """A face whose file is opened when it is first asked: the largest takes long."""

    def __init__(self, opening: Callable[[], Face]) -> None:
        self._face = cache(opening)

    def __contains__(self, character: str) -> bool:
        return character in self._face()

    def letter(self, character: str) -> Letter:
        return self._face().letter(character)


@cache
def shipped(name: FaceName) -> Face:
    """A face that comes with the program: `song` and `serif` are bold, for seals."""

    def opening() -> Face:
        path = resources.files("hashseal_core.fonts").joinpath(SHIPPED[name])
        with resources.as_file(path) as file:
            return _opened(str(file))

    return _OnDemand(opening)


@cache
def installed(path: str) -> Face:
    """A face in a font file of this machine.

    Raises:
        ConfigurationInvalid: when it is first asked: the file cannot be read, or is no font.
    """
    return _OnDemand(lambda: _opened(path))


def _opened(path: str) -> Face:
    # fontTools takes long to import, and most of what imports this module draws nothing.
    glyphs = importlib.import_module("hashseal_core.glyphs")
    made: Face = glyphs.opened(path)
    return made
