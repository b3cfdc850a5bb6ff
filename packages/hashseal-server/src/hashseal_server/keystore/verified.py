"""The only way in which callers have something signed: what does not verify goes no further (I7).

The public key comes from the caller, out of the certificate that will vouch for the signature, so
that a key store that signs with another key is found out too.
"""

from __future__ import annotations

from hashseal_core import der, tsp
from hashseal_core.algorithms import SignatureAlgorithm
from hashseal_core.cms import (
    signature_identifier,
    signed_attributes,
    verify_digest_value,
    verify_signature_value,
)
from hashseal_server.keystore.encoding import request_info
from hashseal_server.keystore.port import DigestKeys, DocumentOrder, KeyStore, Signers


def sign(
    keystore: KeyStore,
    key: str,
    to_be_signed: bytes,
    algorithm: SignatureAlgorithm,
    public_key: bytes,
) -> bytes:
    """A signature value that verifies with `public_key` (SubjectPublicKeyInfo or certificate, DER).

    Raises:
        KeystoreUnavailable: no such key, a key of another kind, or the store does not answer.
        KeystoreRefused: the key does not sign that, or not like that.
        FaultySignature: what came out does not verify.
    """
    value = keystore.sign(key, to_be_signed, algorithm)
    verify_signature_value(public_key, algorithm, to_be_signed, value)
    return value


def certification_request(
    keystore: KeyStore, key: str, subject: bytes, algorithm: SignatureAlgorithm
) -> bytes:
    """A CertificationRequest for a key (RFC 2986), without attributes; all of it is DER.

    Raises:
        KeystoreUnavailable, KeystoreRefused: there is none.
        FaultySignature: what came out does not verify.
        DerInvalid: `subject` is not DER.
    """
    spki = keystore.public_key(key)
    info = request_info(subject, spki)
    value = keystore.sign_request(key, subject, algorithm)
    verify_signature_value(spki, algorithm, info, value)
    return der.sequence(
        info, signature_identifier(algorithm), der.encode(der.BIT_STRING, b"\x00" + value)
    )


async def sign_documents(signers: Signers, order: DocumentOrder) -> list[bytes]:
    """The same for documents, in the order of the digests.

    Raises:
        KeystoreUnavailable, KeystoreRefused: nothing was released.
        FaultySignature: one of them does not verify; none is released.
    """
    values = await signers.sign_documents(order)
    for digest, value in zip(order.digests, values, strict=True):
        attributes = signed_attributes(digest, order.certificate, signing_time=order.signing_time)
        verify_signature_value(order.certificate, order.algorithm, attributes, value)
    return values


async def sign_digests(signers: Signers, order: DocumentOrder) -> list[bytes]:
    """The same over the digests themselves, with a key that is made for that.

    Raises:
        KeystoreUnavailable, KeystoreRefused: nothing was released.
        FaultySignature: one of them does not verify; none is released.
    """
    values = await signers.sign_digests(order)
    for digest, value in zip(order.digests, values, strict=True):
        verify_digest_value(order.certificate, order.algorithm, digest, value)
    return values


def sign_digests_here(keys: DigestKeys, order: DocumentOrder) -> list[bytes]:
    """The same with keys at hand."""
    values = []
    for digest in order.digests:
        value = keys.sign_digest(order.key, digest, order.algorithm)
        verify_digest_value(order.certificate, order.algorithm, digest, value)
        values.append(value)
    return values


async def sign_timestamp(
    signers: Signers,
    key: str,
    tst_info: bytes,
    certificate: bytes,
    algorithm: SignatureAlgorithm,
) -> bytes:
    """The same for a token, over the signed attributes of its TSTInfo.

    Raises:
        KeystoreUnavailable, KeystoreRefused, FaultySignature: nothing was released.
    """
    value = await signers.sign_timestamp(key, tst_info, certificate, algorithm)
    attributes = tsp.signed_attributes(tst_info, certificate, algorithm.digest)
    verify_signature_value(certificate, algorithm, attributes, value)
    return value
