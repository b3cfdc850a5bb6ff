"""Bearer secrets: form, check digits, keyed hash."""

from __future__ import annotations

import pytest

from hashseal_core import bearer
from hashseal_core.errors import TokenInvalid, TokenMissing


def test_what_was_made_is_read() -> None:
    made = bearer.make("abc", bytes(range(32)))
    assert made.id == "0001020304050607"
    assert made.text.startswith("abc_0001020304050607_08090a")
    assert bearer.read("abc", f"bearer  {made.text} ") == made
    assert bearer.keyed_hash(made.text, b"a") != bearer.keyed_hash(made.text, b"b")


def test_what_is_none() -> None:
    text = bearer.make("abc", bytes(32)).text
    for header in (None, "", "Bearer", "Bearer ", f"Basic {text}"):
        with pytest.raises(TokenMissing):
            bearer.read("abc", header)
    for wrong in (text[:-1] + "x", text + "0", text.replace("abc", "abd"), text.upper()):
        with pytest.raises(TokenInvalid):
            bearer.read("abc", f"Bearer {wrong}")
