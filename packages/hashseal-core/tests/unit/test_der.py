"""Strict DER: round trips, and everything else refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashseal_core import der
from hashseal_core.errors import DerInvalid


@given(st.integers(-(2**200), 2**200))
def test_integers(value: int) -> None:
    assert der.Reader(der.integer(value)).integer() == value


@given(st.lists(st.integers(0, 2**70), max_size=8), st.integers(0, 2), st.integers(0, 39))
def test_object_identifiers(arcs: list[int], first: int, second: int) -> None:
    dotted = ".".join(map(str, (first, second, *arcs)))
    if len(der.oid(dotted)) <= 66:
        assert der.Reader(der.oid(dotted)).oid() == dotted


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001
def test_times_keep_milliseconds(at: datetime) -> None:
    aware = at.replace(tzinfo=UTC, microsecond=at.microsecond // 1000 * 1000)
    assert der.Reader(der.generalized_time(aware)).time() == aware


@given(st.binary(max_size=70_000))
def test_octet_strings(content: bytes) -> None:
    element = der.only(der.octet_string(content), der.OCTET_STRING)
    assert element.content == content
    assert element.raw == der.octet_string(content)


BAD = {
    "too early": lambda: der.Reader(b"\x30").take(),
    "long tags": lambda: der.Reader(b"\x1f\x81\x01\x00").take(),
    "expected tag": lambda: der.Reader(b"\x04\x00").take(der.SEQUENCE),
    "indefinite": lambda: der.Reader(b"\x30\x80\x00\x00").take(),
    "impossible": lambda: der.Reader(b"\x30\x85\x01\x01\x01\x01\x01").take(),
    "shortest": lambda: der.Reader(b"\x30\x81\x01\x00").take(),
    "longer than": lambda: der.Reader(b"\x30\x05\x00").take(),
    "after the last": lambda: der.only(b"\x30\x00\x00"),
    "constructed": lambda: der.only(b"\x04\x00", der.OCTET_STRING).children(),
    "integer": lambda: der.Reader(b"\x02\x02\x00\x01").integer(),
    "integer not": lambda: der.Reader(b"\x02\x00").integer(),
    "malformed object": lambda: der.Reader(b"\x06\x00").oid(),
    "object identifier not": lambda: der.Reader(b"\x06\x02\x80\x01").oid(),
    "boolean": lambda: der.Reader(b"\x01\x01\x01").boolean(),
    "malformed time": lambda: der.Reader(b"\x18\x0f20269901000000Z").time(),
    "malformed": lambda: der.Reader(b"\x18\x0e20260101000000").time(),
    "fraction not": lambda: der.Reader(b"\x18\x1220260101000000.10Z").time(),
    "too many": lambda: list(der.elements(b"\x05\x00" * 10_001)),
}


@pytest.mark.parametrize("words", BAD)
def test_what_is_not_strict_is_refused(words: str) -> None:
    with pytest.raises(DerInvalid, match=words):
        BAD[words]()


def test_booleans() -> None:
    assert der.Reader(b"\x01\x01\xff").boolean() is True
    assert der.Reader(b"\x01\x01\x00").boolean() is False
    assert der.only(b"\x04\x01x", der.OCTET_STRING).retag(0x80) == b"\x80\x01x"


@pytest.mark.parametrize("size", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0x1000000])
def test_lengths_have_their_shortest_form(size: int) -> None:
    encoded = der.encode(der.OCTET_STRING, bytes(size))
    octets = 0 if size < 0x80 else (size.bit_length() + 7) // 8
    assert len(encoded) == 2 + octets + size
    assert der.only(encoded, der.OCTET_STRING).content == bytes(size)
