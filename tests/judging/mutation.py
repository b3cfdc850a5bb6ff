"""Octets that are almost right, and octets that are not: what parsers are fuzzed with."""

from __future__ import annotations

import os

from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("HASHSEAL_FUZZ_EXAMPLES", "0"))
"""Examples of each fuzz test in a long run; 0 is the usual short one."""


def examples(usual: int) -> int:
    return EXAMPLES or usual


def damaged(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """One of these with a few changes (cut, changed, doubled, taken out, put in), or anything."""

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        octets = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(0, 4))):
            at = draw(st.integers(0, max(0, len(octets) - 1)))
            kind = draw(st.sampled_from(("change", "cut", "remove", "insert", "double", "size")))
            if kind == "change" and octets:
                octets[at] = draw(st.integers(0, 255))
            elif kind == "cut":
                del octets[at:]
            elif kind == "remove":
                del octets[at : at + draw(st.integers(1, 32))]
            elif kind == "insert":
                octets[at:at] = draw(st.binary(max_size=32))
            elif kind == "double":
                octets[at:at] = octets[at : at + draw(st.integers(1, 64))]
            elif kind == "size":  # lengths of DER
                octets[at : at + 1] = draw(
                    st.sampled_from((b"\x80", b"\x84\xff\xff\xff\xff", b"\x00", b"\xff"))
                )
        return bytes(octets)

    return st.one_of(changed(), st.binary(max_size=300))


def damaged_text(*seeds: str) -> st.SearchStrategy[str]:
    """The same of text: with any character in it, lone surrogates too."""
    made = damaged(*(one.encode() for one in seeds))
    return st.one_of(made.map(lambda octets: octets.decode("utf-8", "surrogateescape")), st.text())
