"""Fingerprints that people compare by reading them to each other.

A word has 16 bits, by turns a consonant and a vowel, after the proposal of Proquints
(arXiv:0901.4016): 16 words are a SHA-256.
"""

from __future__ import annotations

import hashlib

_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"


def sha256_of(octets: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(octets).hexdigest()


def words_of(octets: bytes) -> str:
    """SHA-256 as 16 words."""
    digest = hashlib.sha256(octets).digest()
    numbers = [int.from_bytes(digest[at : at + 2], "big") for at in range(0, len(digest), 2)]
    return " ".join(map(_word, numbers))


def _word(number: int) -> str:
    return "".join(
        letters[number >> shift & len(letters) - 1]
        for letters, shift in (
            (_CONSONANTS, 12),
            (_VOWELS, 10),
            (_CONSONANTS, 6),
            (_VOWELS, 4),
            (_CONSONANTS, 0),
        )
    )


def agree(octets: bytes, said: str) -> bool:
    """Whether what somebody said is the fingerprint of these octets, as words or hexadecimal."""
    plain = said.replace(":", "").lower().split()
    return " ".join(plain) == words_of(octets) or "".join(plain) == sha256_of(octets)
