"""Which files are signed with which keys, where these are; for parametrising.

What a file is like has nothing to do with where the keys are: with keys in tokens a few files are signed,
so that each kind of key is met. With the variable HASHSEAL_ALL_FORMS it is all files: the ordinary ones with
each key at each level, the odd ones with one key after the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import cycle

import pytest

ALL_FORMS = "HASHSEAL_ALL_FORMS" in os.environ
KEYS = ("P-256", "RSA-3072")
KEYS_IN_TOKEN = ("P-256", "RSA-3072", "RSA-3072-PSS")
FILES_FOR_TOKEN = ("table", "xref-stream", "hybrid", "encrypted-aes256")
IN_TOKEN = (pytest.mark.hsm, pytest.mark.xdist_group("token"))
"""Marks of tests that need the tokens: one process has them."""


def in_token(forms: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of form and key, by turns: all forms, or one for each key."""
    return zip(forms, cycle(KEYS_IN_TOKEN) if ALL_FORMS else KEYS_IN_TOKEN, strict=False)
