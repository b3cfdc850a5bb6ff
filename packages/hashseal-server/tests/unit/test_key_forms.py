"""Each purpose signs its own form of bytes and no other's."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from hashseal_core import cms, der, tsp
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.errors import KeystoreRefused
from hashseal_server.audit.chain import Checkpoint
from hashseal_server.keystore.forms import require_structure, require_timestamp
from hashseal_server.keystore.purpose import Purpose

NOW = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
ECDSA = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
RSA = SignatureAlgorithm(SignatureScheme.RSA_PKCS1, DigestAlgorithm.SHA256)
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test")])
DIGEST = Digest(DigestAlgorithm.SHA256, hashlib.sha256(b"x").digest())


def certificate(*, extended: bool = True) -> x509.Certificate:
    built = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if extended:
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return built.sign(KEY, hashes.SHA256())


def revocation_list() -> bytes:
    built = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(NAME)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    return built.sign(KEY, hashes.SHA256()).tbs_certlist_bytes


def status(at: datetime, until: datetime | None) -> bytes:
    built = ocsp.OCSPResponseBuilder().add_response(
        certificate(),
        certificate(),
        hashes.SHA256(),
        ocsp.OCSPCertStatus.GOOD,
        at,
        until,
        None,
        None,
    )
    signed = built.responder_id(ocsp.OCSPResponderEncoding.HASH, certificate()).sign(
        KEY, hashes.SHA256()
    )
    return signed.tbs_response_bytes


def now_status() -> bytes:
    """ResponseData whose producedAt is `NOW`: the builder of `cryptography` takes the clock's."""
    octets = bytearray(status(NOW, NOW + timedelta(days=1)))
    body = der.only(bytes(octets)).children()
    responder = body.take().raw
    body.take(der.GENERALIZED_TIME)
    rest = body.take().raw
    return der.sequence(responder, der.generalized_time(NOW), rest)


CHECKPOINT = Checkpoint(first=1, hashes=("00",), published_at="x").to_be_signed
FORMS = {
    "certificate": certificate().tbs_certificate_bytes,
    "revocation list": revocation_list(),
    "status": now_status(),
    "checkpoint": CHECKPOINT,
    "attributes": cms.signed_attributes(DIGEST, certificate().public_bytes(Encoding.DER)),
    "TSTInfo": tsp.tst_info(tsp.TokenContent("1.2.3", DIGEST, 5, NOW, 1000)),
    "nothing": b"",
    "text": b"pay 1,000,000 to the bearer",
}
TAKEN = {
    Purpose.CA: {"certificate", "revocation list"},
    Purpose.OCSP: {"status"},
    Purpose.AUDIT: {"checkpoint"},
    Purpose.TSU: set(),
    Purpose.SEAL: set(),
    Purpose.RAW: set(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("purpose", Purpose)
def test_no_form_is_signed_by_two_purposes(purpose: Purpose, form: str) -> None:
    if form in TAKEN[purpose]:
        require_structure(purpose, FORMS[form], ECDSA, NOW)
    else:
        with pytest.raises(KeystoreRefused):
            require_structure(purpose, FORMS[form], ECDSA, NOW)


def test_only_a_tstinfo_is_a_timestamp() -> None:
    require_timestamp(FORMS["TSTInfo"], NOW)
    for form, octets in FORMS.items():
        if form != "TSTInfo":
            with pytest.raises(KeystoreRefused):
                require_timestamp(octets, NOW)


@pytest.mark.parametrize("form", ["certificate", "revocation list", "status"])
def test_a_form_is_taken_whole_and_with_its_own_algorithm(form: str) -> None:
    purpose = Purpose.OCSP if form == "status" else Purpose.CA
    octets = FORMS[form]
    for other in (octets + b"\x00", octets[:-1], b"\x31" + octets[1:], octets + octets):
        with pytest.raises(KeystoreRefused):
            require_structure(purpose, other, ECDSA, NOW)
    if form != "status":  # ResponseData names none
        with pytest.raises(KeystoreRefused):
            require_structure(purpose, octets, RSA, NOW)


def test_certificates_have_extensions_and_lists_an_end() -> None:
    bare = certificate(extended=False).tbs_certificate_bytes
    with pytest.raises(KeystoreRefused):
        require_structure(Purpose.CA, bare, ECDSA, NOW)


def test_a_status_is_of_now_and_ends() -> None:
    require_structure(Purpose.OCSP, FORMS["status"], ECDSA, NOW + timedelta(minutes=10))
    for away in (timedelta(minutes=16), timedelta(minutes=-16), timedelta(days=300)):
        with pytest.raises(KeystoreRefused):
            require_structure(Purpose.OCSP, FORMS["status"], ECDSA, NOW + away)
    endless = status(NOW, None)
    with pytest.raises(KeystoreRefused):
        require_structure(Purpose.OCSP, endless, ECDSA, datetime.now(UTC))


@given(st.sampled_from(["certificate", "revocation list", "status"]), st.data())
def test_damaged_forms_are_refused_or_whole(form: str, data: st.DataObject) -> None:
    """A changed octet gives another certificate at most, never an exception of another kind."""
    octets = bytearray(FORMS[form])
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    purpose = Purpose.OCSP if form == "status" else Purpose.CA
    try:
        require_structure(purpose, bytes(octets), ECDSA, NOW)
    except KeystoreRefused:
        return
    assert bytes(octets)[:1] == b"\x30"


@pytest.mark.parametrize("serial", [0, -1])
def test_a_serial_number_that_is_not_positive(serial: int) -> None:
    version, number, *rest = der.elements(der.only(FORMS["certificate"]).content)
    changed = der.sequence(version.raw, der.integer(serial), *(one.raw for one in rest))
    assert number.tag == der.INTEGER
    with pytest.raises(KeystoreRefused):
        require_structure(Purpose.CA, changed, ECDSA, NOW)
