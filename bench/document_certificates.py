"""Certificates for the document rows, made once: a root, an issuing CA, a seal and a TSU, and CRLs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
ROOT, ISSUING, SEAL, TSU = "Bench Root", "Bench Issuing CA", "Bench Seal", "Bench TSU"
ISSUERS = {ROOT: ROOT, ISSUING: ROOT, SEAL: ISSUING, TSU: ISSUING}


@dataclass(frozen=True)
class Authority:
    """Certificates by name, DER; keys by name, PKCS #8 DER; the CRLs of both CAs, DER."""

    certificates: dict[str, bytes]
    keys: dict[str, bytes]
    crls: tuple[bytes, ...]

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Of the seal, up to the root."""
        return tuple(self.certificates[name] for name in (SEAL, ISSUING, ROOT))


def authority(kind: str) -> Authority:
    """All of it, new, with keys of this kind: RSA-3072 or P-256."""
    keys = {name: _key(kind) for name in ISSUERS}
    return Authority(
        {name: _certificate(name, keys) for name in ISSUERS},
        {
            name: key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            for name, key in keys.items()
        },
        tuple(_crl(name, keys[name]) for name in (ROOT, ISSUING)),
    )


def _key(kind: str) -> Key:
    if kind == "P-256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, int(kind.removeprefix("RSA-")))


def _certificate(name: str, keys: dict[str, Key]) -> bytes:
    issuer, now = ISSUERS[name], datetime.now(UTC) - timedelta(minutes=5)
    ca = name in {ROOT, ISSUING}
    usage = x509.KeyUsage(
        digital_signature=name == TSU, content_commitment=name == SEAL, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=ca, crl_sign=ca,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    own, above = keys[name].public_key(), keys[issuer].public_key()
    built = (
        x509.CertificateBuilder(
            issuer_name=_name(issuer), subject_name=_name(name), public_key=own,
            serial_number=x509.random_serial_number(), not_valid_before=now,
            not_valid_after=now + timedelta(days=1),
        )
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)
    )  # fmt: skip
    if name == TSU:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        built = built.add_extension(purpose, critical=True)
    return built.sign(keys[issuer], hashes.SHA256()).public_bytes(Encoding.DER)


def _crl(name: str, key: Key) -> bytes:
    now = datetime.now(UTC) - timedelta(minutes=5)
    built = (
        x509.CertificateRevocationListBuilder(_name(name), now, now + timedelta(days=1))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
    )
    return built.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test Organisation"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )
