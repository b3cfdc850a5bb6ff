"""Signed files whose certificates ask for more work than anybody can do, and one that is honest.

Made by pyHanko with keys of this run, like those of `small_authority`. All authorities of a file
have one key, so that each can have issued any other: it is the names that keep a validator busy.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

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
from pyhanko_certvalidator.registry import SimpleCertificateStore

_DAY = timedelta(days=1)
_NOW = datetime.now(UTC).replace(microsecond=0)
_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _certificate(
    subject: str, key: _Key, issuer: str, issuer_key: _Key, *, purpose: str
) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    authority = purpose == "authority"
    usage = x509.KeyUsage(
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
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - 30 * _DAY)
        .not_valid_after(_NOW + 300 * _DAY)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(usage, critical=True)
    )
    if purpose == "stamping":
        stamping = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(stamping, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def _asn1_key(key: _Key) -> asn1_keys.PrivateKeyInfo:
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return asn1_keys.PrivateKeyInfo.load(der)


def _store(certificates: Iterable[x509.Certificate]) -> SimpleCertificateStore:
    return SimpleCertificateStore.from_certs(map(_asn1, certificates))


class _Maker:
    def __init__(self) -> None:
        self._above, self._seal = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = self.authority("Root", "Root")

    @property
    def anchor(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    def authority(self, subject: str, issuer: str) -> x509.Certificate:
        return _certificate(subject, self._above, issuer, self._above, purpose="authority")

    def signed(
        self,
        octets: bytes,
        bag: Iterable[x509.Certificate],
        token_bag: Iterable[x509.Certificate] | None = None,
    ) -> bytes:
        seal = _certificate("Seal", self._seal, "Authority", self._above, purpose="sealing")
        stamper = None
        if token_bag is not None:
            key = rsa.generate_private_key(65537, 2048)  # the stamper knows no other
            unit = _certificate("Unit", key, "Authority", self._above, purpose="stamping")
            certificates = _store([unit, *token_bag])
            stamper = DummyTimeStamper(_asn1(unit), _asn1_key(key), certificates)
        meta = signers.PdfSignatureMetadata(
            field_name="Seal", md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
        )
        signer = signers.SimpleSigner(_asn1(seal), _asn1_key(self._seal), _store(bag))
        out = io.BytesIO()
        signers.PdfSigner(meta, signer, timestamper=stamper).sign_pdf(
            IncrementalPdfFileWriter(io.BytesIO(octets)), output=out
        )
        return out.getvalue()


def made(name: str, octets: bytes) -> tuple[bytes, bytes]:
    """The file of that name, and the anchor (PEM) to judge it by."""
    maker = _Maker()
    chain = [maker.authority("Authority", "Root"), maker.root]
    strangers = [maker.authority(f"Authority {n}", f"Authority {n + 1}") for n in range(100)]
    rings = [maker.authority("Authority", "Authority") for _ in range(14)]
    crossed = [maker.authority("Authority", f"Root {n}") for n in range(3)]
    bags = {
        "hundred": ([*chain, *strangers], None),
        "same name": (rings, None),
        "hundred in the token": (chain, [*chain, *strangers]),
        "same name in the token": (chain, rings),
        "cross certificates": ([*chain, *crossed], chain),
    }
    return maker.signed(octets, *bags[name]), maker.anchor
