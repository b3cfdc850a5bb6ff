"""Check a file signature: what it covers and that the signature value is right (RFC 5652 §5.6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hashseal_core import der
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.cms.attributes import (
    CONTENT_DATA,
    CONTENT_TYPE,
    MESSAGE_DIGEST,
    SIGNING_CERTIFICATE_V2,
)
from hashseal_core.cms.signed_data import SignedData
from hashseal_core.errors import CmsInvalid, FaultySignature

_HASHES: dict[DigestAlgorithm, hashes.HashAlgorithm] = {
    DigestAlgorithm.SHA256: hashes.SHA256(),
    DigestAlgorithm.SHA384: hashes.SHA384(),
    DigestAlgorithm.SHA512: hashes.SHA512(),
}
_OURS = {CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_CERTIFICATE_V2}


def hash_of(algorithm: DigestAlgorithm) -> hashes.HashAlgorithm:
    """The digest algorithm as an object of `cryptography`."""
    return _HASHES[algorithm]


@lru_cache(maxsize=1024)
def public_key_of(spki_or_certificate_der: bytes) -> PublicKeyTypes:
    """The public key of a SubjectPublicKeyInfo or of a certificate.

    Raises:
        CmsInvalid: it is neither.
    """
    try:
        return load_der_public_key(spki_or_certificate_der)
    except ValueError:
        pass
    try:
        return x509.load_der_x509_certificate(spki_or_certificate_der).public_key()
    except ValueError as error:
        raise CmsInvalid("neither a public key nor a certificate") from error


def verify_signature_value(
    spki_or_certificate_der: bytes,
    algorithm: SignatureAlgorithm,
    to_be_signed: bytes,
    signature_value: bytes,
) -> None:
    """Verify one signature value with a public key.

    Raises:
        FaultySignature: it does not verify, or the key is of another kind.
        CmsInvalid: there is no public key in `spki_or_certificate_der`.
    """
    verify = _verifier(spki_or_certificate_der, algorithm)
    try:
        verify(signature_value, to_be_signed)
    except InvalidSignature as error:
        raise FaultySignature("the signature value does not verify") from error


def verify_digest_value(
    spki_or_certificate_der: bytes, algorithm: SignatureAlgorithm, digest: Digest, value: bytes
) -> None:
    """Verify one signature value over a digest that a caller chose.

    Raises:
        FaultySignature: it does not verify, or the key is of another kind.
        CmsInvalid: there is no public key in `spki_or_certificate_der`.
    """
    key = public_key_of(spki_or_certificate_der)
    hashed = utils.Prehashed(_HASHES[digest.algorithm])
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm.scheme is SignatureScheme.ECDSA:
            key.verify(value, digest.value, ec.ECDSA(hashed))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm.scheme is not SignatureScheme.ECDSA:
            key.verify(value, digest.value, rsa_padding(algorithm), hashed)
        else:
            raise FaultySignature("the key is not of the kind that the algorithm needs")
    except InvalidSignature as error:
        raise FaultySignature("the signature value does not verify") from error


def rsa_padding(algorithm: SignatureAlgorithm) -> padding.PKCS1v15 | padding.PSS:
    """The padding of an RSA signature, as `cryptography` has it."""
    if algorithm.scheme is SignatureScheme.RSA_PKCS1:
        return padding.PKCS1v15()
    mgf = padding.MGF1(_HASHES[algorithm.digest])
    return padding.PSS(mgf=mgf, salt_length=algorithm.salt_length)


@lru_cache(maxsize=1024)
def _verifier(
    spki_or_certificate_der: bytes, algorithm: SignatureAlgorithm
) -> Callable[[bytes, bytes], None]:
    """Verifies a signature value over octets, or raises InvalidSignature."""
    key = public_key_of(spki_or_certificate_der)
    digest = _HASHES[algorithm.digest]
    if isinstance(key, ec.EllipticCurvePublicKey) and algorithm.scheme is SignatureScheme.ECDSA:
        ecdsa = ec.ECDSA(digest)
        return lambda value, octets: key.verify(value, octets, ecdsa)
    if isinstance(key, rsa.RSAPublicKey) and algorithm.scheme is SignatureScheme.RSA_PKCS1:
        pkcs1 = padding.PKCS1v15()
        return lambda value, octets: key.verify(value, octets, pkcs1, digest)
    if isinstance(key, rsa.RSAPublicKey) and algorithm.scheme is SignatureScheme.RSA_PSS:
        pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=algorithm.salt_length)
        return lambda value, octets: key.verify(value, octets, pss, digest)
    raise FaultySignature("the key is not of the kind that the algorithm needs")


def check(signed_data: SignedData, digest: Digest, *, exact: bool = True) -> None:
    """Check a detached file signature against the document's digest.

    With `exact` the signed attributes must be those of our profile, no more and no less. The
    certificate chain, its validity and any timestamp are not checked here.

    Raises:
        CmsInvalid: not detached, other attributes, or about another digest.
        FaultySignature: the signature value does not verify.
        DerInvalid: an attribute is malformed.
    """
    if signed_data.content is not None or signed_data.content_type != CONTENT_DATA:
        raise CmsInvalid("the file signature is not detached")
    content_type = signed_data.attributes.get(CONTENT_TYPE)
    if content_type is None or der.Reader(content_type).oid() != CONTENT_DATA:
        raise CmsInvalid("the content-type attribute is missing or not id-data")
    if exact and set(signed_data.attributes) != _OURS:
        raise CmsInvalid("the signed attributes are not those of the profile")
    if (
        signed_data.digest_algorithm is not digest.algorithm
        or signed_data.message_digest != digest.value
    ):
        raise CmsInvalid("the signature is over another digest")
    verify_signature_value(
        signed_data.signing_certificate,
        signed_data.signature_algorithm,
        signed_data.signed_attributes_der,
        signed_data.signature_value,
    )
