"""Between PKCS#11 and X.509: DigestInfo, ECDSA values, public keys. Pure."""

from __future__ import annotations

import hashlib

from hashseal_core import der
from hashseal_core.algorithms import (
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    longest_salt,
)
from hashseal_core.errors import DerInvalid, KeystoreRefused

CURVES = {
    KeyAlgorithm.P256: "1.2.840.10045.3.1.7",
    KeyAlgorithm.P384: "1.3.132.0.34",
    KeyAlgorithm.P521: "1.3.132.0.35",
}
"""Named curves (RFC 5480, 2.1.1.1)."""
_EC_PUBLIC_KEY = "1.2.840.10045.2.1"
_RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
_NULL = der.encode(der.NULL, b"")
_UNCOMPRESSED = 4


def digest_of(algorithm: DigestAlgorithm, to_be_signed: bytes) -> bytes:
    """The hash value that a key signs."""
    return hashlib.new(algorithm.hashlib_name, to_be_signed).digest()


def require_salt(algorithm: SignatureAlgorithm, key_bits: int) -> None:
    """An RSA key of this size has room for the salt; asked before the key is used.

    Raises:
        KeystoreRefused: it has not.
    """
    if algorithm.salt_length > (longest := longest_salt(key_bits, algorithm.digest)):
        raise KeystoreRefused(f"the salt is too long: {longest} octets at most with this key")


def digest_info(algorithm: DigestAlgorithm, digest: bytes) -> bytes:
    """DigestInfo, the input of CKM_RSA_PKCS (RFC 8017, 9.2)."""
    return der.sequence(der.sequence(der.oid(algorithm.oid), _NULL), der.octet_string(digest))


def ecdsa_value(raw: bytes) -> bytes:
    """ECDSA-Sig-Value (RFC 3279, 2.2.3) of the r ‖ s that PKCS#11 returns."""
    half = len(raw) // 2
    parts = (int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
    return der.sequence(*(der.integer(part) for part in parts))


def request_info(subject: bytes, spki: bytes) -> bytes:
    """CertificationRequestInfo without attributes (RFC 2986, 4.1); both parts are DER.

    Raises:
        DerInvalid: `subject` is not one SEQUENCE.
    """
    name = der.only(subject).raw
    return der.sequence(der.integer(0), name, spki, der.encode(0xA0, b""))


def rsa_public_key(modulus: bytes, exponent: bytes) -> bytes:
    """SubjectPublicKeyInfo of an RSA key; both numbers are big-endian."""
    numbers = (int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big"))
    key = der.sequence(*(der.integer(number) for number in numbers))
    identifier = der.sequence(der.oid(_RSA_ENCRYPTION), _NULL)
    return der.sequence(identifier, der.encode(der.BIT_STRING, b"\x00" + key))


def ec_public_key(parameters: bytes, point: bytes) -> bytes:
    """SubjectPublicKeyInfo of an EC key; `point` is an OCTET STRING, or bare as in some modules."""
    try:
        inner = der.only(point, der.OCTET_STRING).content
    except DerInvalid:
        inner = point
    bare = inner if inner[:1] == bytes((_UNCOMPRESSED,)) else point
    identifier = der.sequence(der.oid(_EC_PUBLIC_KEY), parameters)
    return der.sequence(identifier, der.encode(der.BIT_STRING, b"\x00" + bare))
