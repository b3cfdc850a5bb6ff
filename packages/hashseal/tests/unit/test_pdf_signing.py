"""Preparing and embedding, judged by pikepdf as an independent reader."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pikepdf
import pytest

from hashseal.pdf import (
    PreparedDocument,
    SignatureOptions,
    add_validation,
    embed,
    inspect,
    prepare,
    prepare_timestamp,
    read_signatures,
)
from hashseal_core.errors import (
    HashsealError,
    PdfCertified,
    PdfFieldUnusable,
    PdfNotPrepared,
    PdfPasswordRequired,
    SignatureTooLarge,
)
from hashseal_core.evidence import ValidationMaterial

OPTIONS = SignatureOptions(contents_size=64, reason="Test")
ENCRYPTIONS = {
    "rc4-40": pikepdf.Encryption(owner="o", user="u", R=2, aes=False, metadata=False),
    "rc4-128": pikepdf.Encryption(owner="o", user="u", R=3, aes=False, metadata=False),
    "aes-128": pikepdf.Encryption(owner="o", user="u", R=4),
    "aes-256": pikepdf.Encryption(owner="o", user="u", R=6),
}


def made(path: Path, **how: object) -> Path:
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        pdf.save(path, **how)
    return path


@pytest.mark.parametrize("mode", list(pikepdf.ObjectStreamMode))
def test_prefix_stays_and_digest_is_of_the_byte_range(tmp_path: Path, mode: object) -> None:
    source = made(tmp_path / "a.pdf", object_stream_mode=mode)
    before = source.read_bytes()
    target = tmp_path / "b.pdf"
    prepared = PreparedDocument.from_json(prepare(source, target, OPTIONS).to_json())
    octets = target.read_bytes()
    assert source.read_bytes() == before == octets[: len(before)]
    _, first, second, length = prepared.byte_range
    covered = octets[:first] + octets[second : second + length]
    assert hashlib.sha256(covered).digest() == prepared.digest.value
    embed(target, prepared, b"\x30\x02\x05\x00")
    assert read_signatures(target)[0].contents == b"\x30\x02\x05\x00".ljust(64, b"\0")
    with pikepdf.open(target) as pdf:
        field = pdf.Root.AcroForm.Fields[0]
        assert pdf.Root.AcroForm.SigFlags == 3
        assert field.F == 132
        assert str(field.V.Reason) == "Test"
        assert len(pdf.pages[0].Annots) == 1


@pytest.mark.parametrize("kind", sorted(ENCRYPTIONS))
@pytest.mark.parametrize("password", ["u", "o"])
def test_encrypted_files_take_encrypted_strings(tmp_path: Path, kind: str, password: str) -> None:
    source = made(tmp_path / "a.pdf", encryption=ENCRYPTIONS[kind])
    target = tmp_path / "b.pdf"
    with pytest.raises(PdfPasswordRequired):
        prepare(source, target, OPTIONS)
    assert not target.exists()
    prepare(source, target, SignatureOptions(contents_size=64, reason="Test", password=password))
    with pikepdf.open(target, password="u") as pdf:
        assert str(pdf.Root.AcroForm.Fields[0].V.Reason) == "Test"


def test_broken_startxref_is_repaired_by_appending(tmp_path: Path) -> None:
    source = made(tmp_path / "a.pdf")
    source.write_bytes(source.read_bytes().replace(b"startxref\n", b"startxref\n9"))
    target = tmp_path / "b.pdf"
    prepare(source, target, OPTIONS)
    assert inspect(source).cross_reference == "repaired"
    assert inspect(target).cross_reference in {"table", "stream"}


def test_certified_without_changes_takes_no_second_signature(tmp_path: Path) -> None:
    source, first = made(tmp_path / "a.pdf"), tmp_path / "b.pdf"
    prepare(source, first, SignatureOptions(contents_size=64, certify="no-changes"))
    assert inspect(first).docmdp == 1
    with pytest.raises(PdfCertified):
        prepare(first, tmp_path / "c.pdf", OPTIONS)
    assert prepare_timestamp(first, contents_size=64).field_name == "Timestamp1"


def test_signed_field_cannot_be_signed_again(tmp_path: Path) -> None:
    source, first = made(tmp_path / "a.pdf"), tmp_path / "b.pdf"
    name = prepare(source, first, OPTIONS).field_name
    with pytest.raises(PdfFieldUnusable):
        prepare(first, tmp_path / "c.pdf", SignatureOptions(contents_size=64, field_name=name))
    assert prepare(first, tmp_path / "c.pdf", OPTIONS).field_name == "Signature2"


def test_embed_refuses_another_file_and_a_signature_that_is_too_large(tmp_path: Path) -> None:
    source, target = made(tmp_path / "a.pdf"), tmp_path / "b.pdf"
    prepared = prepare(source, target, OPTIONS)
    with pytest.raises(SignatureTooLarge):
        embed(target, prepared, bytes(65))
    target.write_bytes(target.read_bytes().replace(b"(Test)", b"(Rest)"))
    with pytest.raises(PdfNotPrepared):
        embed(target, prepared, b"\x30\x00")


def test_evidence_is_stored_once(tmp_path: Path) -> None:
    target = made(tmp_path / "a.pdf")
    material = ValidationMaterial(certificates=(b"c",), ocsp_responses=(b"o",), crls=())
    add_validation(target, material, contents=(b"s",))
    size = target.stat().st_size
    add_validation(target, material, contents=(b"s",))
    assert target.stat().st_size == size
    assert inspect(target).dss_certificates == 1


def test_every_truncation_is_taken_or_refused_by_type(tmp_path: Path) -> None:
    octets = made(tmp_path / "a.pdf").read_bytes()
    cut = tmp_path / "c.pdf"
    for length in range(0, len(octets), 7):
        cut.write_bytes(octets[:length])
        try:
            prepare(cut, tmp_path / "b.pdf", OPTIONS)
        except HashsealError as error:
            assert error.code.startswith("pdf-")  # noqa: PT017
