"""Certificates, CRLs and OCSP responses in a signed file, before pkilint's own commands."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import judgement
import pytest
from asn1crypto import pem, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate, load_der_x509_crl, ocsp

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.main import operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import Settings

BIN = Path(sys.executable).parent
COMPLAINT = re.compile(r"\((ERROR|FATAL)\)|\b(ERROR|FATAL)\b")


def complaints(command: str, label: str, der: bytes, folder: Path) -> str:
    """What one of pkilint's commands holds to be wrong."""
    path = folder / "object.pem"
    path.write_bytes(pem.armor(label, der))
    outcome = judgement.run(BIN / command, "lint", "-s", "ERROR", path)
    said = outcome.stdout + outcome.stderr
    return said if outcome.returncode or COMPLAINT.search(said) else ""


@pytest.fixture(scope="module", params=["P-256", "RSA-3072"])
def material(
    request: pytest.FixtureRequest, signed: Callable[[str, str], Mapping[str, Path]]
) -> judgement.Material:
    return judgement.dss(signed("B-LT", request.param)["table"].read_bytes())


def test_certificates(material: judgement.Material, tmp_path: Path) -> None:
    assert material.certificates
    for der in material.certificates:
        assert complaints("lint_pkix_cert", "CERTIFICATE", der, tmp_path) == ""


def test_crls(material: judgement.Material, tmp_path: Path) -> None:
    for der in material.crls:
        path = tmp_path / "list.pem"
        path.write_bytes(pem.armor("X509 CRL", der))
        outcome = judgement.run(
            BIN / "lint_crl", "lint", "-s", "ERROR", "-t", "CRL", "-p", "PKIX", path
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_ocsp_responses(material: judgement.Material, tmp_path: Path) -> None:
    assert material.ocsp_responses
    for der in material.ocsp_responses:
        assert complaints("lint_ocsp_response", "OCSP RESPONSE", der, tmp_path) == ""


def test_what_is_said_of_the_revoked_and_of_the_unknown(tmp_path: Path) -> None:
    """The rarer answers: revoked, never issued, and a list that is not empty."""

    async def ask() -> tuple[list[bytes], bytes]:
        async with operator(Settings(data_dir=tmp_path / "service")) as opened:
            await opened.initialise()
            subject = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
            issued = await opened.authority.issue_signing(subject, algorithm=KeyAlgorithm.P256)
            await opened.authority.revoke(issued.serial, "keyCompromise", at=datetime.now(UTC))
            leaf, issuer = map(load_der_x509_certificate, issued.chain[:2])
            known = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1()).build()
            unknown = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
                known.issuer_name_hash, known.issuer_key_hash, issued.serial + 1, hashes.SHA1()
            )
            asked = [one.public_bytes(Encoding.DER) for one in (known, unknown.build())]
            answers = [await opened.authority.ocsp(one) for one in asked]
            return answers, await opened.authority.crl("issuing")

    answers, crl = asyncio.run(ask())
    statuses = [ocsp.load_der_ocsp_response(one).certificate_status for one in answers]
    assert statuses == [ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN]
    for der in answers:
        assert complaints("lint_ocsp_response", "OCSP RESPONSE", der, tmp_path) == ""
    assert len(load_der_x509_crl(crl)) == 1
    path = tmp_path / "list.pem"
    path.write_bytes(pem.armor("X509 CRL", crl))
    said = judgement.run(BIN / "lint_crl", "lint", "-s", "ERROR", "-t", "CRL", "-p", "PKIX", path)
    assert said.returncode == 0, said.stdout + said.stderr


def test_serials_are_long_and_random(material: judgement.Material) -> None:
    serials = [x509.Certificate.load(der).serial_number for der in material.certificates]
    assert len(set(serials)) == len(serials)
    for serial in serials:
        assert serial > 0
        assert 96 < serial.bit_length() <= 159
