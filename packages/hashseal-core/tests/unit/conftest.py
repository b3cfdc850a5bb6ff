"""Keys and a small chain, made when the tests run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hashseal_core.algorithms import SignatureAlgorithm, SignatureScheme
from hashseal_core.cms.checking import hash_of

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Holder:
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def sign(self, octets: bytes, algorithm: SignatureAlgorithm) -> bytes:
        digest = hash_of(algorithm.digest)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(octets, ec.ECDSA(digest))
        if algorithm.scheme is SignatureScheme.RSA_PSS:
            pss = padding.PSS(padding.MGF1(digest), algorithm.salt_length)
            return self.key.sign(octets, pss, digest)
        return self.key.sign(octets, padding.PKCS1v15(), digest)


def make(
    subject: str,
    issuer: Holder | None = None,
    *,
    kind: str = "P-256",
    eku=None,
    critical=True,
    nocheck=False,
    ca=False,
) -> Holder:
    key = (
        rsa.generate_private_key(65537, 2048)
        if kind == "RSA"
        else ec.generate_private_key(CURVES[kind]())
    )
    built = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer.certificate.subject if issuer else name(subject))
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=10))
        .not_valid_after(NOW + timedelta(days=100))
        .public_key(key.public_key())
        .add_extension(
            x509.BasicConstraints(ca=ca or issuer is None, path_length=None), critical=True
        )
    )
    if eku:
        built = built.add_extension(x509.ExtendedKeyUsage(eku), critical=critical)
    if nocheck:
        built = built.add_extension(x509.OCSPNoCheck(), critical=False)
    signer = issuer.key if issuer else key
    return Holder(key, built.sign(signer, hashes.SHA256()))


def crl(issuer: Holder, *revoked: Holder, until: datetime = NOW + timedelta(days=5)) -> bytes:
    built = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - timedelta(days=1))
        .next_update(until)
    )
    for holder in revoked:
        built = built.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(holder.certificate.serial_number)
            .revocation_date(NOW - timedelta(days=1))
            .build()
        )
    return built.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def ocsp_response(
    about: Holder,
    issuer: Holder,
    responder: Holder,
    *,
    status=ocsp.OCSPCertStatus.GOOD,
    until: datetime = NOW + timedelta(days=3),
    embed=True,
) -> bytes:
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    built = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=about.certificate,
            issuer=issuer.certificate,
            algorithm=hashes.SHA1(),
            cert_status=status,
            this_update=NOW - timedelta(days=1),
            next_update=until,
            revocation_time=NOW - timedelta(days=2) if revoked else None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
    )
    if embed:
        built = built.certificates([responder.certificate])
    digest = None if isinstance(responder.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return built.sign(responder.key, digest).public_bytes(Encoding.DER)


def edwards_responder(issuer: Holder) -> Holder:
    key = ed25519.Ed25519PrivateKey.generate()
    built = (
        x509.CertificateBuilder()
        .subject_name(name("Edwards"))
        .issuer_name(issuer.certificate.subject)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=10))
        .not_valid_after(NOW + timedelta(days=100))
        .public_key(key.public_key())
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    )
    return Holder(key, built.sign(issuer.key, hashes.SHA256()))


@dataclass(frozen=True)
class Chain:
    root: Holder
    issuing: Holder
    leaf: Holder
    responder: Holder
    tsu: Holder
    make: object = staticmethod(make)
    crl: object = staticmethod(crl)
    edwards_responder: object = staticmethod(edwards_responder)
    ocsp: object = staticmethod(ocsp_response)
    now: datetime = NOW


@pytest.fixture(scope="session")
def chain() -> Chain:
    root = make("Test Root")
    issuing = make("Test Issuing", root, ca=True)
    return Chain(
        root=root,
        issuing=issuing,
        leaf=make("Test Leaf", issuing),
        responder=make(
            "Test Responder", issuing, eku=[ExtendedKeyUsageOID.OCSP_SIGNING], nocheck=True
        ),
        tsu=make("Test TSU", issuing, eku=[ExtendedKeyUsageOID.TIME_STAMPING]),
    )
