"""The allow-list of digest and signature algorithms, with identifiers and sizes.

Sources: RFC 5754 (SHA-2 in CMS), RFC 5758 (ECDSA), RFC 4055 (RSA-PSS), ETSI TS 119 312.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import force_setattr

from hashseal_core.errors import DegenerateHash, HashLength, UnsupportedAlgorithm, WeakAlgorithm


class DigestAlgorithm(StrEnum):
    """Digest algorithms for documents, by their wire name."""

    SHA256 = "SHA-256"
    SHA384 = "SHA-384"
    SHA512 = "SHA-512"

    __hash__ = str.__hash__  # that of an enumeration is many times slower, and these are keys

    @property
    def size(self) -> int:
        """Length of a digest in octets."""
        return _SIZES[self]

    @property
    def hashlib_name(self) -> str:
        """Name in `hashlib`: `sha256` and so on."""
        return self.value.replace("-", "").lower()

    @property
    def oid(self) -> str:
        """Dotted object identifier (RFC 5754)."""
        arc = {"SHA-256": 1, "SHA-384": 2, "SHA-512": 3}[self.value]
        return f"2.16.840.1.101.3.4.2.{arc}"


_SIZES: Mapping[str, int] = {"SHA-256": 32, "SHA-384": 48, "SHA-512": 64}


class KeyAlgorithm(StrEnum):
    """Kinds of signing keys; RSA-2048 is for imported certificates only."""

    P256 = "P-256"
    P384 = "P-384"
    P521 = "P-521"
    RSA2048 = "RSA-2048"
    RSA3072 = "RSA-3072"
    RSA4096 = "RSA-4096"

    @property
    def is_rsa(self) -> bool:
        """The key is an RSA key."""
        return self.value.startswith("RSA")


class SignatureScheme(StrEnum):
    """How a key signs. PSS uses MGF1 with the same digest."""

    ECDSA = "ECDSA"
    RSA_PKCS1 = "RSA-PKCS1"
    RSA_PSS = "RSA-PSS"

    __hash__ = str.__hash__


class SignatureAlgorithm(Struct, frozen=True):
    """Scheme and digest together. In a SignerInfo the digest is also that of the document.

    Attributes:
        salt: octets of the salt of RSA-PSS, when they are not as many as the digest's; otherwise
            None, also where the digest's length was given, so that equal algorithms are equal.

    Raises:
        UnsupportedAlgorithm: another scheme with a salt, or a negative length.
    """

    scheme: SignatureScheme
    digest: DigestAlgorithm
    salt: int | None = None

    def __post_init__(self) -> None:
        if self.salt is None:
            return
        if self.scheme is not SignatureScheme.RSA_PSS:
            raise UnsupportedAlgorithm("only RSA-PSS has a salt")
        if self.salt < 0:
            raise UnsupportedAlgorithm("the length of a salt is not negative")
        if self.salt == self.digest.size:
            force_setattr(self, "salt", None)

    @property
    def salt_length(self) -> int:
        """Octets of the salt, with RSA-PSS (RFC 8017, 9.1)."""
        return self.digest.size if self.salt is None else self.salt


def longest_salt(key_bits: int, digest: DigestAlgorithm) -> int:
    """Octets of the longest salt that fits into a key's encoded message (RFC 8017, 9.1.1)."""
    return (key_bits - 1 + 7) // 8 - digest.size - 2


class Level(StrEnum):
    """Conformance levels (EN 319 142-1, 6)."""

    B_B = "B-B"
    B_T = "B-T"
    B_LT = "B-LT"
    B_LTA = "B-LTA"

    @property
    def has_timestamp(self) -> bool:
        """The signature carries a signature timestamp."""
        return self is not Level.B_B

    @property
    def has_validation(self) -> bool:
        """The answer carries validation material."""
        return self in {Level.B_LT, Level.B_LTA}


_WEAK = frozenset({"SHA-1", "SHA1", "MD5", "MD2", "MD4", "SHA-224", "SHA224", "RIPEMD-160"})
_OF_NOTHING: Mapping[DigestAlgorithm, bytes] = {
    algorithm: hashlib.new(algorithm.hashlib_name, b"").digest() for algorithm in DigestAlgorithm
}


def digest_algorithm(name: str) -> DigestAlgorithm:
    """The algorithm of this wire name.

    Raises:
        WeakAlgorithm: SHA-1, MD5 and their like.
        UnsupportedAlgorithm: anything else that is not on the list.
    """
    try:
        return DigestAlgorithm(name)
    except ValueError:
        pass
    shown = name[:20].encode("ascii", "replace").decode()
    if name.upper() in _WEAK:
        raise WeakAlgorithm(f"{shown} is no longer safe for signatures", field="hash_algorithm")
    raise UnsupportedAlgorithm(
        "hash_algorithm is not one of SHA-256, SHA-384, SHA-512", field="hash_algorithm"
    )


class Digest(Struct, frozen=True):
    """The hash value of a prepared document, checked when made.

    Raises:
        HashLength: the value is not as long as the algorithm's output.
        DegenerateHash: the digest of the empty string, or all zero.
    """

    algorithm: DigestAlgorithm
    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != _SIZES[self.algorithm]:
            raise HashLength(
                f"{self.algorithm} has {self.algorithm.size} octets, not {len(self.value)}",
                field="hashes",
            )
        if self.value == _OF_NOTHING[self.algorithm]:
            raise DegenerateHash("this is the digest of the empty string", field="hashes")
        if not any(self.value):
            raise DegenerateHash("the digest is all zero", field="hashes")


def imprint(algorithm: DigestAlgorithm, value: bytes) -> Digest:
    """The hash value that a timestamp is over (RFC 3161, 2.4.1), checked for its length alone.

    What is stamped is not ours to judge: clients stamp the digest of nothing to learn how long a
    token is. Of a document such a value is never signed.

    Raises:
        HashLength: the value is not as long as the algorithm's output.
    """
    if len(value) != algorithm.size:
        return Digest(algorithm, value)  # which says so
    made = Digest(algorithm, b"\x01" * algorithm.size)
    force_setattr(made, "value", value)
    return made
