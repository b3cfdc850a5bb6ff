"""Object identifiers and parameters of algorithms, as the CSC API names them. Pure.

What is asked for is done exactly, or refused: a salt of another length than the client has written
into its AlgorithmIdentifier makes a signature that nobody can verify.
"""

from __future__ import annotations

import base64
import binascii

from hashseal_core import der
from hashseal_core.algorithms import (
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
    longest_salt,
)
from hashseal_core.errors import DerInvalid, InvalidValue, UnsupportedAlgorithm, WeakAlgorithm

_RSA = "1.2.840.113549.1.1.1"
_PSS = "1.2.840.113549.1.1.10"
_MGF1 = "1.2.840.113549.1.1.8"
_ECDSA = "1.2.840.10045.4.3"
_WITH_RSA = "1.2.840.113549.1.1"
_DIGESTS = {one.oid: one for one in DigestAlgorithm}
_SHA1 = "1.3.14.3.2.26"
_NUMBERED = {
    **{
        f"{_ECDSA}.{number}": (SignatureScheme.ECDSA, digest)
        for number, digest in zip((2, 3, 4), DigestAlgorithm, strict=True)
    },
    **{
        f"{_WITH_RSA}.{number}": (SignatureScheme.RSA_PKCS1, digest)
        for number, digest in zip((11, 12, 13), DigestAlgorithm, strict=True)
    },
}
_BARE = {_RSA: SignatureScheme.RSA_PKCS1, _PSS: SignatureScheme.RSA_PSS}
"""Identifiers that leave the digest open."""
_OF_SCHEME = {
    SignatureScheme.ECDSA: [oid for oid in _NUMBERED if oid.startswith(_ECDSA)],
    SignatureScheme.RSA_PKCS1: [_RSA, *(oid for oid in _NUMBERED if oid.startswith(_WITH_RSA))],
    SignatureScheme.RSA_PSS: [_PSS],
}
CURVES = {
    KeyAlgorithm.P256: "1.2.840.10045.3.1.7",
    KeyAlgorithm.P384: "1.3.132.0.34",
    KeyAlgorithm.P521: "1.3.132.0.35",
}
_NULL = der.encode(der.NULL, b"")
_DEFAULT_SALT, _DEFAULT_TRAILER = 20, 1


def all_algorithms() -> list[str]:
    """Every signature algorithm that some credential may have."""
    return [oid for each in _OF_SCHEME.values() for oid in each]


def algorithms_of(*schemes: SignatureScheme) -> list[str]:
    """What a key that signs in these ways is asked for."""
    return [oid for scheme in schemes for oid in _OF_SCHEME[scheme]]


def key_bits(algorithm: KeyAlgorithm) -> int:
    """Length of a key."""
    return int(algorithm.value.rpartition("-")[2])


def read_digest(oid: str, field: str = "hashAlgorithmOID") -> DigestAlgorithm:
    """The digest algorithm of this identifier.

    Raises:
        WeakAlgorithm, InvalidValue: not on the allow-list.
    """
    if oid == _SHA1:
        raise WeakAlgorithm("SHA-1 is no longer safe for signatures", field=field)
    if oid not in _DIGESTS:
        raise InvalidValue(f"Invalid parameter {field}", field=field)
    return _DIGESTS[oid]


def implied_digest(sign_algo: str | None) -> DigestAlgorithm | None:
    """The digest algorithm that a signature algorithm says by itself."""
    found = _NUMBERED.get(sign_algo or "")
    return found[1] if found else None


def read_algorithm(
    sign_algo: str | None, parameters: str | None, digest: DigestAlgorithm
) -> SignatureAlgorithm:
    """What `signAlgo` and `signAlgoParams` (base64 of DER) ask for.

    Raises:
        InvalidValue: unknown, in contradiction to the digest, or with parameters that are not done.
    """
    if sign_algo is None:
        raise InvalidValue("Missing (or invalid type) string parameter signAlgo", field="signAlgo")
    if sign_algo in _NUMBERED:
        scheme, said = _NUMBERED[sign_algo]
        if said is not digest:
            raise InvalidValue(
                "String parameter hashAlgorithmOID contradicts with signAlgo parameter",
                field="hashAlgorithmOID",
            )
    elif sign_algo in _BARE:
        scheme = _BARE[sign_algo]
    else:
        raise InvalidValue("Invalid parameter signAlgo", field="signAlgo")
    encoded = _decoded(parameters)
    if scheme is not SignatureScheme.RSA_PSS:
        if encoded not in {None, _NULL}:
            raise _no_parameters("signAlgo has no parameters")
        return SignatureAlgorithm(scheme, digest)
    if encoded is None:
        raise _no_parameters("Missing (or invalid type) string parameter signAlgoParams")
    return SignatureAlgorithm(scheme, digest, _salt(encoded, digest))


def require_room(algorithm: SignatureAlgorithm, key: KeyAlgorithm) -> None:
    """The key can sign like that.

    Raises:
        InvalidValue: it is of another kind, or too short for the salt.
    """
    if key.is_rsa is (algorithm.scheme is SignatureScheme.ECDSA):
        raise InvalidValue(
            "Invalid parameter signAlgo: not one of the credential's", field="signAlgo"
        )
    if algorithm.scheme is SignatureScheme.RSA_PSS:
        longest = longest_salt(key_bits(key), algorithm.digest)
        if algorithm.salt_length > longest:
            raise _no_parameters(f"the salt has {longest} octets at most with this key")


def _decoded(parameters: str | None) -> bytes | None:
    if not parameters:
        return None
    try:
        return base64.b64decode(parameters, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _no_parameters("signAlgoParams is not base64") from error


def _salt(encoded: bytes, digest: DigestAlgorithm) -> int:
    """Length of the salt in RSASSA-PSS-params (RFC 4055, 3.1); all the rest must be what we do."""
    try:
        body = der.only(encoded).children()
        hashed = body.optional(0xA0)
        mask = body.optional(0xA1)
        salt = body.optional(0xA2)
        trailer = body.optional(0xA3)
        body.end()
        if hashed is None or _digest_in(hashed.children()) is not digest:
            raise _no_parameters("the digest in signAlgoParams is not hashAlgorithmOID's")
        if mask is None:
            raise _no_parameters("the mask of signAlgoParams is not MGF1 with the same digest")
        generator = mask.children().sequence()
        if generator.oid() != _MGF1 or _digest_in(generator) is not digest:
            raise _no_parameters("the mask of signAlgoParams is not MGF1 with the same digest")
        if trailer is not None and trailer.children().integer() != _DEFAULT_TRAILER:
            raise _no_parameters("the trailer of signAlgoParams is not the usual one")
        length = _DEFAULT_SALT if salt is None else salt.children().integer()
    except (DerInvalid, UnsupportedAlgorithm) as error:
        raise _no_parameters("signAlgoParams is not RSASSA-PSS-params in DER") from error
    if length < 0:
        raise _no_parameters("the length of a salt is not negative")
    return length


def _digest_in(reader: der.Reader) -> DigestAlgorithm | None:
    identifier = reader.sequence()
    found = _DIGESTS.get(identifier.oid())
    identifier.optional(der.NULL)
    identifier.end()
    return found


def _no_parameters(detail: str) -> InvalidValue:
    return InvalidValue(detail, field="signAlgoParams")
