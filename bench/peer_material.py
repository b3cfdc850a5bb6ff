"""Keys, certificates, a CRL and configuration files that all peers share: one root, the same names.

Certomancer issues its own certificates from the same keys and names, so that what it signs leads to
the same root.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import documents
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ALGORITHMS = ("RSA-2048", "P-256")
PDF_OCTETS = 10_000
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Material:
    """A folder with files of fixed names; `who` is `root`, `seal` or `tsu`."""

    folder: Path

    def key(self, who: str, algorithm: str) -> Path:
        """The private key, PKCS #8, PEM, without a passphrase."""
        return self.folder / f"{who}-{algorithm}.key.pem"

    def certificate(self, who: str, algorithm: str) -> Path:
        """The certificate, PEM."""
        return self.folder / f"{who}-{algorithm}.pem"

    @property
    def root(self) -> Path:
        """The certificate of the root, which issues all others."""
        return self.certificate("root", "P-256")

    @property
    def crl(self) -> Path:
        """The root's CRL, DER."""
        return self.folder / "root.crl"

    @property
    def pdf(self) -> Path:
        """The document to sign."""
        return self.folder / "in.pdf"

    @property
    def certomancer(self) -> Path:
        """Certomancer's configuration."""
        return self.folder / "certomancer.yml"

    @property
    def openssl(self) -> Path:
        """OpenSSL's configuration, with one section of each algorithm."""
        return self.folder / "openssl.cnf"


def make(folder: Path) -> Material:
    """Write everything into an empty folder."""
    material = Material(folder)
    root = _key(material, "root", "P-256")
    name = _name("root", "P-256")
    now = datetime.now(UTC) - timedelta(minutes=5)
    _write(material, "root", "P-256", _issue(root, "root", "P-256", root))
    for algorithm in ALGORITHMS:
        for who in ("seal", "tsu"):
            key = _key(material, who, algorithm)
            _write(material, who, algorithm, _issue(key, who, algorithm, root))
    crl = x509.CertificateRevocationListBuilder(name, now, now + timedelta(days=1))
    numbered = crl.add_extension(x509.CRLNumber(1), critical=False).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False
    )
    material.crl.write_bytes(numbered.sign(root, hashes.SHA256()).public_bytes(Encoding.DER))
    documents.sized(material.pdf, PDF_OCTETS, 8)
    material.certomancer.write_text(json.dumps(_certomancer(material)))
    material.openssl.write_text("\n".join(_openssl(material, each) for each in ALGORITHMS))
    return material


def private(path: Path) -> Key:
    """Read a private key."""
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return key


def _name(who: str, algorithm: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Peer {who} {algorithm}")])


def _key(material: Material, who: str, algorithm: str) -> Key:
    key: Key = (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "P-256"
        else rsa.generate_private_key(65537, int(algorithm.removeprefix("RSA-")))
    )
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    material.key(who, algorithm).write_bytes(octets)
    return key


def _write(material: Material, who: str, algorithm: str, certificate: x509.Certificate) -> None:
    material.certificate(who, algorithm).write_bytes(certificate.public_bytes(Encoding.PEM))


def _issue(key: Key, who: str, algorithm: str, root: Key) -> x509.Certificate:
    now = datetime.now(UTC) - timedelta(minutes=5)
    authority = who == "root"
    usage = x509.KeyUsage(
        digital_signature=not authority, content_commitment=who == "seal", key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=authority, crl_sign=authority,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    built = (
        x509.CertificateBuilder(
            issuer_name=_name("root", "P-256"), subject_name=_name(who, algorithm),
            public_key=key.public_key(), serial_number=x509.random_serial_number(),
            not_valid_before=now, not_valid_after=now + timedelta(days=30),
        )
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False
        )
    )  # fmt: skip
    if who == "tsu":
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        built = built.add_extension(purpose, critical=True)
    return built.sign(root, hashes.SHA256())


def _certomancer(material: Material) -> dict[str, object]:
    """Entities, certificates and timestamp services; JSON is YAML."""
    now = datetime.now(UTC)
    validity = {
        "valid-from": (now - timedelta(minutes=5)).isoformat(),
        "valid-to": (now + timedelta(days=30)).isoformat(),
    }
    labels = {"root": ("root", "P-256")} | {
        f"{who}-{algorithm}": (who, algorithm) for who in ("seal", "tsu") for algorithm in ALGORITHMS
    }  # fmt: skip
    certificates: dict[str, object] = {
        label: {
            "subject": label, "issuer": "root", "authority-key": "root", "validity": validity,
            "extensions": _extensions(who),
        }
        for label, (who, _algorithm) in labels.items()
    }  # fmt: skip
    stamping = {
        f"tsu-{algorithm}": {"signing-key": f"tsu-{algorithm}", "signing-cert": f"tsu-{algorithm}"}
        for algorithm in ALGORITHMS
    }
    keys = {label: {"path": str(material.key(*whose))} for label, whose in labels.items()}
    entities = {
        label: {"common-name": f"Peer {who} {algorithm}"}
        for label, (who, algorithm) in labels.items()
    }
    architecture = {
        "keyset": "peers", "entities": entities, "certs": certificates,
        "services": {"time-stamping": stamping},
    }  # fmt: skip
    return {
        "external-url-prefix": "http://pki.example.com",
        "keysets": {"peers": {"path-prefix": str(material.folder), "keys": keys}},
        "pki-architectures": {"peers": architecture},
    }


def _extensions(who: str) -> list[dict[str, object]]:
    usage = ["key_cert_sign", "crl_sign"] if who == "root" else ["digital_signature"]
    made: list[dict[str, object]] = [
        {"id": "basic_constraints", "critical": True, "value": {"ca": who == "root"}},
        {
            "id": "key_usage", "critical": True,
            "smart-value": {"schema": "key-usage", "params": usage},
        },
    ]  # fmt: skip
    if who == "tsu":
        made.append({"id": "extended_key_usage", "critical": True, "value": ["time_stamping"]})
    return made


def _openssl(material: Material, algorithm: str) -> str:
    return f"""[ {algorithm} ]
serial = {material.folder / "serial"}
signer_cert = {material.certificate("tsu", algorithm)}
signer_key = {material.key("tsu", algorithm)}
signer_digest = sha256
default_policy = 1.3.6.1.4.1.32473.1.2
digests = sha256, sha384, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""
