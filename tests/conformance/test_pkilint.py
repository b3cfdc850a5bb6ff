"""Certificates, CRLs and OCSP responses in a signed file, before pkilint's own commands."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import judgement
import pytest
from asn1crypto import pem, x509

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


def test_serials_are_long_and_random(material: judgement.Material) -> None:
    serials = [x509.Certificate.load(der).serial_number for der in material.certificates]
    assert len(set(serials)) == len(serials)
    for serial in serials:
        assert serial > 0
        assert 96 < serial.bit_length() <= 159
