"""CRLs and OCSP responses of the built-in authority (RFC 5280 §5, RFC 6960)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from hashseal_core import der
from hashseal_core.cms import verify_signature_value
from hashseal_core.errors import FaultySignature, InvalidValue, MalformedRequest
from hashseal_server.keystore.port import KeyStore
from hashseal_server.pki.issuance import (
    AUTHORITY_ALGORITHM,
    SHAPING_HASH,
    Linter,
    shaping_key,
    sign_and_wrap,
)

_NONCE = "1.3.6.1.5.5.7.48.1.2"
_HASH_OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - what RFC 5019 wants in a CertID
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
USUAL = _HASHES["sha1"]
"""The hash algorithm of a CertID that nearly everybody uses (RFC 5019, 2.1.1)."""
_REASON_CODES = {
    x509.ReasonFlags.key_compromise: 1,
    x509.ReasonFlags.ca_compromise: 2,
    x509.ReasonFlags.affiliation_changed: 3,
    x509.ReasonFlags.superseded: 4,
    x509.ReasonFlags.cessation_of_operation: 5,
    x509.ReasonFlags.privilege_withdrawn: 9,
    x509.ReasonFlags.aa_compromise: 10,
}
_BASIC_RESPONSE = "1.3.6.1.5.5.7.48.1.1"
REASONS = {
    reason.value: reason
    for reason in x509.ReasonFlags
    if reason
    not in {
        x509.ReasonFlags.unspecified,
        x509.ReasonFlags.certificate_hold,
        x509.ReasonFlags.remove_from_crl,
    }
}


@dataclass(frozen=True, slots=True)
class Revoked:
    """One revoked certificate; `reason` is a name of RFC 5280, 5.3.1, as in `REASONS`."""

    serial: int
    revoked_at: datetime
    reason: str


def require_reason(reason: str) -> x509.ReasonFlags:
    """The reason of this name.

    Raises:
        InvalidValue: no such reason; suspension is not offered.
    """
    if reason not in REASONS:
        raise InvalidValue(f"reason must be one of {', '.join(sorted(REASONS))}", field="reason")
    return REASONS[reason]


def crl_content(
    issuer: x509.Certificate,
    revoked: Sequence[Revoked],
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
    linter: Linter,
) -> bytes:
    """A TBSCertList that the linter has passed, DER; `sign_and_wrap` makes the CRL of it.

    Raises:
        LintFailed: it must not be signed.
    """
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    built = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    for entry in revoked:
        built = built.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(entry.serial)
            .revocation_date(entry.revoked_at)
            .add_extension(x509.CRLReason(require_reason(entry.reason)), critical=False)
            .build()
        )
    shaped = built.sign(shaping_key(), SHAPING_HASH)
    linter.crl(shaped.public_bytes(Encoding.DER))
    return shaped.tbs_certlist_bytes


@dataclass(frozen=True, slots=True)
class Responder:
    """A delegated OCSP responder: its certificate, its key, the authority it speaks for."""

    certificate: x509.Certificate
    key: str
    issuer: x509.Certificate


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a serial number: `issued` False makes the answer `unknown`."""

    issued: bool
    revoked: Revoked | None = None


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """The parts of an OCSPRequest that matter; hashes are those of the CertID."""

    serial: int
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    hash_algorithm: hashes.HashAlgorithm
    nonce: bytes | None


def parse_request(request_der: bytes) -> StatusRequest:
    """Read an OCSPRequest with one CertID.

    Raises:
        MalformedRequest: anything else.
    """
    try:
        request = ocsp.load_der_ocsp_request(request_der)
        algorithm = request.hash_algorithm
        extensions = request.extensions
    except (ValueError, NotImplementedError, UnsupportedAlgorithm) as error:
        raise MalformedRequest("not an OCSP request with one CertID") from error
    if algorithm.name not in _HASH_OIDS:
        raise MalformedRequest("the CertID's hash algorithm is not supported")
    nonces = [e.value.nonce for e in extensions if isinstance(e.value, x509.OCSPNonce)]
    return StatusRequest(
        request.serial_number,
        request.issuer_name_hash,
        request.issuer_key_hash,
        algorithm,
        nonces[0] if nonces else None,
    )


def request_for(
    serial: int, issuer: x509.Certificate, algorithm: hashes.HashAlgorithm
) -> StatusRequest:
    """The CertID of a certificate that `issuer` issued, as a client would ask for it."""
    name_hash, key_hash = _issuer_hashes(issuer, algorithm.name)
    return StatusRequest(serial, name_hash, key_hash, algorithm, None)


def is_about(request: StatusRequest, issuer: x509.Certificate) -> bool:
    """The CertID names this issuer."""
    asked = (request.issuer_name_hash, request.issuer_key_hash)
    return asked == _issuer_hashes(issuer, request.hash_algorithm.name)


@lru_cache(maxsize=64)
def _issuer_hashes(issuer: x509.Certificate, algorithm: str) -> tuple[bytes, bytes]:
    """Hashes of the issuer's name and of its key (RFC 6960, 4.1.1)."""
    built = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, _HASHES[algorithm]).build()
    name = hashes.Hash(_HASHES[algorithm])
    name.update(issuer.subject.public_bytes())
    return name.finalize(), built.issuer_key_hash


def ocsp_response(
    request: StatusRequest,
    status: Status,
    responder: Responder,
    *,
    this_update: datetime,
    next_update: datetime,
    keystore: KeyStore,
) -> bytes:
    """A complete successful OCSPResponse, DER, with the responder's certificate inside.

    Not linted each time: its shape has no free part, and responses are made for whoever asks.

    Raises:
        FaultySignature, KeystoreUnavailable: nothing left.
    """
    to_be_signed = _response_data(request, status, responder, this_update, next_update)
    signed = sign_and_wrap(keystore, responder.key, to_be_signed)
    certificates = der.encode(0xA0, der.sequence(responder.certificate.public_bytes(Encoding.DER)))
    basic = der.sequence(der.only(signed).content + certificates)
    body = der.sequence(der.oid(_BASIC_RESPONSE), der.octet_string(basic))
    return der.sequence(der.encode(der.ENUMERATED, b"\x00"), der.encode(0xA0, body))


def _response_data(
    request: StatusRequest,
    status: Status,
    responder: Responder,
    this_update: datetime,
    next_update: datetime,
) -> bytes:
    """ResponseData with one SingleResponse (RFC 6960, 4.2.1), named by the responder's key."""
    null = der.encode(der.NULL, b"")
    certificate_id = der.sequence(
        der.sequence(der.oid(_HASH_OIDS[request.hash_algorithm.name]), null),
        der.octet_string(request.issuer_name_hash),
        der.octet_string(request.issuer_key_hash),
        der.integer(request.serial),
    )
    verdict = der.encode(0x82, b"")
    if status.revoked is not None:
        reason = _REASON_CODES[require_reason(status.revoked.reason)]
        code = der.encode(0xA0, der.encode(der.ENUMERATED, bytes((reason,))))
        verdict = der.encode(
            0xA1, der.generalized_time(status.revoked.revoked_at.replace(microsecond=0)) + code
        )
    elif status.issued:
        verdict = der.encode(0x80, b"")
    single = der.sequence(
        certificate_id,
        verdict,
        der.generalized_time(this_update),
        der.encode(0xA0, der.generalized_time(next_update)),
    )
    extensions = b""
    if request.nonce is not None:
        nonce = der.sequence(der.oid(_NONCE), der.octet_string(der.octet_string(request.nonce)))
        extensions = der.encode(0xA1, der.sequence(nonce))
    _, key_hash = _issuer_hashes(responder.certificate, "sha1")  # RFC 6960, 4.2.1
    return der.sequence(
        der.encode(0xA2, der.octet_string(key_hash)),
        der.generalized_time(this_update),
        der.sequence(single),
        extensions,
    )


def require_genuine(
    response_der: bytes,
    request: StatusRequest,
    status: Status,
    responder: Responder,
    *,
    at: datetime,
) -> None:
    """Verify a response that was made before: signature, CertID, verdict, time.

    Raises:
        FaultySignature: it is not what this responder would answer to this request now.
    """
    wanted = ocsp.OCSPCertStatus.UNKNOWN
    if status.issued:
        wanted = ocsp.OCSPCertStatus.REVOKED if status.revoked else ocsp.OCSPCertStatus.GOOD
    try:
        read = ocsp.load_der_ocsp_response(response_der)
        answers = (
            read.serial_number == request.serial
            and read.hash_algorithm.name == request.hash_algorithm.name
            and read.issuer_name_hash == request.issuer_name_hash
            and read.issuer_key_hash == request.issuer_key_hash
            and read.certificate_status is wanted
            and read.certificates == [responder.certificate]
            and read.next_update_utc is not None
            and read.this_update_utc <= at < read.next_update_utc
        )
        signature, signed = read.signature, read.tbs_response_bytes
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FaultySignature("what was kept is not an OCSP response") from error
    if not answers:
        raise FaultySignature("the response that was kept answers something else")
    key = responder.certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    verify_signature_value(key, AUTHORITY_ALGORITHM, signed, signature)


def ocsp_refusal(status: ocsp.OCSPResponseStatus) -> bytes:
    """An OCSPResponse that says why there is none, DER."""
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
