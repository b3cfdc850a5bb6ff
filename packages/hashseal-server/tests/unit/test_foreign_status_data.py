"""Which OCSP responses and lists of other authorities count, one deviation at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from hashseal_core.errors import EvidenceInvalid
from hashseal_server.pki.foreign import ocsp_request, read_list, read_response

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
POINT = x509.UniformResourceIdentifier("http://crl.example.com/1.crl")
OTHER_POINT = x509.UniformResourceIdentifier("http://crl.example.com/2.crl")
Key = ec.EllipticCurvePrivateKey


def key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def make(name: str, own: Key, issuer: str, signer: Key, *extensions: Any, days: int = 100):
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 200 * DAY)
        .not_valid_after(NOW + days * DAY)
        .public_key(own.public_key())
    )
    for extension in extensions:
        built = built.add_extension(extension, critical=False)
    return built.sign(signer, hashes.SHA256())


CA = x509.BasicConstraints(ca=True, path_length=None)
OCSP = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
ISSUER_KEY, LEAF_KEY, RESPONDER_KEY, STRANGER = key(), key(), key(), key()
ISSUER = make("Issuer", ISSUER_KEY, "Issuer", ISSUER_KEY, CA)
POINTS = x509.CRLDistributionPoints([x509.DistributionPoint([POINT], None, None, None)])
LEAF = make("Leaf", LEAF_KEY, "Issuer", ISSUER_KEY, POINTS)
SUB = make("Sub", LEAF_KEY, "Issuer", ISSUER_KEY, CA)
NOCHECK = make("Responder", RESPONDER_KEY, "Issuer", ISSUER_KEY, OCSP, x509.OCSPNoCheck())


def response(
    *,
    about: x509.Certificate = LEAF,
    issuer: x509.Certificate = ISSUER,
    by: Key = RESPONDER_KEY,
    named: x509.Certificate = NOCHECK,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    begin: datetime = NOW - DAY,
    end: datetime | None = NOW + DAY,
    reason: x509.ReasonFlags | None = None,
) -> bytes:
    revoked = NOW - 2 * DAY if status is ocsp.OCSPCertStatus.REVOKED else None
    built = ocsp.OCSPResponseBuilder().add_response(
        about, issuer, hashes.SHA1(), status, begin, end, revoked, reason
    )
    built = built.responder_id(ocsp.OCSPResponderEncoding.HASH, named).certificates([named])
    return built.sign(by, hashes.SHA256()).public_bytes(Encoding.DER)


def crl(
    *extensions: tuple[x509.ExtensionType, bool],
    name: str = "Issuer",
    by: Key = ISSUER_KEY,
    number: int | None = 7,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    revoked: x509.Certificate | None = None,
) -> bytes:
    built = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .last_update(begin)
        .next_update(end)
    )
    if number is not None:
        built = built.add_extension(x509.CRLNumber(number), critical=False)
    for extension, critical in extensions:
        built = built.add_extension(extension, critical=critical)
    if revoked is not None:
        entry = x509.RevokedCertificateBuilder().serial_number(revoked.serial_number)
        entry = entry.revocation_date(NOW - 2 * DAY)
        reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
        built = built.add_revoked_certificate(entry.add_extension(reason, critical=False).build())
    return built.sign(by, hashes.SHA256()).public_bytes(Encoding.DER)


def point(**given: Any) -> tuple[x509.IssuingDistributionPoint, bool]:
    parts: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**parts, **given}), True


def test_a_request_names_the_certificate_and_has_no_nonce() -> None:
    read = ocsp.load_der_ocsp_request(ocsp_request(LEAF, ISSUER))
    assert read.serial_number == LEAF.serial_number
    assert isinstance(read.hash_algorithm, hashes.SHA1)
    assert len(read.extensions) == 0


def test_good_and_revoked_and_unknown() -> None:
    good = read_response(response(), LEAF, ISSUER, NOW)
    assert (good.verdict, good.next_update, good.responder) == ("good", NOW + DAY, None)
    said = response(status=ocsp.OCSPCertStatus.REVOKED, reason=x509.ReasonFlags.certificate_hold)
    revoked = read_response(said, LEAF, ISSUER, NOW)
    assert (revoked.verdict, revoked.revoked_at) == ("revoked", NOW - 2 * DAY)
    assert revoked.reason == "certificateHold"
    unknown = read_response(response(status=ocsp.OCSPCertStatus.UNKNOWN), LEAF, ISSUER, NOW)
    assert unknown.verdict == "unknown"
    by_issuer = read_response(response(by=ISSUER_KEY, named=ISSUER), LEAF, ISSUER, NOW)
    assert (by_issuer.verdict, by_issuer.responder) == ("good", None)
    plain = make("Plain", RESPONDER_KEY, "Issuer", ISSUER_KEY, OCSP)
    asks_more = read_response(response(named=plain), LEAF, ISSUER, NOW)
    assert asks_more.responder == plain.public_bytes(Encoding.DER)


IMPOSTOR_CA = make("Issuer", STRANGER, "Issuer", STRANGER, CA)
REFUSED_RESPONSES = {
    "junk": (lambda: b"junk", "no OCSP response"),
    "try later": (
        lambda: ocsp.OCSPResponseBuilder.build_unsuccessful(
            ocsp.OCSPResponseStatus.TRY_LATER
        ).public_bytes(Encoding.DER),
        "try_later",
    ),
    "about another": (lambda: response(about=SUB), "about another certificate"),
    "another issuer of that name": (
        lambda: response(issuer=IMPOSTOR_CA),
        "about another certificate",
    ),
    "a stranger of that name": (
        lambda: response(by=STRANGER, named=make("Issuer", STRANGER, "Issuer", STRANGER, OCSP, CA)),
        "nobody who may speak",
    ),
    "without the purpose": (
        lambda: response(named=make("R", RESPONDER_KEY, "Issuer", ISSUER_KEY)),
        "nobody who may speak",
    ),
    "delegated by another": (
        lambda: response(named=make("R", RESPONDER_KEY, "Issuer", STRANGER, OCSP)),
        "nobody who may speak",
    ),
    "responder expired": (
        lambda: response(named=make("R", RESPONDER_KEY, "Issuer", ISSUER_KEY, OCSP, days=-1)),
        "nobody who may speak",
    ),
    "the certificate for itself": (
        lambda: response(by=LEAF_KEY, named=LEAF),
        "nobody who may speak",
    ),
    "stale": (lambda: response(begin=NOW - 3 * DAY, end=NOW - DAY), "good until"),
    "of tomorrow": (lambda: response(begin=NOW + DAY, end=NOW + 2 * DAY), "from the future"),
    "of soon": (lambda: response(begin=NOW + 3 * SECOND, end=NOW + DAY), "from the future"),
    "without end": (lambda: response(end=None), "nextUpdate"),
}


@pytest.mark.parametrize("name", REFUSED_RESPONSES)
def test_responses_that_do_not_count(name: str) -> None:
    made, words = REFUSED_RESPONSES[name]
    with pytest.raises(EvidenceInvalid, match=words):
        read_response(made(), LEAF, ISSUER, NOW)


def test_lists() -> None:
    found = read_list(crl(), LEAF, ISSUER, NOW)
    assert (found.verdict, found.number, found.next_update) == ("good", 7, NOW + DAY)
    assert read_list(crl(point(full_name=[POINT])), LEAF, ISSUER, NOW).verdict == "good"
    assert read_list(crl(point(only_contains_user_certs=True)), LEAF, ISSUER, NOW).number == 7
    assert read_list(crl(point(only_contains_ca_certs=True)), SUB, ISSUER, NOW).number == 7
    revoked = read_list(crl(revoked=LEAF), LEAF, ISSUER, NOW)
    assert (revoked.verdict, revoked.reason) == ("revoked", "keyCompromise")


REFUSED_LISTS = {
    "junk": (lambda: b"junk", LEAF, "no revocation list"),
    "no number": (lambda: crl(number=None), LEAF, "no number"),
    "older": (lambda: crl(number=6), LEAF, "older than"),
    "another name": (lambda: crl(name="Other"), LEAF, "another authority's"),
    "another key": (lambda: crl(by=STRANGER), LEAF, "not signed by the issuer"),
    "stale": (lambda: crl(begin=NOW - 3 * DAY, end=NOW - DAY), LEAF, "good until"),
    "of tomorrow": (lambda: crl(begin=NOW + DAY, end=NOW + 2 * DAY), LEAF, "from the future"),
    "of soon": (lambda: crl(begin=NOW + 3 * SECOND, end=NOW + DAY), LEAF, "from the future"),
    "delta": (lambda: crl((x509.DeltaCRLIndicator(3), True)), LEAF, "changes only"),
    "indirect": (lambda: crl(point(indirect_crl=True)), LEAF, "indirect"),
    "some reasons": (
        lambda: crl(point(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))),
        LEAF,
        "reasons",
    ),
    "authorities": (lambda: crl(point(only_contains_ca_certs=True)), LEAF, "another kind"),
    "users": (lambda: crl(point(only_contains_user_certs=True)), SUB, "another kind"),
    "another point": (lambda: crl(point(full_name=[OTHER_POINT])), LEAF, "distribution point"),
    "critical": (
        lambda: crl((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True)),
        LEAF,
        "critical extensions",
    ),
}


@pytest.mark.parametrize("name", REFUSED_LISTS)
def test_lists_that_do_not_count(name: str) -> None:
    made, about, words = REFUSED_LISTS[name]
    with pytest.raises(EvidenceInvalid, match=words):
        read_list(made(), about, ISSUER, NOW, at_least=7)


def test_an_issuer_that_may_not_sign_lists() -> None:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    names += ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    usage = x509.KeyUsage(**{name: name == "key_cert_sign" for name in names})
    issuer = make("Issuer", ISSUER_KEY, "Issuer", ISSUER_KEY, CA, usage)
    with pytest.raises(EvidenceInvalid, match="may not sign lists"):
        read_list(crl(), LEAF, issuer, NOW)


GOOD_RESPONSE, GOOD_LIST = response(), crl()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=5))
def test_damaged_answers_raise_nothing_else(at: int, octets: bytes) -> None:
    for good, read in ((GOOD_RESPONSE, read_response), (GOOD_LIST, read_list)):
        place = at % len(good)
        damaged = good[:place] + octets + good[place + len(octets) :]
        try:
            found = read(damaged, LEAF, ISSUER, NOW)
        except EvidenceInvalid:
            continue
        assert found.verdict == "good"
