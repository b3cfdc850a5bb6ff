"""The whole job on both sides of the document rows: certificates, our calls, pyHanko's calls.

Both sides read the file, add an invisible field, reserve the same room, hash, build the CMS of a PAdES
baseline signature around the same constant signature value with the same three certificates, and
write the result to a file. `require_same_work` proves it on what each has written.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asn1crypto.x509 import Certificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko_certvalidator.registry import SimpleCertificateStore

from hashseal import pdf
from hashseal_core import cms
from hashseal_core.algorithms import DigestAlgorithm, SignatureAlgorithm, SignatureScheme

ROOM = 8192
OPTIONS = pdf.SignatureOptions(contents_size=ROOM)
ALGORITHM = SignatureAlgorithm(SignatureScheme.RSA_PKCS1, DigestAlgorithm.SHA256)
VALUE = bytes(range(256)) + bytes(128)
"""In the place of an RSA-3072 signature: signing is what these rows leave out."""


@dataclass(frozen=True)
class Side:
    """One way to do the job; `sign` takes source and target."""

    name: str
    sign: Callable[[Path, Path], None]


def chain() -> tuple[bytes, ...]:
    """Signing certificate, issuing CA and root, RSA-3072, DER."""
    names = ("Bench Root", "Bench Issuing CA", "Bench Seal")
    keys = [rsa.generate_private_key(65537, 3072) for _ in names]
    made = []
    for level, text in enumerate(names):
        above = max(0, level - 1)
        made.append(
            _certificate(text, keys[level], names[above], keys[above], ca=text != names[-1])
        )
    return tuple(reversed(made))


def _certificate(
    subject: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey, *, ca: bool
) -> bytes:
    now = datetime.now(UTC) - timedelta(minutes=5)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=not ca, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=ca, crl_sign=ca,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    built = (
        x509.CertificateBuilder(
            issuer_name=_name(issuer), subject_name=_name(subject), public_key=key.public_key(),
            serial_number=x509.random_serial_number(), not_valid_before=now,
            not_valid_after=now + timedelta(days=1),
        )
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )  # fmt: skip
    return built.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test Organisation"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )


def hashseal(certificates: tuple[bytes, ...]) -> Side:
    """The SDK writes the file, the core the CMS that the service would return."""

    def sign(source: Path, target: Path) -> None:
        made = pdf.prepare(source, target, OPTIONS)
        attributes = cms.signed_attributes(made.digest, certificates[0])
        signed_data = cms.assemble(
            signature_algorithm=ALGORITHM, signed_attributes_der=attributes,
            signature_value=VALUE, certificates=certificates,
        )  # fmt: skip
        pdf.embed(target, made, signed_data)

    return Side("hashseal", sign)


def pyhanko(certificates: tuple[bytes, ...], loop: asyncio.AbstractEventLoop) -> Side:
    """pyHanko as its documentation has it for a signature made elsewhere, without what it can save.

    Certificates, signer and event loop are made once; the room is given, so that it need not sign a
    dummy to estimate it; no validation context, so that it checks no chain; it works in memory and
    writes the file once, which for a small file is the cheapest of its ways.
    """
    own, *others = (Certificate.load(one) for one in certificates)
    registry = SimpleCertificateStore()
    registry.register_multiple(others)
    external = signers.ExternalSigner(own, registry, signature_value=VALUE)
    signer = signers.PdfSigner(
        signers.PdfSignatureMetadata(
            field_name="Signature1", md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
        ),
        signer=external,
        new_field_spec=fields.SigFieldSpec("Signature1"),
    )

    def sign(source: Path, target: Path) -> None:
        writer = IncrementalPdfFileWriter(io.BytesIO(source.read_bytes()), strict=False)
        work = signer.async_sign_pdf(writer, bytes_reserved=2 * ROOM, in_place=True)
        target.write_bytes(loop.run_until_complete(work).getbuffer())

    return Side("pyHanko", sign)


def require_same_work(
    sides: tuple[Side, ...], source: Path, target: Path, certificates: tuple[bytes, ...]
) -> None:
    """What each side writes is an append to the source with this signature over all of it.

    Raises:
        RuntimeError: a side does less or something else.
    """
    for side in sides:
        side.sign(source, target)
        (found,) = pdf.read_signatures(target)
        signed = cms.parse(cms.strip_padding(found.contents))
        digest = pdf.digest_of(target, found.byte_range, DigestAlgorithm.SHA256)
        done = (
            target.read_bytes().startswith(source.read_bytes())
            and found.covers_whole_file
            and len(found.contents) == ROOM
            and found.subfilter == "ETSI.CAdES.detached"
            and signed.message_digest == digest.value
            and signed.signature_algorithm == ALGORITHM
            and signed.signature_value == VALUE
            and signed.signing_certificate == certificates[0]
            and set(signed.certificates) == set(certificates)
        )
        if not done:
            raise RuntimeError(f"{side.name} does another job")
        target.unlink()
