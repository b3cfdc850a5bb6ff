"""Ends, overlaps, limits: what is decided about tokens without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hashseal_core.errors import InvalidValue, RateLimited, ScopeMissing
from hashseal_server.accounts import tokens
from hashseal_server.accounts.guessing import Guesses
from hashseal_server.accounts.last_use import COARSE, LastUse
from hashseal_server.accounts.model import AccountId, ClientId, Principal, TokenId
from hashseal_server.accounts.networks import NOWHERE, Origin
from hashseal_server.accounts.recognition import Kept, matching
from hashseal_server.accounts.token_model import ApiToken, Kind, read_overlap, read_terms

AT = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KEYS = tokens.Keyring([b"k" * 32])
NOW, BEFORE = tokens.make(KEYS), tokens.make(KEYS)


def test_a_secret_is_good_until_its_end_and_the_one_before_until_the_overlap_s() -> None:
    kept = Kept(NOW.keyed_hash, BEFORE.keyed_hash, AT, AT + timedelta(days=1))
    assert matching(NOW.text, kept, KEYS, AT) == NOW.keyed_hash
    assert matching(NOW.text, kept, KEYS, AT + timedelta(days=1) - SECOND) == NOW.keyed_hash
    assert matching(NOW.text, kept, KEYS, AT + timedelta(days=1)) is None
    assert matching(BEFORE.text, kept, KEYS, AT - SECOND) == BEFORE.keyed_hash
    assert matching(BEFORE.text, kept, KEYS, AT) is None
    assert matching(tokens.make(KEYS).text, kept, KEYS, AT - SECOND) is None
    assert matching(BEFORE.text, Kept(NOW.keyed_hash), KEYS, AT) is None
    # What has ended has ended, with both of its secrets.
    over = Kept(NOW.keyed_hash, BEFORE.keyed_hash, AT + SECOND, AT)
    assert matching(BEFORE.text, over, KEYS, AT) is None


def test_who_may_what() -> None:
    caller = Principal(AccountId("a"), TokenId("t"), frozenset(), frozenset({"read"}))
    caller.require("read")
    with pytest.raises(ScopeMissing, match="manage") as refused:
        caller.require("manage")
    assert refused.value.scope == "manage"
    assert caller.actor == "t"
    of_client = Principal(
        AccountId("a"), TokenId("t"), frozenset(), frozenset({"read"}), ClientId("c")
    )
    assert of_client.actor == "c"


def test_a_token_ends_after_as_long_as_it_was_given_last() -> None:
    token = ApiToken(
        TokenId("t"), AccountId("a"), Kind.PERSONAL, None, None, frozenset(), (), AT,
        expires_at=AT + timedelta(days=10),
    )  # fmt: skip
    later = AT + timedelta(days=9)
    renewed = token.rotated(later, None)
    assert renewed.expires_at == later + timedelta(days=10)
    assert renewed.rotated(later, None).expires_at == later + timedelta(days=10)
    assert replace(token, expires_at=None).rotated(later, None).expires_at is None
    assert (token.state(later), token.state(later + timedelta(days=1))) == ("active", "expired")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"label": ""}, "label"),
        ({"label": "x" * 201}, "label"),
        ({"holder": "a\nb"}, "holder"),
        ({"label": "\u202eabc"}, "label"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["admin"]}, "scopes"),
        ({"scopes": ["sign", ""]}, "scopes"),
        ({"networks": ["x"]}, "networks"),
        ({"lifetime": timedelta()}, "expires"),
    ],
)
def test_terms_that_are_none(wrong, field: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        read_terms(**wrong)
    assert refused.value.field == field


def test_overlaps() -> None:
    for good in (timedelta(), timedelta(days=30)):
        assert read_overlap(good) == good
    for wrong in (-SECOND, timedelta(days=30) + SECOND):
        with pytest.raises(InvalidValue):
            read_overlap(wrong)


def test_who_guesses_is_refused_for_the_rest_of_the_minute_and_nobody_else() -> None:
    moment = AT
    guesses = Guesses(3, lambda: moment)
    guesser, neighbour = Origin("203.0.113.1"), Origin("203.0.113.2")
    guesses.succeeded("known")
    for n in range(3):
        guesses.require_chance("stranger", guesser)
        guesses.failed(f"guess {n}", guesser)
    with pytest.raises(RateLimited) as refused:
        guesses.require_chance("stranger", guesser)
    assert (refused.value.limit, refused.value.seconds) == (3, 30)
    guesses.require_chance("stranger", neighbour)
    guesses.require_chance("known", guesser)  # whoever works goes on, from wherever
    # One customer of IPv6 has a whole /64.
    for n in range(3):
        guesses.failed(f"guess {n}", Origin(f"2001:db8::{n}"))
    with pytest.raises(RateLimited):
        guesses.require_chance("stranger", Origin("2001:db8::ffff"))
    guesses.require_chance("stranger", Origin("2001:db8:0:1::1"))
    moment += timedelta(seconds=30)
    guesses.require_chance("stranger", guesser)


def test_who_goes_on_with_one_that_has_ended_holds_up_nobody_else() -> None:
    guesses, network = Guesses(3, lambda: AT), Origin("203.0.113.1")
    for _ in range(3):
        guesses.require_chance("ended", network)
        guesses.failed("ended", network)
    with pytest.raises(RateLimited):
        guesses.require_chance("ended", network)
    guesses.require_chance("new", network)
    guesses.require_chance("ended", Origin("203.0.113.2"))


def test_what_is_remembered_of_guessers_is_bounded() -> None:
    guesses = Guesses(1, lambda: AT)
    for n in range(11_000):
        guesses.failed("x", Origin(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"))
        guesses.succeeded(f"{n}")
    assert len(guesses._failed) == 10_000
    assert len(guesses._known) <= 10_000


def test_without_a_limit_nobody_is_refused() -> None:
    guesses = Guesses(0, lambda: AT)
    for _ in range(100):
        guesses.failed("stranger", NOWHERE)
        guesses.require_chance("stranger", NOWHERE)


def test_uses_are_written_now_and_then() -> None:
    book, token = LastUse(), TokenId("t")
    assert book.due(AT).uses == {}
    book.seen(token, AT)
    book.seen(token, AT + SECOND)
    notes = book.due(AT + SECOND)
    assert notes.uses == {token: AT + SECOND}
    book.seen(token, AT + 2 * SECOND)  # while that was being written
    book.written(notes, AT + SECOND)
    assert book.due(AT + COARSE).uses == {}
    assert book.due(AT + SECOND + COARSE).uses == {token: AT + 2 * SECOND}
    book.written(book.due(AT + SECOND + COARSE), AT + SECOND + COARSE)
    assert book.due(AT + timedelta(days=1)).uses == {}


def test_hashes_under_an_older_key_are_made_anew_once() -> None:
    book, token = LastUse(), TokenId("t")
    book.outdated(token, b"old", b"new")
    notes = book.due(AT)
    assert notes.hashes == {token: (b"old", b"new")}
    book.outdated(token, b"older", b"new")
    book.written(notes, AT)
    assert book.due(AT).hashes == {token: (b"older", b"new")}
    book.written(book.due(AT), AT)
    assert book.due(AT).hashes == {}
