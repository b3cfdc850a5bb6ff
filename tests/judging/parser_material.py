"""What parsers read in everyday life, made anew: the seeds that fuzzing damages."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import stamping
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from hashseal_core import cms, tsp
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)

NOW = datetime.now(UTC).replace(microsecond=0)
DIGEST = Digest(DigestAlgorithm.SHA256, hashlib.sha256(b"words").digest())
NONCE = 7
PASSWORD = b"correct horse"
QUERY = tsp.build_request(DIGEST, nonce=NONCE, certificate_wanted=True)


@cache
def root() -> stamping.Root:
    return stamping.Root(Path(mkdtemp(prefix="hashseal-fuzz-")))


@cache
def unit() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    return root().unit()


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@cache
def chain() -> tuple[bytes, ...]:
    """Leaf (the timestamping unit), authority, root."""
    return der(unit()[0]), der(root().lower), der(root().certificate)


@cache
def spki() -> bytes:
    return unit()[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@cache
def timestamp_reply() -> bytes:
    return stamping.forged(unit(), root().lower)(QUERY)


@cache
def timestamp_token() -> bytes:
    return tsp.token_of_response(timestamp_reply())


@cache
def tst_info() -> bytes:
    content = tsp.TokenContent(stamping.POLICY, DIGEST, 4711, NOW, 1000, NONCE)
    return tsp.tst_info(content)


@cache
def signed_data() -> bytes:
    """A detached signature over `DIGEST`."""
    attributes = cms.signed_attributes(DIGEST, chain()[0])
    return cms.assemble(
        signature_algorithm=SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256),
        signed_attributes_der=attributes,
        signature_value=unit()[1].sign(attributes, ec.ECDSA(hashes.SHA256())),
        certificates=list(chain()),
        timestamp_token=timestamp_token(),
    )


@cache
def status_request() -> bytes:
    built = ocsp.OCSPRequestBuilder().add_certificate(unit()[0], root().lower, hashes.SHA1())
    built = built.add_extension(x509.OCSPNonce(bytes(16)), critical=False)
    return built.build().public_bytes(Encoding.DER)


@cache
def status_response() -> bytes:
    day = timedelta(days=1)
    built = ocsp.OCSPResponseBuilder().add_response(
        unit()[0], root().lower, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD,
        NOW - day, NOW + day, None, None,
    )  # fmt: skip
    built = built.responder_id(ocsp.OCSPResponderEncoding.HASH, root().lower)
    return built.sign(root().lower_key, hashes.SHA256()).public_bytes(Encoding.DER)


@cache
def revocation_list() -> bytes:
    return root().crl("lower")


@cache
def request() -> bytes:
    """PKCS #10 for an issuing authority."""
    parts = (
        (NameOID.COUNTRY_NAME, "CH"),
        (NameOID.ORGANIZATION_NAME, "Test"),
        (NameOID.COMMON_NAME, "Test Issuing CA"),
    )
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])
    made = x509.CertificateSigningRequestBuilder().subject_name(name)
    return made.sign(unit()[1], hashes.SHA256()).public_bytes(Encoding.DER)


@cache
def key_file() -> bytes:
    """PKCS #12, with few rounds so that a run is not all key derivation."""
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(1)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .build(PASSWORD)
    )
    return pkcs12.serialize_key_and_certificates(
        b"key", unit()[1], unit()[0], [root().lower], encryption
    )


def pem(octets: bytes, label: str = "CERTIFICATE") -> bytes:
    body = base64.encodebytes(octets)
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), body, label.encode())
