"""What the try-it form says becomes options of the API, judged as those are."""

from __future__ import annotations

from pathlib import Path

import pytest

from hashseal_core.errors import InvalidValue
from hashseal_gateway.documents.model import Received
from hashseal_gateway.seals.appearance import Appearance, AppearanceBox
from hashseal_gateway.web.pages.try_it import _attachment, options_of, request_key

PLACE = {
    "appearance": "box", "page": "2", "left": "10.5", "top": "0", "width": "30", "height": "12",
    "unit": "percent", "style": "seal-and-text",
}  # fmt: skip


def test_a_place() -> None:
    made = options_of({"seal": "invoices", "level": "", "reason": " ", "password": "", **PLACE})
    assert made.seal == "invoices"
    assert (made.level, made.reason, made.password) == (None, None, None)
    box = AppearanceBox(left=10.5, top=0, width=30, height=12, unit="percent")
    assert made.appearance == Appearance(page=2, box=box, style="seal-and-text")


def test_nothing_seen_and_the_defaults() -> None:
    assert options_of({"appearance": "none", "page": "no number"}).appearance == "none"
    assert options_of({"appearance": "default"}).appearance is None
    assert options_of({}).appearance is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("page", "1.5"),
        ("page", "0"),
        ("page", ""),
        ("left", "nan"),
        ("left", "-1"),
        ("width", "inf"),
        ("width", "0"),
        ("height", "1e9"),
        ("unit", "miles"),
        ("style", "glitter"),
        ("appearance", "hologram"),
        ("level", "B-X"),
        ("seal", "a\u202eb"),
        ("width", "95"),
    ],
)
def test_what_cannot_be_taken(field: str, value: str) -> None:
    with pytest.raises(InvalidValue):
        options_of({**PLACE, field: value})


def test_one_form_and_one_document_is_one_request() -> None:
    one = Received(Path("a"), 1, "00" * 32)
    other = Received(Path("b"), 1, "11" * 32)
    form, wanted = "f" * 32, options_of(PLACE)
    key = request_key(form, one, wanted)
    assert key == request_key(form, one, options_of({**PLACE, "password": "x"}))
    assert key != request_key(form, other, wanted)
    assert key != request_key(form, one, options_of({**PLACE, "page": "3"}))
    assert key != request_key("g" * 32, one, wanted)
    assert request_key("", one, wanted) != request_key("", one, wanted)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (None, "document.signed.pdf"),
        ("a b.pdf", "a%20b.signed.pdf"),
        ('x"\r\nSet-Cookie: a=b.pdf', "x%22%0D%0ASet-Cookie%3A%20a%3Db.signed.pdf"),
        ("合同.PDF", "%E5%90%88%E5%90%8C.signed.pdf"),
    ],
)
def test_names_of_files_stay_in_their_header(name: str | None, shown: str) -> None:
    made = _attachment(name)
    assert made == f"attachment; filename=\"signed.pdf\"; filename*=UTF-8''{shown}"
    assert made.isascii()
