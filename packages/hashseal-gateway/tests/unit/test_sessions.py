"""Tries to log in, addresses, where a log-in leads: arithmetic and reading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litestar import Request

from hashseal_core.errors import Denied
from hashseal_gateway.users.guessing import (
    FIRST_WAIT,
    FORGOTTEN_AFTER,
    FREE_FOR_NAME,
    LONGEST_WAIT,
    Tries,
    after_wrong,
    waits,
)
from hashseal_gateway.web.front import Front
from hashseal_gateway.web.pages.rendering import holder, number, sentence, short
from hashseal_gateway.web.pages.visitors import next_address

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def after(count: int, now: datetime = NOW) -> Tries:
    tries = None
    for _ in range(count):
        tries = after_wrong(tries, FREE_FOR_NAME, now)
    assert tries is not None
    return tries


def test_waits_double_and_have_an_end() -> None:
    assert waits(None, NOW) is None
    assert waits(after(FREE_FOR_NAME - 1), NOW) is None
    seen = [waits(after(FREE_FOR_NAME + more), NOW) for more in range(8)]
    assert seen[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert seen[-1] == LONGEST_WAIT
    assert waits(after(10_000), NOW) == LONGEST_WAIT
    assert waits(after(10_000), NOW + LONGEST_WAIT) is None


@settings(deadline=None)
@given(st.integers(1, 200), st.timedeltas(timedelta(0), timedelta(days=3000)))
def test_nobody_waits_for_longer_than_that_whatever_the_clock_does(
    count: int, back: timedelta
) -> None:
    wait = waits(after(count), NOW - back)
    assert wait is None or wait <= LONGEST_WAIT


def test_a_quiet_day_and_it_begins_anew() -> None:
    again = after_wrong(after(50), FREE_FOR_NAME, NOW + FORGOTTEN_AFTER)
    assert (again.failures, again.until) == (1, None)


def request(*, host: str = "127.0.0.1:8080", peer: str = "198.51.100.7", **headers: str) -> Request:
    given = [(b"host", host.encode())]
    given += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(
        {"type": "http", "method": "POST", "path": "/", "headers": given, "client": (peer, 1)}
    )


OWN = Front(None, ())
PUBLIC = Front("https://sign.example.com", ())


@pytest.mark.parametrize(
    ("front", "asked"),
    [
        (OWN, {"origin": "http://127.0.0.1:8080"}),
        (OWN, {"host": "localhost:1", "origin": "http://localhost:1"}),
        (OWN, {"host": "[::1]:8080", "origin": "http://[::1]:8080"}),
        (OWN, {"host": "sign.example.com", "origin": "https://sign.example.com"}),
        (PUBLIC, {"origin": "https://sign.example.com", "sec_fetch_site": "same-origin"}),
        (Front("https://Sign.example.com:443/", ()), {"origin": "https://sign.example.com"}),
        (Front("http://127.0.0.1:9", ()), {"origin": "http://127.0.0.1:9"}),
    ],
)
def test_our_own_pages(front: Front, asked: dict[str, str]) -> None:
    front.require_same_origin(request(**asked))


@pytest.mark.parametrize(
    ("front", "asked", "words"),
    [
        (OWN, {}, "not sent by a page"),
        (OWN, {"origin": "null"}, "not sent by a page"),
        (OWN, {"origin": "http://127.0.0.1:8080", "sec_fetch_site": "cross-site"}, "not sent"),
        (OWN, {"origin": "http://127.0.0.1:8080", "sec_fetch_site": "same-site"}, "not sent"),
        (OWN, {"origin": "http://127.0.0.1:8081"}, "public_url"),
        (OWN, {"origin": "https://evil.example.com"}, "public_url"),
        (OWN, {"host": "sign.example.com", "origin": "http://sign.example.com"}, "in clear"),
        (
            OWN,
            {"host": "127.0.0.1.example.com", "origin": "http://127.0.0.1.example.com"},
            "in clear",
        ),
        (PUBLIC, {"origin": "http://sign.example.com"}, "public_url"),
        (PUBLIC, {"origin": "http://127.0.0.1:8080"}, "public_url"),
        (PUBLIC, {"origin": "https://sign.example.com:8443"}, "public_url"),
        (PUBLIC, {"origin": "https://sign.example.com:port"}, "public_url"),
    ],
)
def test_other_pages(front: Front, asked: dict[str, str], words: str) -> None:
    with pytest.raises(Denied, match=words):
        front.require_same_origin(request(**asked))


def test_cookies_are_for_tls_except_on_this_machine() -> None:
    assert not OWN.is_secure(request())
    assert OWN.is_secure(request(host="sign.example.com"))
    assert OWN.is_secure(request(host=""))
    assert PUBLIC.is_secure(request())
    assert not Front("http://127.0.0.1:9", ()).is_secure(request())


BEHIND = Front(None, (ip_network("10.0.0.0/8"),))


@pytest.mark.parametrize(
    ("front", "peer", "forwarded", "address"),
    [
        (OWN, "198.51.100.7", "203.0.113.1", "198.51.100.7"),
        (BEHIND, "10.1.1.1", "203.0.113.1", "203.0.113.1"),
        (BEHIND, "10.1.1.1", "192.0.2.9, 203.0.113.1, 10.2.2.2", "203.0.113.1"),
        (BEHIND, "10.1.1.1", "nonsense", "unknown"),
        (BEHIND, "10.1.1.1", "", "10.1.1.1"),
        (BEHIND, "198.51.100.7", "203.0.113.1", "198.51.100.7"),
        (OWN, "2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        (OWN, "::ffff:198.51.100.7", "", "198.51.100.7"),
    ],
)
def test_where_a_try_comes_from(front: Front, peer: str, forwarded: str, address: str) -> None:
    headers = {"x_forwarded_for": forwarded} if forwarded else {}
    assert front.address_of(request(peer=peer, **headers)) == address


def test_a_proxy_that_adds_a_field_of_its_own_is_believed_and_not_the_caller() -> None:
    asked = request(peer="10.1.1.1", x_forwarded_for="192.0.2.9")
    asked.scope["headers"].append((b"x-forwarded-for", b"203.0.113.1"))
    assert BEHIND.address_of(asked) == "203.0.113.1"


@pytest.mark.parametrize("there", ["/", "/log?outcome=failed&since=2026", "/users/a@b", "/log/12"])
def test_pages_to_go_on_with(there: str) -> None:
    assert next_address(there) == there


@pytest.mark.parametrize(
    "there",
    [
        "", "log", "//evil.example.com", "/\\evil.example.com", "\\\\evil", "https://evil.example.com",
        "javascript:alert(1)", "/\t/evil.example.com", "/ok\r\nSet-Cookie: a=b", " /x", "/login",
        "/login?next=/", "///evil.example.com", "/ä",
    ],
)  # fmt: skip
def test_addresses_elsewhere(there: str) -> None:
    assert next_address(there) == "/"


def test_words_for_people() -> None:
    assert holder("CN=A,O=Widgets\\, Ltd,C=GB") == "Widgets, Ltd"
    assert holder("CN=Ada,C=GB") == "Ada"
    assert holder("C=GB") == "C=GB"
    assert number(1234567) == "1\u202f234\u202f567"
    assert short("0123456789abcdef") == "0123456789ab…"
    assert short(None) == ""
    assert sentence("it is so") == "It is so."
