"""Tokens and client secrets as text: what is one, whose it is, and which hashes are of it."""

from __future__ import annotations

import hmac
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashseal_core.errors import TokenInvalid, TokenMissing
from hashseal_server.accounts import tokens
from hashseal_server.accounts.tokens import Keyring

OLD, NEW = b"o" * 32, b"n" * 32
KEYS = Keyring([NEW])
TOKEN = tokens.make(KEYS)
SECRET = tokens.make_client(KEYS)


def test_what_is_made_is_read_back() -> None:
    assert tokens.read(f"Bearer {TOKEN.text}") == (TOKEN.id, TOKEN.text)
    assert tokens.read(f"bearer  {TOKEN.text} ") == (TOKEN.id, TOKEN.text)
    assert tokens.id_of(TOKEN.text) == TOKEN.id
    assert tokens.client_of(SECRET.text) == SECRET.id
    # The one is never taken for the other.
    assert tokens.id_of(SECRET.text) is None
    assert tokens.client_of(TOKEN.text) is None
    again = tokens.make(KEYS, TOKEN.id)
    assert (again.id, tokens.id_of(again.text)) == (TOKEN.id, TOKEN.id)
    assert again.text != TOKEN.text
    assert len({tokens.make(KEYS).text for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", f"Basic {TOKEN.text}", TOKEN.text],
    ids=["none", "empty", "scheme", "blank", "basic", "bare"],
)
def test_no_bearer_token(header: str | None) -> None:
    with pytest.raises(TokenMissing):
        tokens.read(header)


@given(st.one_of(st.none(), st.text(), st.text().map("Bearer {}".format)))
def test_whatever_the_header_is(header: str | None) -> None:
    with pytest.raises((TokenMissing, TokenInvalid)):
        tokens.read(header)


@given(
    st.sampled_from([TOKEN.text, SECRET.text]),
    st.integers(0, len(TOKEN.text) - 1),
    st.sampled_from(string.printable + "é\x00\u0661"),
)
def test_one_character_that_is_wrong_is_noticed_without_a_look_at_the_database(
    text: str, place: int, character: str
) -> None:
    wrong = text[:place] + character + text[place + 1 :]
    for kind, known in ((tokens.id_of, TOKEN), (tokens.client_of, SECRET)):
        assert kind(wrong) == (known.id if wrong == known.text else None)


@given(st.text(alphabet="hsc_0123456789abcdef", max_size=90))
def test_what_looks_like_a_token_is_none(text: str) -> None:
    assert tokens.id_of(text) is None
    assert tokens.client_of(text) is None


def test_hashes_are_of_one_secret_under_the_keys_that_are_known() -> None:
    kept = KEYS.keyed_hash(TOKEN.text)
    assert kept == TOKEN.keyed_hash
    assert KEYS.matches(TOKEN.text, kept)
    assert not KEYS.matches(SECRET.text, kept)
    assert not Keyring([OLD]).matches(TOKEN.text, kept)
    turned = Keyring([OLD, NEW])
    assert turned.matches(TOKEN.text, kept)
    assert not turned.is_of_the_newest(TOKEN.text, kept)
    assert turned.is_of_the_newest(TOKEN.text, turned.keyed_hash(TOKEN.text))
    assert KEYS.is_of_the_newest(TOKEN.text, kept)
    assert TOKEN.text.encode() not in kept


def test_hashes_of_programs_of_before_are_known_and_ours_are_not_theirs() -> None:
    theirs = hmac.digest(NEW, TOKEN.text.encode(), "sha256")
    assert KEYS.matches(TOKEN.text, theirs)
    assert Keyring([OLD, NEW]).matches(TOKEN.text, theirs)
    # They compare with this hash alone: a token that ends, or may not do everything, they refuse.
    assert theirs != TOKEN.keyed_hash
