"""The validation report: what it says of files that were changed, stripped, or are not trusted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pikepdf
import pytest

from hashseal import pdf, validation
from hashseal.client.signing import sign
from hashseal_core.algorithms import Level
from hashseal_core.errors import InputUnreadable, PdfMalformed, PdfPasswordRequired
from hashseal_core.evidence import ValidationMaterial


@pytest.fixture
def signed(opened, source: Path) -> Path:
    output = source.with_name("signed.pdf")
    opened.client.run(sign(source, output))
    return output


def test_a_store_without_the_material_is_not_b_lt(opened, source: Path) -> None:
    """A DSS that holds nothing useful must not raise the level."""
    output = source.with_name("out.pdf")
    opened.client.run(sign(source, output, level=Level.B_T))
    material = ValidationMaterial(certificates=(pem_der(opened.trust_anchor),))
    pdf.add_validation(output, material)
    assert pdf.inspect(output).dss_certificates == 1
    report = validation.validate(output, [opened.trust_anchor])
    assert (report.verdict, report.signatures[0].level) == ("valid", "B-T")
    assert report.signatures[0].revocation == "not checked"
    assert report.signatures[0].problems


def pem_der(pem: bytes) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def test_a_changed_page_behind_the_signature_is_told(opened, signed: Path) -> None:
    later = signed.with_name("later.pdf")
    with pikepdf.open(signed) as opened_pdf:
        opened_pdf.pages[0].MediaBox = [0, 0, 100, 100]
        opened_pdf.save(later)
    report = validation.validate(later, [opened.trust_anchor])
    assert report.verdict == "invalid"
    octets = signed.read_bytes()
    signed.write_bytes(octets + b"\n% something\n")
    assert validation.validate(signed, [opened.trust_anchor]).verdict == "invalid"


def test_without_the_anchor_nothing_is_trusted(signed: Path) -> None:
    report = validation.validate(signed, [])
    assert report.verdict == "untrusted"
    assert "trust anchor" in report.words


def test_before_the_signature_was_made_its_certificate_did_not_exist(opened, source: Path) -> None:
    output = source.with_name("out.pdf")
    opened.client.run(sign(source, output, level=Level.B_B))
    long_ago = datetime.now(UTC) - timedelta(days=9)
    assert validation.validate(output, [opened.trust_anchor], at=long_ago).verdict == "untrusted"


def test_an_encrypted_file_needs_its_password(opened, tmp_path: Path) -> None:
    source, output = tmp_path / "secret.pdf", tmp_path / "out.pdf"
    with pikepdf.new() as made:
        made.add_blank_page()
        made.save(source, encryption=pikepdf.Encryption(owner="o", user="u", R=6))
    options = pdf.SignatureOptions(contents_size=1, password="u")
    opened.client.run(sign(source, output, options=options))
    with pytest.raises(PdfPasswordRequired):
        validation.validate(output, [opened.trust_anchor])
    report = validation.validate(output, [opened.trust_anchor], password="u")
    assert report.verdict == "valid"


def test_what_is_no_file_or_no_anchor_is_refused(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputUnreadable):
        validation.validate(tmp_path / "absent.pdf", [])
    with pytest.raises(InputUnreadable):
        validation.validate(signed, [b"\xff"])
    junk = tmp_path / "junk.pdf"
    junk.write_bytes(b"%PDF-1.7 and nothing else")
    with pytest.raises(PdfMalformed):
        validation.validate(junk, [])


def test_an_unreadable_signature_is_a_finding(opened, signed: Path) -> None:
    octets = signed.read_bytes()
    start = octets.index(b"/Contents <") + len(b"/Contents <")
    signed.write_bytes(octets[:start] + b"00" * 8 + octets[start + 16 :])
    report = validation.validate(signed, [opened.trust_anchor])
    assert report.verdict == "invalid"
    assert "Signature1" in report.words
