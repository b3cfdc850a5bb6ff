"""The allow-list."""

from __future__ import annotations

import hashlib

import pytest

from hashseal_core.algorithms import Digest, DigestAlgorithm, KeyAlgorithm, Level, digest_algorithm
from hashseal_core.errors import DegenerateHash, HashLength, UnsupportedAlgorithm, WeakAlgorithm


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_digests_are_checked(algorithm: DigestAlgorithm) -> None:
    assert digest_algorithm(algorithm.value) is algorithm
    assert hashlib.new(algorithm.hashlib_name).digest_size == algorithm.size
    assert algorithm.oid.startswith("2.16.840.1.101.3.4.2.")
    Digest(algorithm, b"\x01" * algorithm.size)
    with pytest.raises(HashLength):
        Digest(algorithm, b"\x01" * (algorithm.size - 1))
    with pytest.raises(DegenerateHash, match="zero"):
        Digest(algorithm, bytes(algorithm.size))
    with pytest.raises(DegenerateHash, match="empty"):
        Digest(algorithm, hashlib.new(algorithm.hashlib_name).digest())


@pytest.mark.parametrize("name", ["SHA-1", "sha1", "MD5", "SHA-224"])
def test_weak_ones_are_refused_by_name(name: str) -> None:
    with pytest.raises(WeakAlgorithm):
        digest_algorithm(name)


def test_unknown_ones_are_refused() -> None:
    with pytest.raises(UnsupportedAlgorithm):
        digest_algorithm("sha-256")


def test_levels_and_keys() -> None:
    assert [level.has_timestamp for level in Level] == [False, True, True, True]
    assert [level.has_validation for level in Level] == [False, False, True, True]
    assert [key.is_rsa for key in KeyAlgorithm] == [False] * 3 + [True] * 3
