"""Status data that somebody adds to a file: it hides no revocation, and spoils nothing."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attacks
import pytest
from asn1crypto import cms, keys
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko_certvalidator.registry import SimpleCertificateStore

from hashseal import pdf
from hashseal.validation.judge import report_on
from hashseal.validation.report import Question, Report
from hashseal_core.evidence import ValidationMaterial

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
ASKED_AT = x509.AuthorityInformationAccess(
    [
        x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://o.test/")
        )
    ]
)


class Authority:
    """A root, a signer and a responder, whose own status is asked for."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._certificate("Root", self.key, ca=True)
        self.signer_key = ec.generate_private_key(ec.SECP256R1())
        self.signer = self._certificate("Signer", self.signer_key)
        self.responder_key = ec.generate_private_key(ec.SECP256R1())
        self.responder = self._certificate("Responder", self.responder_key, responds=True)

    def _certificate(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        responds: bool = False,
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = subject if ca else self.root.subject
        usage = x509.KeyUsage(not ca, not ca, False, False, False, ca, ca, False, False)
        made = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + 300 * DAY)
            .add_extension(x509.BasicConstraints(ca, None), True)
            .add_extension(usage, True)
        )
        if not ca:
            made = made.add_extension(ASKED_AT, False)
        if responds:
            made = made.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False
            )
        return made.sign(self.key, hashes.SHA256())

    def answer(
        self,
        about: x509.Certificate,
        at: datetime,
        until: datetime = NOW + 7 * DAY,
        *,
        revoked_at: datetime | None = None,
        delegated: bool = False,
        forged: bool = False,
    ) -> bytes:
        status = ocsp.OCSPCertStatus.REVOKED if revoked_at else ocsp.OCSPCertStatus.GOOD
        builder = ocsp.OCSPResponseBuilder().add_response(
            about, self.root, hashes.SHA1(), status, at, until, revoked_at, None
        )
        who = self.responder if delegated else self.root
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, who)
        if delegated:
            builder = builder.certificates([who])
        key = self.responder_key if delegated else self.key
        der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        return der[:-1] + bytes([der[-1] ^ 1]) if forged else der

    def forged(self, about: x509.Certificate) -> tuple[bytes, ...]:
        """Good news that nobody signed, around every time that could be asked for."""
        times = (NOW - 5 * DAY, NOW - 4 * DAY, NOW - 3 * DAY, NOW + 5 * DAY)
        return tuple(self.answer(about, at, NOW + 99 * DAY, forged=True) for at in times)

    def signed(self) -> bytes:
        key = self.signer_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        signer = signers.SimpleSigner(
            signing_cert=_asn1(self.signer),
            signing_key=keys.PrivateKeyInfo.load(key),
            cert_registry=SimpleCertificateStore.from_certs([_asn1(self.root)]),
        )
        metadata = signers.PdfSignatureMetadata(
            field_name="S", subfilter=fields.SigSeedSubFilter.PADES
        )
        writer = IncrementalPdfFileWriter(io.BytesIO(attacks.prepared()))
        return bytes(signers.sign_pdf(writer, metadata, signer=signer).getvalue())


def _asn1(certificate: x509.Certificate) -> asn1.Certificate:
    return asn1.Certificate.load(certificate.public_bytes(Encoding.DER))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def judged(authority: Authority, octets: bytes) -> Report:
    anchor = authority.root.public_bytes(Encoding.PEM).decode()
    return report_on(io.BytesIO(octets), Question((anchor,)))


def test_good_news_that_nobody_signed_hides_no_revocation(
    authority: Authority, tmp_path: Path
) -> None:
    """It is the responder's own status that is crowded out: then its word would count for nothing."""
    path = tmp_path / "a.pdf"
    path.write_bytes(authority.signed())
    responses = (
        authority.answer(authority.signer, NOW - 20 * HOUR),
        authority.answer(authority.responder, NOW - HOUR),
        authority.answer(
            authority.signer, NOW - HOUR / 2, revoked_at=NOW - 2 * HOUR, delegated=True
        ),
    )
    pdf.add_validation(path, ValidationMaterial(ocsp_responses=responses))
    assert judged(authority, path.read_bytes()).code == "revoked"
    added = ValidationMaterial(ocsp_responses=authority.forged(authority.responder))
    pdf.add_validation(path, added)
    assert judged(authority, path.read_bytes()).code == "revoked"


def test_good_news_that_nobody_signed_spoils_nothing(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(authority.signed())
    genuine = authority.answer(authority.signer, NOW - HOUR)
    pdf.add_validation(path, ValidationMaterial(ocsp_responses=(genuine,)))
    assert judged(authority, path.read_bytes()).verdict == "valid"
    added = ValidationMaterial(ocsp_responses=authority.forged(authority.signer))
    pdf.add_validation(path, added)
    assert judged(authority, path.read_bytes()).verdict == "valid"


def test_a_signature_whose_timestamp_is_none_is_a_finding(authority: Authority) -> None:
    """The attribute is not signed; whoever puts it in does not take the report on the rest away."""
    octets = authority.signed()
    start = octets.index(b"/Contents <") + len(b"/Contents <")
    end = octets.index(b">", start)
    content = cms.ContentInfo.load(bytes.fromhex(octets[start:end].decode()))
    attribute = {
        "type": "signature_time_stamp_token",
        "values": [cms.ContentInfo({"content_type": "data", "content": b"x"})],
    }
    content["content"]["signer_infos"][0]["unsigned_attrs"] = cms.CMSAttributes(
        [cms.CMSAttribute(attribute)]
    )
    changed = content.dump(force=True).hex().encode().ljust(end - start, b"0")
    report = judged(authority, octets[:start] + changed + octets[end:])
    assert (report.verdict, report.code) == ("invalid", "unreadable")
    assert len(report.signatures) == 1
