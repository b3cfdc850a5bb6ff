"""Signatures with chains and times that are wrong, made by pyHanko with keys of this run.

The conditions of a real authority that nobody can wait for: expired, revoked, timestamps over
something else. Nothing of Hashseal is used.
"""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asn1crypto import crl as asn1_crl
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko.sign.timestamps.dummy_client import DummyTimeStamper
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko_certvalidator.registry import SimpleCertificateStore

_DAY = timedelta(days=1)
_NOW = datetime.now(UTC).replace(microsecond=0)


class _Wrong(DummyTimeStamper):
    """Its tokens are of other octets than those that it is sent."""

    async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> Any:
        other = hashlib.new(md_algorithm, message_digest).digest()
        return await super().async_timestamp(other, md_algorithm)


class _Issued:
    def __init__(
        self,
        name: str,
        issuer: _Issued | None,
        *,
        days: tuple[int, int] = (-30, 300),
        stamping: bool = False,
    ) -> None:
        self.key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = (
            rsa.generate_private_key(65537, 2048)  # the stamper knows no other
            if stamping
            else ec.generate_private_key(ec.SECP256R1())
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        above = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_NOW + days[0] * _DAY)
            .not_valid_after(_NOW + days[1] * _DAY)
            .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
            .add_extension(_usage(authority=issuer is None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key()),
                critical=False,
            )
        )
        if stamping:
            purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
            builder = builder.add_extension(purpose, critical=True)
        self.certificate = builder.sign(above.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def asn1(self) -> asn1_x509.Certificate:
        return asn1_x509.Certificate.load(self.certificate.public_bytes(Encoding.DER))

    @property
    def asn1_key(self) -> asn1_keys.PrivateKeyInfo:
        der = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return asn1_keys.PrivateKeyInfo.load(der)

    def revoking(self, other: _Issued) -> asn1_crl.CertificateList:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(other.certificate.serial_number)
            .revocation_date(_NOW - 5 * _DAY)
            .build()
        )
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(_NOW - _DAY)
            .next_update(_NOW + 30 * _DAY)
            .add_revoked_certificate(entry)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        return asn1_crl.CertificateList.load(made.public_bytes(Encoding.DER))


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=not authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


class _Careless(signers.PdfSigner):
    """Signs whatever the certification says."""

    def _enforce_certification_constraints(self, reader: Any) -> None:
        del reader


def _signed(
    octets: bytes, seal: _Issued, root: _Issued, stamper: Any = None, field: str = "Seal"
) -> bytes:
    store = SimpleCertificateStore()
    store.register(root.asn1)
    meta = signers.PdfSignatureMetadata(
        field_name=field, md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
    )
    out = io.BytesIO()
    signer = signers.SimpleSigner(seal.asn1, seal.asn1_key, store)
    _Careless(meta, signer, timestamper=stamper).sign_pdf(
        IncrementalPdfFileWriter(io.BytesIO(octets)), output=out
    )
    return out.getvalue()


def signed_again(octets: bytes) -> bytes:
    """A further signature, which no certification keeps this writer from making."""
    root = _Issued("Root", None)
    return _signed(octets, _Issued("Seal", root), root, field="Again")


def stamped_again(
    octets: bytes, box: tuple[int, int, int, int] | None, field: str = "Stamp"
) -> bytes:
    """A document timestamp of a strange authority, in a field that can be seen if it has a box."""
    unit = _Issued("Unit", _Issued("Root", None), stamping=True)
    writer = IncrementalPdfFileWriter(io.BytesIO(octets))
    if box is not None:
        fields.append_signature_field(writer, fields.SigFieldSpec(field, box=box))
        kept = io.BytesIO()
        writer.write(kept)
        writer = IncrementalPdfFileWriter(kept)
    stamper = DummyTimeStamper(unit.asn1, unit.asn1_key, SimpleCertificateStore())
    out = io.BytesIO()
    signers.PdfTimeStamper(stamper, field_name=field).timestamp_pdf(
        writer, "sha256", validation_context=None, output=out
    )
    return out.getvalue()


def signed_by(name: str, octets: bytes, field: str = "Seal") -> tuple[bytes, bytes]:
    """A file that somebody of this name has signed, and the anchor (PEM) that leads to them."""
    root = _Issued(f"Root of {name}", None)
    return _signed(octets, _Issued(name, root), root, field=field), root.pem


def made(name: str, octets: bytes, folder: Path) -> tuple[bytes, bytes]:
    """A file that is signed in the condition of that name, and the anchor (PEM) to judge it by."""
    root = _Issued("Root", None, days=(-900, 900))
    days = {
        "expired": (-60, -20),
        "not-yet-valid": (20, 60),
        "expired-but-stamped": (-60, -20),
    }.get(name, (-30, 300))
    seal = _Issued("Seal", root, days=days)
    other = _Issued("Other root", None)
    unit = _Issued(
        "Unit", other if name == "strange-timestamp" else root, stamping=True, days=(-90, 300)
    )
    kind = _Wrong if name == "wrong-timestamp" else DummyTimeStamper
    store = SimpleCertificateStore()
    store.register(unit.asn1)
    at = _NOW - 25 * _DAY if name == "expired-but-stamped" else _NOW
    stamper = kind(unit.asn1, unit.asn1_key, store, fixed_dt=at) if "stamp" in name else None
    result = _signed(octets, seal, root, stamper)
    if name == "revoked":
        path = folder / "revoked.pdf"
        path.write_bytes(result)
        with path.open("rb+") as file:
            DocumentSecurityStore.add_dss(
                file, None, certs=[root.asn1, seal.asn1], crls=[root.revoking(seal)]
            )
        result = path.read_bytes()
    return result, (other if name == "unknown-root" else root).pem
