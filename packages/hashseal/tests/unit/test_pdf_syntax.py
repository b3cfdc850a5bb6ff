"""The short way to read a dictionary reads the same as the long one; what is written reads back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashseal.pdf import syntax
from hashseal.pdf.objects import Name, PdfObject, Raw, Ref, Stream, String, write
from hashseal.pdf.syntax import MAXIMUM_NAME, Parser
from hashseal_core.errors import PdfError

PARTS = st.sampled_from(
    b"/A|/Long#20Name|/#|/|1|-7|+0|12345678901|3 0 R|3 0 RR|3 0 R/B|0 65536 R|1.5|true|null|(a\\)b)"
    b"|<41>|[|]|<<|>>|[1 2 0 R]|%note\n|%end|R|endobj|stream|{|)|99999999999999999999|2 0\tR".split(
        b"|"
    )
)
SPACES = st.sampled_from((b"", b" ", b"\n", b"  ", b"\0"))


def read(octets: bytes) -> tuple[object, ...]:
    parser = Parser(octets)
    try:
        value: object = parser.value()
    except PdfError as error:
        return type(error), str(error)
    return value, parser.position, parser.tokens


@given(st.lists(st.tuples(PARTS, SPACES), max_size=24))
def test_the_short_way_reads_the_same(parts: list[tuple[bytes, bytes]]) -> None:
    octets = b"<<" + b"".join(part + space for part, space in parts) + b">>"
    short = read(octets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syntax, "_ENTRY", re.compile(rb"(?!)"))
        assert short == read(octets)


@pytest.mark.parametrize("length", [MAXIMUM_NAME - 1, MAXIMUM_NAME, MAXIMUM_NAME + 1])
@pytest.mark.parametrize("form", [b"<</%b 1>>", b"<</A /%b>>", b"<</%b(x)>>", b"<<%b/A 1>>"])
def test_it_keeps_the_limits(form: bytes, length: int) -> None:
    octets = form % (b" " * length if form.startswith(b"<<%b") else b"n" * length)
    short = read(octets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syntax, "_ENTRY", re.compile(rb"(?!)"))
        assert short == read(octets)


NAMES = st.binary(max_size=6).filter(lambda name: b"\0" not in name)
SIMPLE: st.SearchStrategy[PdfObject] = st.one_of(
    st.booleans(),
    st.integers(-(10**18), 10**18),
    NAMES.map(Name),
    st.builds(Ref, st.integers(0, 10**9), st.integers(0, 65535)),
    st.builds(String, st.binary(max_size=9), st.booleans()),
    st.just(Raw(b"1.50")),
)
VALUES = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
)


@given(VALUES)
def test_what_is_written_reads_back(value: PdfObject) -> None:
    parser = Parser(write(value) + b" ")
    assert parser.value() == value


def test_nothing_and_streams_are_written() -> None:
    assert write([None, {b"A": None}]) == b"[null <<\n/A null\n>>]"
    assert write(Stream({b"K": 1}, b"abc")) == (b"<<\n/K 1\n/Length 3\n>>\nstream\nabc\nendstream")
