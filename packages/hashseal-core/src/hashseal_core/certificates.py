"""Strangers' certificates: what reading one may raise, and which keys anything is verified with."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

RAW_SIGNING = "1.3.6.1.4.1.32473.1.3"
"""The only purpose of certificates whose keys sign any digest that a caller chooses, as the CSC
method `signatures/signHash` does. That one verifies makes it no document signature.
It is the verifier's mark, whoever operates the service; the policy beside it is the operator's.
The arc is that for examples (RFC 5612)."""
UNREADABLE = (
    ValueError,
    TypeError,
    NotImplementedError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for bytes that are not what they should be."""
_LEAST_RSA, _MOST_RSA = 2048, 8192
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})


def key_is_sound(key: CertificatePublicKeyTypes) -> bool:
    """Of a kind and size that anything is verified with (ETSI TS 119 312)."""
    if isinstance(key, rsa.RSAPublicKey):
        return _LEAST_RSA <= key.key_size <= _MOST_RSA
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Names match and the signature is the issuer's; nothing else is checked."""
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True
