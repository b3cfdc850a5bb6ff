"""Status data of other authorities: what to ask, and whether an answer may be used. Pure.

An OCSP response counts if it is about this certificate of this issuer, is signed by the issuer or
by a responder that it delegated, and is fresh (RFC 6960, 3.2). A list counts if it is the issuer's
own, whole, about certificates of this kind, fresh, and not older than the last one
(RFC 5280, 6.3.3). Requests have no nonce: what is kept for hours must not depend on one, and public
responders answer from what they made before (RFC 5019). What is fresh may begin a moment from now:
whoever uses it waits for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtensionOID

from hashseal_core.certificates import UNREADABLE, issued_by, key_is_sound
from hashseal_core.errors import EvidenceInvalid
from hashseal_core.evidence import has_nocheck, is_about, may_sign_ocsp, signed_by

LARGEST_RESPONSE = 64 * 1024
LARGEST_LIST = 4 * 1024 * 1024
AHEAD = timedelta(seconds=2)
"""So far an authority's clock may be ahead of ours: its responses are often a moment old."""
_MOST_RESPONDERS = 8
_DIGESTS = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_NUMBER_BITS = 159
_READABLE = (ExtensionOID.ISSUING_DISTRIBUTION_POINT,)
"""Critical extensions of lists that are understood."""
Verdict = Literal["good", "revoked", "unknown"]
Source = Literal["ocsp", "crl"]


@dataclass(frozen=True, slots=True)
class StatusData:
    """One response or list that may be used for one certificate, and what it says of it.

    Attributes:
        der: the OCSPResponse or CertificateList.
        number: of the list.
        revoked_at: when, if it is.
        reason: why, by its name in RFC 5280, 5.3.1.
        responder: a delegated responder whose own status must be known, too (DER).
    """

    source: Source
    der: bytes
    verdict: Verdict
    this_update: datetime
    next_update: datetime
    number: int | None = None
    revoked_at: datetime | None = None
    reason: str | None = None
    responder: bytes | None = None


def ocsp_request(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """An OCSPRequest (DER) with the CertID that every responder knows: SHA-1 (RFC 5019, 2.1.1)."""
    built = ocsp.OCSPRequestBuilder().add_certificate(
        certificate,
        issuer,
        hashes.SHA1(),  # noqa: S303 - an identifier
    )
    return built.build().public_bytes(Encoding.DER)


def read_response(
    response_der: bytes, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
) -> StatusData:
    """What an OCSPResponse says of a certificate.

    Raises:
        EvidenceInvalid: it may not be used; the detail says why.
    """
    try:
        response = ocsp.load_der_ocsp_response(response_der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            refusal = response.response_status.name.lower()
            raise EvidenceInvalid(f"the responder refuses to answer: {refusal}")
        if not isinstance(response.signature_hash_algorithm, _DIGESTS):
            raise EvidenceInvalid("the response is signed with an algorithm that is not allowed")
        single = next((s for s in response.responses if is_about(s, certificate, issuer)), None)
        if single is None:
            raise EvidenceInvalid("the response is about another certificate")
        responder = _responder(response, issuer, at)
        if any(extension.critical for extension in response.extensions):
            raise EvidenceInvalid("the response has critical extensions that are not known")
        end = single.next_update_utc
        if end is None:
            raise EvidenceInvalid("the response does not say until when it is good (nextUpdate)")
        _require_fresh(single.this_update_utc, end, at)
        verdict: Verdict = "unknown"
        if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
            verdict = "good"
        elif single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
            verdict = "revoked"
        asks_more = responder != issuer and not has_nocheck(responder)
        return StatusData(
            source="ocsp",
            der=response_der,
            verdict=verdict,
            this_update=single.this_update_utc,
            next_update=end,
            revoked_at=single.revocation_time_utc,
            reason=single.revocation_reason.value if single.revocation_reason else None,
            responder=responder.public_bytes(Encoding.DER) if asks_more else None,
        )
    except UNREADABLE as error:
        raise EvidenceInvalid("this is no OCSP response that can be read") from error


def _responder(
    response: ocsp.OCSPResponse, issuer: x509.Certificate, at: datetime
) -> x509.Certificate:
    """The issuer, or the responder that it delegated (RFC 6960, 4.2.2.2), whose key signed."""
    if signed_by(response, issuer.public_key()):
        return issuer
    for candidate in response.certificates[:_MOST_RESPONDERS]:
        if (
            may_sign_ocsp(candidate)
            and key_is_sound(candidate.public_key())
            and candidate.not_valid_before_utc <= at <= candidate.not_valid_after_utc
            and issued_by(candidate, issuer)
            and signed_by(response, candidate.public_key())
        ):
            return candidate
    raise EvidenceInvalid("the response is signed by nobody who may speak for the issuer")


def read_list(
    list_der: bytes,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    at: datetime,
    *,
    at_least: int = 0,
) -> StatusData:
    """What a CertificateList says of a certificate; `at_least` is the number of the last one.

    Raises:
        EvidenceInvalid: it may not be used; the detail says why.
    """
    try:
        read = x509.load_der_x509_crl(list_der)
        number = _require_scope(read, certificate)
        if read.issuer != issuer.subject:
            raise EvidenceInvalid("the list is another authority's")
        if not isinstance(read.signature_hash_algorithm, _DIGESTS):
            raise EvidenceInvalid("the list is signed with an algorithm that is not allowed")
        key = issuer.public_key()
        sound = isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        if not sound or not read.is_signature_valid(key):  # type: ignore[arg-type]
            raise EvidenceInvalid("the list is not signed by the issuer")
        if not _may_sign_lists(issuer):
            raise EvidenceInvalid("the issuer may not sign lists (keyUsage)")
        if number < at_least:
            raise EvidenceInvalid("the list is older than one that was there before")
        if read.next_update_utc is None:
            raise EvidenceInvalid("the list does not say until when it is good (nextUpdate)")
        _require_fresh(read.last_update_utc, read.next_update_utc, at)
        entry = read.get_revoked_certificate_by_serial_number(certificate.serial_number)
        return StatusData(
            source="crl",
            der=list_der,
            verdict="good" if entry is None else "revoked",
            this_update=read.last_update_utc,
            next_update=read.next_update_utc,
            number=number,
            revoked_at=entry.revocation_date_utc if entry else None,
            reason=_reason(entry) if entry else None,
        )
    except UNREADABLE as error:
        raise EvidenceInvalid("this is no revocation list that can be read") from error


def _require_scope(read: x509.CertificateRevocationList, certificate: x509.Certificate) -> int:
    """The number of a whole list about certificates of this kind.

    Raises:
        EvidenceInvalid: a delta, an indirect one, one for some reasons or for other certificates.
    """
    number = None
    for extension in read.extensions:
        value = extension.value
        if isinstance(value, x509.CRLNumber):
            number = value.crl_number
        elif isinstance(value, x509.DeltaCRLIndicator):
            raise EvidenceInvalid("the list has changes only (delta)")
        elif isinstance(value, x509.IssuingDistributionPoint):
            _require_point(value, certificate)
        elif extension.critical and extension.oid not in _READABLE:
            raise EvidenceInvalid("the list has critical extensions that are not known")
    if number is None:
        raise EvidenceInvalid("the list has no number")
    if not 0 <= number < 1 << _NUMBER_BITS:
        raise EvidenceInvalid("the list's number has more than 20 octets (RFC 5280, 5.2.3)")
    return number


def _require_point(point: x509.IssuingDistributionPoint, certificate: x509.Certificate) -> None:
    if point.indirect_crl or point.only_some_reasons or point.only_contains_attribute_certs:
        raise EvidenceInvalid("the list is indirect, or for some reasons or attributes only")
    of_authority = _is_authority(certificate)
    if (point.only_contains_user_certs and of_authority) or (
        point.only_contains_ca_certs and not of_authority
    ):
        raise EvidenceInvalid("the list is about certificates of another kind")
    if point.full_name is None:
        return
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return
    named = {name for one in points for name in one.full_name or ()}
    if named.isdisjoint(point.full_name):
        raise EvidenceInvalid("the list is about certificates of another distribution point")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return found.value.ca


def _may_sign_lists(issuer: x509.Certificate) -> bool:
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        return True
    return usage.value.crl_sign


def _reason(entry: x509.RevokedCertificate) -> str | None:
    try:
        found = entry.extensions.get_extension_for_class(x509.CRLReason)
    except x509.ExtensionNotFound:
        return None
    return found.value.reason.value


def _require_fresh(begin: datetime, end: datetime, at: datetime) -> None:
    if at < begin - AHEAD:
        raise EvidenceInvalid("it is from the future; compare the clocks")
    if at >= end:
        raise EvidenceInvalid(f"it was good until {end:%Y-%m-%d %H:%M} UTC only")
