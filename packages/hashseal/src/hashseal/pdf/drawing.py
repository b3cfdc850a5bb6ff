"""Reads the pictures of seals: exactly the SVG that the service writes, and nothing else.

It is a grammar of its own, not XML: no declarations, entities, references, styles, scripts or
elements but `svg`, `title` and `path` can be said in it, so none can do harm. Whatever else is in
the octets, they are refused as a whole.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from hashseal_core.errors import AppearanceInvalid

MAXIMUM_OCTETS = 1 << 20
MAXIMUM_NUMBERS = 200_000
_MAXIMUM_SIDE = 200.0
_COORDINATE = r"-?(?:0|[1-9][0-9]{0,5})"
_LENGTH = r"([1-9][0-9]{0,2}(?:\.[0-9]{1,3})?)"
_HEAD = re.compile(
    r'<svg xmlns="http://www\.w3\.org/2000/svg" '
    rf'width="{_LENGTH}mm" height="{_LENGTH}mm" '
    r'viewBox="0 0 ([1-9][0-9]{0,5}) ([1-9][0-9]{0,5})" fill="#([0-9a-f]{6})">\n'
)
_TITLE = re.compile(r"<title>((?:[^<>&\x00-\x1f\x7f]|&amp;|&lt;|&gt;){1,500})</title>\n")
_PATH = re.compile(r'<path d="([MLCZ0-9 -]+)"/>\n')
_SEGMENT = re.compile(rf"([MLCZ])((?:{_COORDINATE})(?: {_COORDINATE})*)?")
_TAIL = "</svg>\n"
_OPERANDS = {"M": 2, "L": 2, "C": 6, "Z": 0}


class Step(NamedTuple):
    """One command of a path with its coordinates; `M` and `L` have two, `C` six, `Z` none."""

    command: Literal["M", "L", "C", "Z"]
    operands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A seal's picture: areas of one colour, filled by the nonzero rule.

    Attributes:
        width, height: natural size in millimetres.
        units: width and height in the units of the paths; origin top left, y downwards.
        colour: red, green, blue (sRGB), each 0 to 255.
        title: what it shows, in words.
        digest: SHA-256 of the SVG, in hexadecimal.
    """

    width: float
    height: float
    units: tuple[int, int]
    colour: tuple[int, int, int]
    paths: tuple[tuple[Step, ...], ...]
    title: str
    digest: str


def read_drawing(svg: bytes) -> Drawing:
    """The picture in an SVG of `GET /v1/seals/{id}/appearance`.

    Raises:
        AppearanceInvalid: the octets are not exactly what the service writes, or too many.
    """
    if len(svg) > MAXIMUM_OCTETS:
        raise AppearanceInvalid(f"the picture has more than {MAXIMUM_OCTETS} octets")
    try:
        text = svg.decode("utf-8")
    except UnicodeDecodeError:
        raise AppearanceInvalid("the picture is not UTF-8") from None
    head = _HEAD.match(text)
    title = head and _TITLE.match(text, head.end())
    if head is None or title is None:
        raise AppearanceInvalid("the picture does not begin as a seal's does")
    place, paths, numbers = title.end(), [], 0
    while (found := _PATH.match(text, place)) is not None:
        path = _steps(found[1])
        numbers += sum(len(step.operands) for step in path)
        if numbers > MAXIMUM_NUMBERS:
            raise AppearanceInvalid("the picture has too many points")
        paths.append(path)
        place = found.end()
    if text[place:] != _TAIL or not paths:
        raise AppearanceInvalid("the picture holds something that a seal's does not")
    width, height = float(head[1]), float(head[2])
    units = int(head[3]), int(head[4])
    if max(width, height) > _MAXIMUM_SIDE or abs(width * units[1] - height * units[0]) > max(units):
        raise AppearanceInvalid("the picture has an impossible size")
    colour = bytes.fromhex(head[5])
    return Drawing(
        width=width,
        height=height,
        units=units,
        colour=(colour[0], colour[1], colour[2]),
        paths=tuple(paths),
        title=title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"),
        digest=hashlib.sha256(svg).hexdigest(),
    )


def _steps(text: str) -> tuple[Step, ...]:
    found: list[Step] = []
    place = 0
    while place < len(text):
        segment = _SEGMENT.match(text, place)
        if segment is None:
            raise AppearanceInvalid("a path of the picture cannot be read")
        operands = tuple(int(number) for number in (segment[2] or "").split())
        command = segment[1]
        if len(operands) != _OPERANDS[command] or (not found and command != "M"):
            raise AppearanceInvalid("a path of the picture cannot be read")
        found.append(Step(command, operands))  # type: ignore[arg-type]
        place = segment.end()
    return tuple(found)
