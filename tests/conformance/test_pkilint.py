"""Certificates, CRLs and OCSP responses in a signed file, before pkilint's own commands."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

import judgement
import pytest
from asn1crypto import pem, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import OCSPNonce, load_der_x509_certificate, load_der_x509_crl, ocsp
from forms import IN_TOKEN

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.main import Operator, operator
from hashseal_server.pki.model import LegalPerson, NaturalPerson, Role
from hashseal_server.pki.profiles import PROFILES
from hashseal_server.settings import Settings

BIN = Path(sys.executable).parent
COMPLAINT = re.compile(r"\b(WARNING|ERROR|FATAL)\b")
LEGAL = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
NATURAL = NaturalPerson("Test", "Person", "IDCCH-1", "CH", "Test Person")


def complaints(command: str, label: str, der: bytes, folder: Path, *options: str | Path) -> str:
    """What one of pkilint's commands holds to be wrong."""
    path = folder / "object.pem"
    path.write_bytes(pem.armor(label, der))
    outcome = judgement.run(BIN / command, "lint", "-s", "WARNING", *options, path)
    said = outcome.stdout + outcome.stderr
    return said if outcome.returncode or COMPLAINT.search(said) else ""


each_key = pytest.mark.parametrize(
    ("store", "key"),
    [
        *(("software", key) for key in ("P-256", "RSA-3072")),
        *(
            pytest.param("token", key, marks=IN_TOKEN)
            for key in ("P-256", "RSA-3072", "RSA-3072-PSS")
        ),
    ],
)


@pytest.fixture
def material(key: str, signed: Callable[[str, str], Mapping[str, Path]]) -> judgement.Material:
    return judgement.dss(signed("B-LT", key)["table"].read_bytes())


@each_key
def test_certificates(store: str, key: str, material: judgement.Material, tmp_path: Path) -> None:
    assert material.certificates
    for der in material.certificates:
        assert complaints("lint_pkix_cert", "CERTIFICATE", der, tmp_path) == ""


ALGORITHMS = tuple(one for one in KeyAlgorithm if one is not KeyAlgorithm.RSA2048)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_people_s_certificates_as_etsi_has_them(algorithm: KeyAlgorithm, tmp_path: Path) -> None:
    """NCP of EN 319 411-1 with the profiles of EN 319 412-2 and -3, under a public address."""
    settings = Settings(data_dir=tmp_path / "service", public_url="http://pki.example.com")

    async def issue() -> list[bytes]:
        async with operator(settings) as opened:
            await opened.initialise()
            return [
                (await opened.authority.issue_signing(one, algorithm=algorithm)).certificate
                for one in (LEGAL, NATURAL)
            ]

    kinds = ("NCP-LEGAL-PERSON-CERTIFICATE", "NCP-NATURAL-PERSON-CERTIFICATE")
    issued = asyncio.run(issue())
    for der, kind in zip(issued, kinds, strict=True):
        assert complaints("lint_etsi_cert", "CERTIFICATE", der, tmp_path, "-t", kind) == ""
        assert complaints("lint_pkix_cert", "CERTIFICATE", der, tmp_path) == ""
    # The judge tells one from the other.
    assert complaints("lint_etsi_cert", "CERTIFICATE", issued[0], tmp_path, "-t", kinds[1]) != ""


@each_key
def test_crls(store: str, key: str, material: judgement.Material, tmp_path: Path) -> None:
    for der in material.crls:
        path = tmp_path / "list.pem"
        path.write_bytes(pem.armor("X509 CRL", der))
        outcome = judgement.run(
            BIN / "lint_crl", "lint", "-s", "WARNING", "-t", "CRL", "-p", "PKIX", path
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@each_key
def test_ocsp_responses(store: str, key: str, material: judgement.Material, tmp_path: Path) -> None:
    assert material.ocsp_responses
    for der in material.ocsp_responses:
        assert complaints("lint_ocsp_response", "OCSP RESPONSE", der, tmp_path) == ""


@pytest.mark.parametrize("store", ["software", pytest.param("token", marks=IN_TOKEN)])
def test_what_is_said_of_the_revoked_and_of_the_unknown(
    signing, store: str, tmp_path: Path
) -> None:
    """The rarer answers: revoked, never issued, and a list that is not empty."""

    async def ask() -> tuple[list[bytes], bytes]:
        async with operator(signing.settings(tmp_path / "service")) as opened:
            await opened.initialise()
            issued = await opened.authority.issue_signing(LEGAL, algorithm=KeyAlgorithm.P256)
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
    said = judgement.run(BIN / "lint_crl", "lint", "-s", "WARNING", "-t", "CRL", "-p", "PKIX", path)
    assert said.returncode == 0, said.stdout + said.stderr


async def made_of_each(roles: Collection[Role], opened: Operator) -> dict[Role, tuple[bytes, ...]]:
    """A certificate of each profile with its chain, DER, the root last."""
    authority = opened.authority
    signing = {
        role: (await authority.issue_signing(subject, algorithm=KeyAlgorithm.P256, raw=raw)).chain
        for role, subject, raw in (
            (Role.SEAL, LEGAL, False),
            (Role.PERSON, NATURAL, False),
            (Role.RAW, LEGAL, True),
        )
        if role in roles
    }
    seal = signing[Role.SEAL]
    unit = await opened.timestamping.issue()
    said = ocsp.load_der_ocsp_response(await authority.ocsp(asked_about(seal)))
    (responder,) = [one.public_bytes(Encoding.DER) for one in said.certificates]
    return {
        Role.ROOT: seal[2:],
        Role.ISSUING: seal[1:],
        Role.RESPONDER: (responder, *seal[1:]),
        Role.TSU: unit.chain,
        **signing,
    }


def asked_about(chain: tuple[bytes, ...], *, nonce: bytes = b"", another: bool = False) -> bytes:
    """A request for the status of the first of a chain, or of a number that nobody has."""
    leaf, issuer = map(load_der_x509_certificate, chain[:2])
    built = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1())
    if another:
        known = built.build()
        built = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            known.issuer_name_hash, known.issuer_key_hash, leaf.serial_number + 1, hashes.SHA1()
        )
    if nonce:
        built = built.add_extension(OCSPNonce(nonce), critical=False)
    return built.build().public_bytes(Encoding.DER)


@pytest.mark.parametrize("store", ["software", pytest.param("token", marks=IN_TOKEN)])
def test_every_profile_and_live_answers(signing, store: str, tmp_path: Path) -> None:
    """Each profile before the commands for one and for two certificates; responses with a nonce."""
    nonce = bytes(range(32))
    # Signers have no keys of the raw kind unless the operator says so.
    roles = {*PROFILES} - ({Role.RAW} if store == "token" else set())

    async def ask() -> tuple[dict[Role, tuple[bytes, ...]], dict[str, bytes]]:
        async with operator(signing.settings(tmp_path / "service")) as opened:
            await opened.initialise()
            chains = await made_of_each(roles, opened)
            revoked = load_der_x509_certificate(chains[Role.PERSON][0]).serial_number
            await opened.authority.revoke(revoked, "keyCompromise", at=datetime.now(UTC))
            requests = {
                "GOOD": asked_about(chains[Role.SEAL], nonce=nonce),
                "GOOD by the root": asked_about(chains[Role.ISSUING], nonce=nonce),
                "REVOKED": asked_about(chains[Role.PERSON], nonce=nonce),
                "UNKNOWN": asked_about(chains[Role.SEAL], nonce=nonce, another=True),
            }
            return chains, {
                name: await opened.authority.ocsp(one) for name, one in requests.items()
            }

    chains, answers = asyncio.run(ask())
    assert chains.keys() == roles
    for role, (certificate, *above) in chains.items():
        assert complaints("lint_pkix_cert", "CERTIFICATE", certificate, tmp_path) == "", role
        issuer = tmp_path / "issuer.pem"
        issuer.write_bytes(pem.armor("CERTIFICATE", (above or [certificate])[0]))
        found = complaints(
            *("lint_pkix_signer_signee_cert_chain", "CERTIFICATE", certificate, tmp_path),
            issuer,
        )
        assert found == "", role
    for name, der in answers.items():
        said = ocsp.load_der_ocsp_response(der)
        assert said.certificate_status.name == name.split()[0]
        assert said.extensions.get_extension_for_class(OCSPNonce).value.nonce == nonce
        assert complaints("lint_ocsp_response", "OCSP RESPONSE", der, tmp_path) == "", name


@each_key
def test_serials_are_long_and_random(store: str, key: str, material: judgement.Material) -> None:
    serials = [x509.Certificate.load(der).serial_number for der in material.certificates]
    assert len(set(serials)) == len(serials)
    for serial in serials:
        assert serial > 0
        assert 96 < serial.bit_length() <= 159
