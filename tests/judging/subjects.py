"""Certificates for keys that a test holds only the public half of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import NameOID

_ISSUER = ec.generate_private_key(ec.SECP256R1())


def certificate_for(spki: bytes, name: str = "Test Seal") -> bytes:
    """A certificate of some authority for this public key, DER."""
    public = load_der_public_key(spki)
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority")]))
        .public_key(public)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
    )
    return built.sign(_ISSUER, hashes.SHA256()).public_bytes(Encoding.DER)
