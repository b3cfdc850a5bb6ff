"""AlgorithmIdentifiers of CMS signatures (RFC 5754, RFC 5758, RFC 4055, RFC 4056)."""

from __future__ import annotations

from functools import cache

from hashseal_core import der
from hashseal_core.algorithms import DigestAlgorithm, SignatureAlgorithm, SignatureScheme
from hashseal_core.errors import UnsupportedAlgorithm, WeakAlgorithm

_NULL = der.encode(der.NULL, b"")
_RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
_RSA_PSS = "1.2.840.113549.1.1.10"
_MGF1 = "1.2.840.113549.1.1.8"
_SHA1 = "1.3.14.3.2.26"
_DEFAULT_SALT = 20
_DIGESTS = {algorithm.oid: algorithm for algorithm in DigestAlgorithm}
_WITH_DIGEST = {
    f"{arc}.{number}": SignatureAlgorithm(scheme, digest)
    for scheme, arc, numbers in (
        (SignatureScheme.ECDSA, "1.2.840.10045.4.3", (2, 3, 4)),
        (SignatureScheme.RSA_PKCS1, "1.2.840.113549.1.1", (11, 12, 13)),
    )
    for number, digest in zip(numbers, DigestAlgorithm, strict=True)
}
_OIDS = {algorithm: oid for oid, algorithm in _WITH_DIGEST.items()}


@cache
def digest_identifier(algorithm: DigestAlgorithm) -> bytes:
    """DER, parameters absent (RFC 5754, 2)."""
    return der.sequence(der.oid(algorithm.oid))


@cache
def signature_identifier(algorithm: SignatureAlgorithm) -> bytes:
    """DER of what stands in the SignerInfo and in certificates.

    What has the default of RSASSA-PSS-params is absent (X.690, 11.5): a salt of 20 octets, and
    always the trailer field (RFC 4055, 3.1).
    """
    if algorithm.scheme is SignatureScheme.RSA_PSS:
        digest = der.sequence(der.oid(algorithm.digest.oid), _NULL)
        salt = der.encode(0xA2, der.integer(algorithm.salt_length))
        parameters = der.sequence(
            der.encode(0xA0, digest),
            der.encode(0xA1, der.sequence(der.oid(_MGF1), digest)),
            b"" if algorithm.salt_length == _DEFAULT_SALT else salt,
        )
        return der.sequence(der.oid(_RSA_PSS), parameters)
    tail = _NULL if algorithm.scheme is SignatureScheme.RSA_PKCS1 else b""
    return der.sequence(der.oid(_OIDS[algorithm]), tail)


def read_digest(reader: der.Reader) -> DigestAlgorithm:
    """Read one digest AlgorithmIdentifier, with absent or NULL parameters.

    Raises:
        WeakAlgorithm: SHA-1.
        UnsupportedAlgorithm: not on the allow-list.
    """
    inner = reader.sequence()
    oid = inner.oid()
    inner.optional(der.NULL)
    inner.end()
    if oid == _SHA1:
        raise WeakAlgorithm("SHA-1 is no longer safe for signatures", field="hash_algorithm")
    if oid not in _DIGESTS:
        raise UnsupportedAlgorithm(f"digest algorithm {oid} is not on the allow-list")
    return _DIGESTS[oid]


def read_signature(reader: der.Reader, digest: DigestAlgorithm) -> SignatureAlgorithm:
    """Read one signature AlgorithmIdentifier that must go with the SignerInfo's `digest`.

    Raises:
        UnsupportedAlgorithm: not on the allow-list, or another digest than the SignerInfo's.
    """
    raw = reader.take(der.SEQUENCE)
    inner = raw.children()
    oid = inner.oid()
    if oid == _RSA_ENCRYPTION:  # allowed by RFC 5754, 3.2: the digest is the SignerInfo's
        return SignatureAlgorithm(SignatureScheme.RSA_PKCS1, digest)
    if oid == _RSA_PSS:
        algorithm = SignatureAlgorithm(SignatureScheme.RSA_PSS, digest)
        if raw.raw != signature_identifier(algorithm):
            raise UnsupportedAlgorithm("RSA-PSS with unusual parameters")
        return algorithm
    found = _WITH_DIGEST.get(oid)
    if found is None or found.digest is not digest:
        raise UnsupportedAlgorithm(f"signature algorithm {oid} does not fit {digest}")
    return found
