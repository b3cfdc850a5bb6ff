"""Sets text in straight lines and on arcs, as large as the room allows.

A text that is too long for its room is first condensed, then made smaller; the words stay whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hashseal_core.lettering import Letter, Outline, Point, moved

IDEOGRAPH_MIDDLE = 0.38
"""Height of the middle of an ideograph above the baseline, in em."""
CAPITAL_MIDDLE = 0.355
"""The same of a capital letter."""


@dataclass(frozen=True, slots=True)
class Type:
    """How text is set.

    Attributes:
        size: of the em, in millimetres, before it is made smaller.
        tracking: room between letters in em.
        condensed: the narrowest that letters get before they get smaller.
        width: how wide letters are at most; less than 1 makes them tall.
        middle: height of the letters' middle above the baseline, in em.
    """

    size: float
    tracking: float = 0.0
    condensed: float = 0.62
    width: float = 1.0
    middle: float = CAPITAL_MIDDLE


@dataclass(frozen=True, slots=True)
class Fitted:
    """Size in millimetres and width of letters that fill a room."""

    size: float
    width: float


def natural(letters: Sequence[Letter], tracking: float) -> float:
    """Length of the text in em, without room behind its last letter."""
    return sum(letter.advance for letter in letters) + tracking * max(0, len(letters) - 1)


def fit(letters: Sequence[Letter], style: Type, room: float) -> Fitted:
    """What makes the text as long as `room` (millimetres) or shorter."""
    length = natural(letters, style.tracking) * style.size
    if length <= 0:
        return Fitted(style.size, style.width)
    width = min(style.width, room / length)
    if width >= style.condensed:
        return Fitted(style.size, width)
    return Fitted(style.size * room / (length * style.condensed), style.condensed)


def line(letters: Sequence[Letter], style: Type, room: float, middle: Point) -> Outline:
    """The text centred on a point, upright."""
    fitted = fit(letters, style, room)
    scale = fitted.size * fitted.width
    begin = middle.x - natural(letters, style.tracking) * scale / 2
    baseline = middle.y + style.middle * fitted.size
    found: list[Outline] = []
    for letter in letters:
        left = begin

        def put(point: Point, left: float = left) -> Point:
            return Point(left + point.x * scale, baseline - point.y * fitted.size)

        found.append(moved(letter.outline, put))
        begin += (letter.advance + style.tracking) * scale
    return tuple(segment for outline in found for segment in outline)


@dataclass(frozen=True, slots=True)
class Arc:
    """Where text stands on a circle around the middle.

    Attributes:
        radius: of the line through the middle of the letters, in millimetres.
        span: the angle that the text may take, in radians.
        below: on the lower half, letters with their feet outwards.
        even: radians from one letter's middle to the next when there is room for more; None
            sets them as close as in a line.
    """

    radius: float
    span: float
    below: bool = False
    even: float | None = None


def on_arc(letters: Sequence[Letter], style: Type, arc: Arc) -> Outline:
    """The text centred at the top of the circle, or at its bottom."""
    if not letters:
        return ()
    fitted = fit(letters, style, arc.span * arc.radius)
    scale = fitted.size * fitted.width
    tracking = style.tracking
    if arc.even is not None and len(letters) > 1:
        gaps = len(letters) - 1
        spread = min(arc.even * gaps, arc.span - scale / arc.radius)
        missing = spread * arc.radius / scale - (
            natural(letters, tracking) - (letters[0].advance + letters[-1].advance) / 2
        )
        tracking += max(0.0, missing / gaps)
    begin = -natural(letters, tracking) * scale / 2
    found: list[Outline] = []
    for letter in letters:
        angle = (begin + letter.advance * scale / 2) / arc.radius
        found.append(moved(letter.outline, _turned(letter, fitted, style.middle, arc, angle)))
        begin += (letter.advance + tracking) * scale
    return tuple(segment for outline in found for segment in outline)


class _turned:  # noqa: N801 - it is called like the function that it makes
    """Puts a letter on the circle at an angle from its top, or bottom."""

    def __init__(
        self, letter: Letter, fitted: Fitted, middle: float, arc: Arc, angle: float
    ) -> None:
        self._centre = letter.advance / 2
        self._across = fitted.size * fitted.width
        self._up = fitted.size
        self._middle = middle
        self._arc = arc
        self._sin, self._cos = math.sin(angle), math.cos(angle)

    def __call__(self, point: Point) -> Point:
        x = (point.x - self._centre) * self._across
        y = (point.y - self._middle) * self._up
        if self._arc.below:
            out = self._arc.radius - y
            return Point(out * self._sin + x * self._cos, out * self._cos - x * self._sin)
        out = self._arc.radius + y
        return Point(out * self._sin + x * self._cos, x * self._sin - out * self._cos)


def halves(text: str, share: float = 0.5) -> tuple[str, str]:
    """The text in two parts, the first of about this share, between words where there are any."""
    breaks = [index for index, character in enumerate(text) if character == " "]
    middle = math.ceil(len(text) * share)
    if not breaks:
        return text[:middle], text[middle:]
    middle = min(breaks, key=lambda index: abs(index - len(text) * share))
    return text[:middle], text[middle + 1 :]
