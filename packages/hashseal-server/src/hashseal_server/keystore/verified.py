"""The only way in which callers have something signed: what does not verify goes no further (I7).

The public key comes from the caller, out of the certificate that will vouch for the signature, so
that a key store that signs with another key is found out too.
"""

from __future__ import annotations

from hashseal_core.algorithms import SignatureAlgorithm
from hashseal_core.cms import verify_signature_value
from hashseal_server.keystore.port import KeyStore


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
        FaultySignature: what came out does not verify.
    """
    value = keystore.sign(key, to_be_signed, algorithm)
    verify_signature_value(public_key, algorithm, to_be_signed, value)
    return value
