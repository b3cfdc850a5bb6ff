"""From a builder to a signed certificate: shape → lint → sign → verify.

The to-be-signed bytes are made with a throw-away key of the authority's kind; what leaves carries
the signature of the key store over these very bytes. So the linter sees what will be signed before
anything is signed, and the authority's key may live in an HSM.
"""

from __future__ import annotations

import secrets
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hashseal_core import der
from hashseal_core.algorithms import DigestAlgorithm, SignatureAlgorithm, SignatureScheme
from hashseal_core.cms import signature_identifier
from hashseal_server.keystore import verified
from hashseal_server.keystore.port import KeyStore
from hashseal_server.pki.model import Role

AUTHORITY_ALGORITHM = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
SHAPING_HASH = hashes.SHA256()


class Linter(Protocol):
    """What looks at everything before the authority signs it."""

    def certificate(self, der: bytes, role: Role, issuer: x509.Certificate | None = None) -> None:
        """Raise LintFailed or return; without an issuer what hangs on it is not looked at."""

    def crl(self, der: bytes) -> None:
        """Raise LintFailed or return."""

    def ocsp_response(self, der: bytes) -> None:
        """Raise LintFailed or return."""


def new_serial() -> int:
    """The serial number of a certificate: 128 random bits behind one that keeps the length."""
    return 1 << 128 | secrets.randbits(128)


def shaping_key() -> ec.EllipticCurvePrivateKey:
    """A throw-away key that gives the to-be-signed bytes the right algorithm identifier."""
    return ec.generate_private_key(ec.SECP256R1())


def sign_and_wrap(keystore: KeyStore, key: str, to_be_signed: bytes) -> bytes:
    """SEQUENCE {to-be-signed bytes, algorithm, signature}: Certificate, CertificateList.

    Raises:
        FaultySignature: the key store's answer does not verify.
        KeystoreUnavailable: there is none.
    """
    value = verified.sign(
        keystore, key, to_be_signed, AUTHORITY_ALGORITHM, keystore.public_key(key)
    )
    return der.sequence(
        to_be_signed,
        signature_identifier(AUTHORITY_ALGORITHM),
        der.encode(der.BIT_STRING, b"\x00" + value),
    )


def issue(
    built: x509.CertificateBuilder,
    role: Role,
    issuer: x509.Certificate | None,
    *,
    keystore: KeyStore,
    key: str,
    linter: Linter,
) -> bytes:
    """Lint, sign, verify; DER of the certificate. `issuer` None is for one that signs itself.

    Raises:
        LintFailed: nothing has been signed.
        FaultySignature, KeystoreUnavailable: likewise nothing left.
    """
    shaped = built.sign(shaping_key(), SHAPING_HASH)
    linter.certificate(shaped.public_bytes(Encoding.DER), role, issuer)
    return sign_and_wrap(keystore, key, shaped.tbs_certificate_bytes)
