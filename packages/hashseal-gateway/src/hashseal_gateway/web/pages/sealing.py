"""An appearance as fields of a form, as words, and back."""

from __future__ import annotations

from typing import Any

import msgspec

from hashseal_core.errors import InvalidValue
from hashseal_gateway.seals.appearance import Appearance
from hashseal_gateway.seals.model import SealDefaults, SealOptions
from hashseal_gateway.web.pages.visitors import Form

PLACES = ("position", "box", "anchor")
_NUMBERS = ("left", "top", "width", "height")
_EMPTY = {
    "name": "", "level": "", "reason": "", "location": "", "contact": "", "page": "last",
    "page_number": "", "where": "position", "position": "bottom-right", "left": "60", "top": "75",
    "width": "30", "height": "15", "unit": "percent", "text": "", "occurrence": "-1", "size": "",
    "style": "seal", "hint": "", "alternative_text": "", "shown": "",
}  # fmt: skip
"""Every field with what stands in it at first."""


def fields_of(said: SealDefaults | None) -> dict[str, str]:
    """What the fields of the form hold."""
    values = dict(_EMPTY)
    options = SealOptions() if said is None else said.options
    values["name"] = (said.name if said else None) or ""
    for name in ("level", "reason", "location", "contact"):
        values[name] = getattr(options, name) or ""
    if not isinstance(options.appearance, Appearance):
        return values
    made = options.appearance
    values["shown"] = "yes"
    values["page"] = str(made.page or "last")
    if isinstance(made.page, int):
        values |= {"page": "number", "page_number": str(made.page)}
    values["style"] = made.style or "seal"
    values["size"] = "" if made.size is None else f"{made.size:g}"
    values |= {"hint": made.hint or "", "alternative_text": made.alternative_text or ""}
    if made.box is not None:
        values |= {"where": "box", "unit": made.box.unit}
        values |= {name: f"{getattr(made.box, name):g}" for name in _NUMBERS}
    elif made.anchor is not None:
        values |= {"where": "anchor", "text": made.anchor.text}
        values["occurrence"] = str(made.anchor.occurrence)
    else:
        values["position"] = made.position or "bottom-right"
    return values


def appearance_of(form: Form) -> Appearance | None:
    """What the form says is seen of a signature; None is nothing.

    Raises:
        InvalidValue: it is no place.
    """
    if not form.text("shown"):
        return None
    page = form.text("page") or "last"
    said: dict[str, Any] = {
        "page": _number(form, "page_number", int) if page == "number" else page,
        "style": form.text("style") or None,
        "hint": form.text("hint") or None,
        "alternative_text": form.text("alternative_text") or None,
    }
    where = form.text("where")
    if where == "box":
        box: dict[str, Any] = {name: _number(form, name, float) for name in _NUMBERS}
        said["box"] = {**box, "unit": form.text("unit")}
    elif where == "anchor":
        occurrence = _number(form, "occurrence", int)
        said["anchor"] = {"text": form.text("text"), "occurrence": occurrence}
    else:
        said["position"] = form.text("position")
    if where != "box" and form.text("size"):
        said["size"] = _number(form, "size", float)
    try:
        return msgspec.convert(
            {name: one for name, one in said.items() if one is not None}, Appearance
        )
    except msgspec.ValidationError as error:
        raise InvalidValue(
            "the place of the seal is not complete: look at page, place and size", field="where"
        ) from error


def in_words(said: SealDefaults | None) -> str:
    """Where a seal is shown, for people."""
    if said is None or not isinstance(said.options.appearance, Appearance):
        return "not shown on the page"
    made = said.options.appearance
    page = {"last": "last page", "every": "every page", "any": "any page"}.get(
        str(made.page or "last"), f"page {made.page}"
    )
    if made.box is not None:
        sign = " %" if made.box.unit == "percent" else " pt"
        place = f"{made.box.left:g}{sign} from the left, {made.box.top:g}{sign} from the top"
    elif made.anchor is not None:
        place = f"over “{made.anchor.text}”"
    else:
        place = (made.position or "bottom-right").replace("-", " ")
    style = ", with text beside it" if made.style == "seal-and-text" else ""
    return f"{page}, {place}{style}"


def _number(form: Form, name: str, kind: type[int | float]) -> float:
    try:
        return kind(form.text(name).replace(",", "."))
    except ValueError as error:
        raise InvalidValue(f"{name.replace('_', ' ')} is a number", field=name) from error
