"""What is to be seen of a signature: on which page, where there, in which style."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from hashseal import pdf
from hashseal_core.errors import InvalidValue

CONTROL = re.compile(r"[\x00-\x1f\x7f\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
NONE = "none"
Style = Literal["seal", "seal-and-text"]
PositionName = Literal[
    "top-left", "top", "top-right", "left", "middle", "right",
    "bottom-left", "bottom", "bottom-right",
]  # fmt: skip
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Distance = Annotated[float, msgspec.Meta(ge=0, le=14400)]
_Length = Annotated[float, msgspec.Meta(gt=0, le=14400)]
_PageNumber = Annotated[int, msgspec.Meta(ge=1, le=9_999_999)]
_FIELD = "appearance"
_PLACE = ("page", "position", "box", "anchor", "size")
_TEXTS = ("hint", "alternative_text")
_WHOLE = 100.0
_TOLERANCE = 1e-6


class AppearanceBox(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """A rectangle, from the top left corner of the page as it is shown; points are 1/72 inch."""

    left: _Distance
    top: _Distance
    width: _Length
    height: _Length
    unit: Literal["points", "percent"] = "points"


class AppearanceAnchor(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """Words on the page, the seal stands over their middle; `occurrence` -1 is the last one."""

    text: _Text
    occurrence: Annotated[int, msgspec.Meta(ge=-1000, le=1000)] = -1


class Appearance(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """Where the seal stands, and how. One of `position`, `box` and `anchor`, or none of them.

    `page` counts from 1; `every` puts the picture on all pages, `any` looks for the words of
    `anchor` in the whole file. Without a page it is the last one, without a place the bottom right
    corner. `size` is the longer side in points, for `position` and `anchor`. `style` says whether
    text stands beside the seal: signer, time, reason, location, SealID and `hint`.
    """

    page: _PageNumber | Literal["last", "every", "any"] | None = None
    position: PositionName | None = None
    box: AppearanceBox | None = None
    anchor: AppearanceAnchor | None = None
    size: _Length | None = None
    style: Style | None = None
    hint: _Text | None = None
    alternative_text: _Text | None = None


Wanted: TypeAlias = Annotated[str, msgspec.Meta(max_length=300)] | Appearance | None
"""`none`, a place as `hashseal sign --seal-at` takes it (`last:bottom-right`), or an object."""


def checked(wanted: Wanted) -> Wanted:
    """The same, a place in words as an object; afterwards the only string is `none`.

    Raises:
        InvalidValue: it is no place, or contradicts itself.
    """
    if wanted is None or wanted == NONE:
        return wanted
    made = of_place(wanted) if isinstance(wanted, str) else wanted
    texts = [getattr(made, name) or "" for name in _TEXTS]
    if CONTROL.search("".join([*texts, made.anchor.text if made.anchor else ""])):
        raise InvalidValue("there is a control character in it", field=_FIELD)
    if sum(one is not None for one in (made.position, made.box, made.anchor)) > 1:
        raise InvalidValue("say one of position, box and anchor", field=_FIELD)
    if made.anchor is not None and (made.anchor.occurrence == 0 or not made.anchor.text.strip()):
        raise InvalidValue("an anchor has words, and an occurrence that is not 0", field=_FIELD)
    if made.page == "any" and made.anchor is None:
        raise InvalidValue("page any goes with an anchor only", field=_FIELD)
    if made.page == "every" and made.anchor is not None:
        raise InvalidValue("page every does not go with an anchor; say any", field=_FIELD)
    if made.box is not None:
        _check_box(made.box, made.size)
    return made


def _check_box(box: AppearanceBox, size: float | None) -> None:
    if size is not None:
        raise InvalidValue("a box has a size of its own", field=_FIELD)
    ends = max(box.left + box.width, box.top + box.height)
    if box.unit == "percent" and ends > _WHOLE + _TOLERANCE:
        raise InvalidValue("the box is not wholly on the page", field=_FIELD)


def of_place(text: str, style: Style | None = None) -> Appearance:
    """The appearance at a place such as `last:bottom-right` or `any:text=Seller`.

    Raises:
        InvalidValue: the text names no place.
    """
    try:
        found = pdf.read_place(text)
    except InvalidValue as error:
        raise InvalidValue(f"none, or {error.detail}", field=_FIELD) from error
    position, box, anchor = None, None, None
    match found.where:
        case pdf.Box(left, top, width, height, percent):
            if max(left, top, width, height) > 14400:  # noqa: PLR2004 - as an object has it
                raise InvalidValue("a page has 14400 points at most", field=_FIELD)
            unit: Literal["points", "percent"] = "percent" if percent else "points"
            box = AppearanceBox(left=left, top=top, width=width, height=height, unit=unit)
        case pdf.Anchor(words, occurrence):
            anchor = AppearanceAnchor(text=words, occurrence=occurrence)
        case pdf.Position(name):
            position = next(one for one in get_args(PositionName) if one == name)
    return Appearance(page=found.page, position=position, box=box, anchor=anchor, style=style)


def combined(asked: Wanted, default: Wanted) -> Appearance | None:
    """What is asked for; a place, a style or a text that is not said is the default's.

    The place is taken as a whole: who says a page or a box says all of it.
    """
    if isinstance(asked, str) or (asked is None and not isinstance(default, Appearance)):
        return None
    if not isinstance(default, Appearance):
        return asked
    if asked is None:
        return default
    missing = ["style", *_TEXTS]
    if all(getattr(asked, name) is None for name in _PLACE):
        missing += _PLACE
    values = {name: getattr(default, name) for name in missing if getattr(asked, name) is None}
    return msgspec.structs.replace(asked, **values)


def place_of(wanted: Appearance) -> pdf.Place:
    """The place as the SDK takes it."""
    where: pdf.Position | pdf.Box | pdf.Anchor = pdf.Position()
    if wanted.position is not None:
        where = pdf.Position(wanted.position)
    elif wanted.box is not None:
        box = wanted.box
        where = pdf.Box(box.left, box.top, box.width, box.height, percent=box.unit == "percent")
    elif wanted.anchor is not None:
        where = pdf.Anchor(wanted.anchor.text.strip(), wanted.anchor.occurrence)
    return pdf.Place(wanted.page or "last", where, wanted.size)
