"""What a caller may ask for, and how it goes together with a seal's defaults."""

from __future__ import annotations

import pytest

from hashseal import pdf
from hashseal_core.algorithms import Level
from hashseal_core.errors import HashsealError
from hashseal_gateway.documents import options
from hashseal_gateway.documents.options import DocumentOptions
from hashseal_gateway.seals.appearance import Appearance, combined, place_of
from hashseal_gateway.seals.model import SealOptions


def test_a_caller_comes_before_the_seal_and_the_seal_before_the_gateway() -> None:
    defaults = SealOptions(level="B-T", reason="default", contact="default")
    asked = DocumentOptions(reason="", location="Bern", certify="annotations")
    made = options.merged(asked, defaults, Level.B_LT)
    assert (made.level, made.reason, made.location, made.contact) == ("B-T", "", "Bern", "default")
    assert made.certify == "annotations"
    assert options.merged(DocumentOptions(), SealOptions(), Level.B_LTA).level is Level.B_LTA
    assert (
        options.merged(DocumentOptions(level=Level.B_B), defaults, Level.B_LTA).level is Level.B_B
    )


@pytest.mark.parametrize(
    ("octets", "code", "field"),
    [
        (b"[]", "invalid-value", "options"),
        (b"{", "malformed-request", None),
        (b"\xff", "malformed-request", None),
        (b'{"x": 1}', "unknown-field", None),
        (b'{"level": "B-X"}', "invalid-value", "level"),
        (b'{"reason": "' + b"x" * 201 + b'"}', "invalid-value", "reason"),
        (b'{"reason": "a\\u0000"}', "invalid-value", "reason"),
        (b'{"location": "a\\u202eb"}', "invalid-value", "location"),
        (b'{"external_id": ""}', "invalid-value", "external_id"),
        (b'{"appearance": true}', "invalid-value", "appearance"),
        (b'{"appearance": "somewhere"}', "invalid-value", "appearance"),
        (b'{"appearance": "last:text=a\\u202eb"}', "invalid-value", "appearance"),
        (b'{"appearance": "last:99999,1,1,1"}', "invalid-value", "appearance"),
        (b'{"appearance": {"page": 0}}', "invalid-value", "appearance"),
        (b'{"appearance": {"page": "first"}}', "invalid-value", "appearance"),
        (b'{"appearance": {"page": "any"}}', "invalid-value", "appearance"),
        (b'{"appearance": {"position": "centre"}}', "invalid-value", "appearance"),
        (b'{"appearance": {"style": "stamp"}}', "invalid-value", "appearance"),
        (b'{"appearance": {"colour": "red"}}', "unknown-field", None),
        (b'{"appearance": {"hint": "a\\u0000"}}', "invalid-value", "appearance"),
        (
            b'{"appearance": {"box": {"left": 1, "top": 1, "width": 0, "height": 1}}}',
            "invalid-value",
            "appearance",
        ),
        (
            b'{"appearance": {"box": {"left": 1, "top": 1, "width": 1}}}',
            "invalid-value",
            "appearance",
        ),
        (
            b'{"appearance": {"box": {"left": 90, "top": 1, "width": 11, "height": 1, '
            b'"unit": "percent"}}}',
            "invalid-value",
            "appearance",
        ),
        (
            b'{"appearance": {"size": 9, "box": {"left": 9, "top": 1, "width": 11, "height": 1}}}',
            "invalid-value",
            "appearance",
        ),
        (b'{"appearance": {"anchor": {"text": " "}}}', "invalid-value", "appearance"),
        (
            b'{"appearance": {"anchor": {"text": "x", "occurrence": 0}}}',
            "invalid-value",
            "appearance",
        ),
        (
            b'{"appearance": {"page": "every", "anchor": {"text": "x"}}}',
            "invalid-value",
            "appearance",
        ),
        (
            b'{"appearance": {"position": "top", "anchor": {"text": "x"}}}',
            "invalid-value",
            "appearance",
        ),
        (b" " * 20_000, "invalid-value", "options"),
    ],
)
def test_what_is_refused(octets: bytes, code: str, field: str | None) -> None:
    with pytest.raises(HashsealError) as refused:
        options.read(octets)
    assert (refused.value.code, refused.value.field) == (code, field)


def test_a_query_says_the_same_but_no_password() -> None:
    found = options.from_query({"level": "B-T", "certify": "no-changes", "seal": "x"})
    assert found == options.read(b'{"level": "B-T", "certify": "no-changes", "seal": "x"}')
    with pytest.raises(HashsealError) as refused:
        options.from_query({"password": "x"})
    assert refused.value.field == "password"


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("last", b'{"page": "last", "position": "bottom-right"}'),
        ("2:top", b'{"page": 2, "position": "top"}'),
        (
            "1:30,40,50,60",
            b'{"page": 1, "box": {"left": 30, "top": 40, "width": 50, "height": 60}}',
        ),
        (
            "every:10%,20%,30%,12.5%",
            b'{"page": "every", "box": {"left": 10, "top": 20, "width": 30, "height": 12.5, '
            b'"unit": "percent"}}',
        ),
        ("any:text=The seller", b'{"page": "any", "anchor": {"text": "The seller"}}'),
    ],
)
def test_a_place_in_words_is_the_same_as_an_object(text: str, octets: bytes) -> None:
    said = options.read(b'{"appearance": ' + octets + b"}")
    assert options.from_query({"appearance": text}) == said
    assert isinstance(said.appearance, Appearance)
    assert place_of(said.appearance) == pdf.read_place(text)


def test_an_appearance_comes_from_the_caller_then_from_the_seal() -> None:
    default = Appearance(position="top", size=50, style="seal-and-text", hint="Ask us")
    assert combined(None, default) == default
    assert combined("none", default) is None
    assert combined(None, "none") is combined(None, None) is combined("none", None) is None
    assert combined(Appearance(style="seal"), default) == Appearance(
        position="top", size=50, style="seal", hint="Ask us"
    )
    assert combined(Appearance(page=2), default) == Appearance(
        page=2, style="seal-and-text", hint="Ask us"
    )
    assert combined(Appearance(page=2), "none") == Appearance(page=2)
