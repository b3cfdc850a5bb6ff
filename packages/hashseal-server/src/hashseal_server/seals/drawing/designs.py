"""The designs: round red or blue for organisations, a red square or a signature for people.

Which one it is, the writing says: a name with a Chinese character has the Chinese design, unless
the organisation is Japanese or Korean.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from hashseal_core.lettering import (
    Face,
    FaceName,
    Letter,
    Outline,
    Point,
    Segment,
    Typeface,
    box_of,
    composed,
    moved,
    shipped,
)
from hashseal_server.seals.drawing.setting import (
    IDEOGRAPH_MIDDLE,
    Arc,
    Type,
    halves,
    line,
    natural,
    on_arc,
)
from hashseal_server.seals.drawing.shapes import frame, ring, rule, star
from hashseal_server.seals.drawing.svg import Picture

RED, BLUE, INK = "#d4101e", "#16419a", "#132a6b"
_OTHERS = frozenset({"JP", "KR"})
"""Where names have ideographs and seals no star."""
_TRADITIONAL = frozenset({"TW", "HK", "MO"})
_CHINESE = {
    "official": ("", ""),
    "authorised-signature": ("授权签字章", "授權簽字章"),
    "contract": ("合同专用章", "合約專用章"),
    "hr": ("人事专用章", "人事專用章"),
    "finance": ("财务专用章", "財務專用章"),
    "invoice": ("发票专用章", "發票專用章"),
}
"""What stands across; on an official seal, by custom, nothing but the star."""
_LATIN = {
    "official": ("OFFICIAL", "SEAL"),
    "authorised-signature": ("AUTHORISED", "SIGNATURE"),
    "contract": ("CONTRACT", "SEAL"),
    "hr": ("HUMAN", "RESOURCES"),
    "finance": ("FINANCE", "SEAL"),
    "invoice": ("INVOICE", "SEAL"),
}
_TITLES = {
    "official": "Official seal",
    "authorised-signature": "Authorised signature seal",
    "contract": "Contract seal",
    "hr": "Human resources seal",
    "finance": "Finance seal",
    "invoice": "Invoice seal",
    "personal": "Personal seal",
}
_ROUND = 42.0
_MANY_IDEOGRAPHS = 26
_MANY_LATIN = 42
_FEW = 4
_SHORT = 6
_LONG_SIGNATURE = 26


@dataclass(frozen=True, slots=True)
class SealData:
    """What a seal shows.

    Attributes:
        kind: one of `hashseal_server.seals.model.KINDS`.
        name: of the organisation, or of the person of a personal seal.
        number: an organisation's registration number, or nothing.
        address: or nothing.
        country: two capital letters, or nothing; some write the kind with traditional characters.
    """

    kind: str
    name: str
    number: str = ""
    address: str = ""
    country: str = ""


class _Case:
    """The faces at hand: those of the program, then those of the machine."""

    def __init__(self, more: Sequence[Face]) -> None:
        self._more = more

    def letters(self, text: str, *faces: FaceName) -> tuple[Letter, ...]:
        """The letters of a text, from these faces first."""
        usual: tuple[FaceName, ...] = ("serif", "song")
        chosen = [shipped(name) for name in (*faces, *(one for one in usual if one not in faces))]
        return Typeface([*chosen, *self._more]).letters(text)


def draw(data: SealData, more_faces: Sequence[Face] = ()) -> Picture:
    """The picture of a seal; `more_faces` are asked last for a character.

    Raises:
        CharacterUndrawable: a name, number or address has a character that no font has.
    """
    chinese = any(_is_ideograph(character) for character in composed(data.name))
    title, case = f"{_TITLES[data.kind]}: {data.name}", _Case(more_faces)
    if data.kind == "personal":
        return (_square if chinese else _signature)(data, title, case)
    return (_red if chinese and data.country not in _OTHERS else _blue)(data, title, case)


def _is_ideograph(character: str) -> bool:
    return unicodedata.name(character, "").startswith("CJK ")


def _red(data: SealData, title: str, case: _Case) -> Picture:
    """Round and red: the name around a star, the kind across, a number or an address below."""
    kind = _CHINESE[data.kind][data.country in _TRADITIONAL]
    areas: list[Outline] = [ring(20.8, 1.25), star(6.6 if kind else 7.4)]
    name = composed(data.name)
    below = data.address or data.number
    span = math.radians(236 if below else 262)
    if len(name) > _MANY_IDEOGRAPHS:
        style = Type(3.7, condensed=0.5, width=0.8, middle=IDEOGRAPH_MIDDLE)
        for part, radius in zip(halves(name, 0.57), (16.9, 12.8), strict=True):
            arc = Arc(radius, span, even=math.radians(14))
            areas.append(on_arc(case.letters(part, "song"), style, arc))
        areas[1] = star(5.0 if kind else 6.0)
    else:
        style = Type(5.6, condensed=0.42, width=0.8, middle=IDEOGRAPH_MIDDLE)
        arc = Arc(15.6, span, even=math.radians(34 if len(name) <= _SHORT else 25))
        areas.append(on_arc(case.letters(name, "song"), style, arc))
    long = len(below) > _MANY_IDEOGRAPHS
    if kind:
        across = Type(3.9, width=0.88, tracking=0.06, middle=IDEOGRAPH_MIDDLE)
        middle = Point(0, 8.9 if long else 10.3)
        areas.append(line(case.letters(kind, "song"), across, 22, middle))
    small = Type(1.9, tracking=0.1, condensed=0.55)
    if data.address and data.number:
        room, middle = (12.5, Point(0, 12.0)) if long else (18, Point(0, 13.9))
        areas.append(line(case.letters(data.number, "serif"), small, room, middle))
    inner, outer = halves(below, 0.38) if long else ("", below)
    for part, radius, degrees in ((inner, 16.2, 66), (outer, 18.1, 100)):
        arc = Arc(radius, math.radians(degrees), below=True)
        areas.append(on_arc(case.letters(part, "serif"), small, arc))
    return Picture(_ROUND, _ROUND, RED, areas, title)


def _blue(data: SealData, title: str, case: _Case) -> Picture:
    """Round and blue: the name above, address or number below, the kind in the middle."""
    areas: list[Outline] = [ring(20.8, 0.75), ring(19.75, 0.22), ring(12.1, 0.3)]
    band, name, below = 15.95, composed(data.name), data.address or data.number
    lines: tuple[str, ...] = (below,) if len(below) <= _MANY_LATIN else halves(below, 0.45)
    small = Type(2.7 if len(lines) == 1 else 2.3, tracking=0.05, condensed=0.7)
    longest = max(natural(case.letters(part, "serif"), small.tracking) for part in lines)
    lower = min(math.radians(150), longest * small.size / (band - 1.2) + 0.02)
    upper = 2 * math.pi - lower - math.radians(44)
    style = Type(4.5, tracking=0.05, condensed=0.66)
    if len(name) > _MANY_LATIN:
        style = Type(2.9, tracking=0.03, condensed=0.66)
        for part, radius in zip(halves(name), (band + 1.75, band - 1.55), strict=True):
            areas.append(on_arc(case.letters(part, "serif"), style, Arc(radius, upper)))
    else:
        areas.append(on_arc(case.letters(name, "serif"), style, Arc(band, upper)))
    for part, radius in zip(lines, (band,) if len(lines) == 1 else (14.4, 17.5), strict=True):
        arc = Arc(radius, lower, below=True)
        areas.append(on_arc(case.letters(part, "serif"), small, arc))
    turn = lower / 2 + math.radians(11)
    for side in (-1, 1):
        at = Point(side * band * math.sin(turn), band * math.cos(turn))
        areas.append(star(1.25, at, turn=-side * (math.pi - turn)))
    areas.append(star(2.5, Point(0, -6.6)))
    first, second = _LATIN[data.kind]
    across = Type(3.6, tracking=0.05, condensed=0.5)
    areas.append(line(case.letters(first, "serif"), across, 20.4, Point(0, -1.35)))
    areas.append(line(case.letters(second, "serif"), across, 20.4, Point(0, 3.05)))
    if data.address and data.number:
        areas.append(rule(8, 0.2, Point(0, 6.1)))
        number = Type(2.0, tracking=0.05, condensed=0.55)
        areas.append(line(case.letters(data.number, "serif"), number, 13, Point(0, 8.1)))
    else:
        areas.append(rule(9, 0.25, Point(0, 6.6)))
        areas.append(rule(5, 0.25, Point(0, 7.5)))
    return Picture(_ROUND, _ROUND, BLUE, areas, title)


def _square(data: SealData, title: str, case: _Case) -> Picture:
    """A red square with the name in columns, read downwards from the right."""
    side = 20.0
    name = "".join(composed(data.name).split())
    if len(name) < _FEW and not name.endswith(("印", "章")):
        name += "之印" if len(name) == _FEW - 2 else "印"
    letters = case.letters(name, "song")
    columns = max(1, round(math.sqrt(len(letters))))
    room = side - 4.4
    width = room / columns
    areas: list[Outline] = [frame(side / 2 - 0.2, 1.05, 1.1)]
    fewest, more = divmod(len(letters), columns)
    begin = 0
    for column in range(columns):
        rows = fewest + (column < more)
        height = room / rows
        size = 1.07 * min(height, 1.35 * width)
        wide = min(1.3, 1.07 * width / size)
        style = Type(size, width=wide, middle=IDEOGRAPH_MIDDLE, condensed=0.3)
        for row in range(rows):
            middle = Point(room / 2 - (column + 0.5) * width, -room / 2 + (row + 0.5) * height)
            areas.append(line([letters[begin + row]], style, 1.07 * width, middle))
        begin += rows
    return Picture(side, side, RED, areas, title)


def _signature(data: SealData, title: str, case: _Case) -> Picture:
    """The name in script over a flourish."""
    name = " ".join(composed(data.name).split())
    faces: tuple[FaceName, ...] = ("script", "serif")
    if not Typeface([shipped("script")]).has(name):
        faces = ("serif",)
    rows = (name,) if len(name) <= _LONG_SIGNATURE else halves(name)
    written = tuple(
        segment
        for index, row in enumerate(rows)
        for segment in line(
            case.letters(row, *faces),
            Type(11.0, condensed=1.0),
            66,
            Point(4.0 * index, 9.0 * index),
        )
    )
    box = box_of(written)
    if box is None:
        return Picture(1, 1, INK, [], title)
    flourish = _flourish(box.right - box.left, box.top + 1.2)
    whole = box_of((*written, *flourish)) or box
    middle = Point((whole.left + whole.right) / 2, (whole.bottom + whole.top) / 2)

    def centred(point: Point) -> Point:
        return Point(point.x - middle.x, point.y - middle.y)

    return Picture(
        whole.right - whole.left + 1,
        whole.top - whole.bottom + 1,
        INK,
        [moved(written, centred), moved(flourish, centred)],
        title,
    )


def _flourish(length: float, y: float) -> Outline:
    """A stroke under a signature that swells and ends in a point."""
    half = length / 2 + 2

    def at(x: float, down: float) -> Point:
        return Point(x * half, y + down)

    return (
        Segment("M", (at(-0.92, 0.9),)),
        Segment("C", (at(-0.35, -0.55), at(0.3, -0.75), at(1, 0.1))),
        Segment("C", (at(0.3, -0.35), at(-0.3, -0.1), at(-0.92, 0.9))),
        Segment("Z"),
    )
