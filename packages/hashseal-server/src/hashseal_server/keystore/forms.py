"""The outer form of what a key signs: each purpose has its own, and no bytes have two of them."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509 import ocsp

from hashseal_core import der, tsp
from hashseal_core.algorithms import SignatureAlgorithm
from hashseal_core.certificates import UNREADABLE
from hashseal_core.cms import signature_identifier
from hashseal_core.errors import HashsealError, KeystoreRefused
from hashseal_server.keystore.purpose import Purpose

AUDIT_CONTEXT = b"hashseal audit checkpoint 1\n"
"""How the to-be-signed bytes of a checkpoint begin."""
TIMESTAMP_TOLERANCE = timedelta(seconds=10)
STATUS_TOLERANCE = timedelta(minutes=15)
_BASIC_RESPONSE = "1.3.6.1.5.5.7.48.1.1"
_NO_SIGNATURE = der.encode(der.BIT_STRING, b"\x00")
_VERSION = 0xA0


def require_timestamp(tst_info: bytes, now: datetime) -> None:
    """A TSTInfo whose time is that of the signer's own clock.

    Raises:
        KeystoreRefused: anything else.
    """
    try:
        stated = tsp.parse_tst_info(tst_info).generated_at
    except HashsealError as error:
        raise KeystoreRefused("this is not a TSTInfo") from error
    if abs(stated - now) > TIMESTAMP_TOLERANCE:
        raise KeystoreRefused("the timestamp's time is not that of the signer's clock")


def require_signing_time(stated: datetime, now: datetime) -> None:
    """The time for signed attributes (CAdES) is that of the signer's own clock.

    Raises:
        KeystoreRefused: it is not.
    """
    if abs(stated - now) > TIMESTAMP_TOLERANCE:
        raise KeystoreRefused("the signing time is not that of the signer's clock")


def require_structure(
    purpose: Purpose, to_be_signed: bytes, algorithm: SignatureAlgorithm, now: datetime
) -> None:
    """Bytes of the form that keys of this purpose sign.

    Raises:
        KeystoreRefused: anything else; keys for documents and timestamps sign no given bytes.
    """
    if purpose is Purpose.AUDIT and to_be_signed.startswith(AUDIT_CONTEXT):
        return
    try:
        if purpose is Purpose.CA and (
            _is_certificate(to_be_signed, algorithm) or _is_list(to_be_signed, algorithm)
        ):
            return
        if purpose is Purpose.OCSP and _is_status(to_be_signed, algorithm, now):
            return
    except (*UNREADABLE, HashsealError) as error:
        raise KeystoreRefused("these bytes cannot be read as what the key signs") from error
    raise KeystoreRefused("the key does not sign bytes of this form")


def require_name(subject: bytes) -> None:
    """A distinguished name, DER.

    Raises:
        KeystoreRefused: anything else.
    """
    try:
        relative = [one.tag for one in der.elements(der.only(subject).content)]
        attributes = [
            attribute.tag
            for one in der.elements(der.only(subject).content)
            for attribute in der.elements(one.content)
        ]
    except HashsealError as error:
        raise KeystoreRefused("this is not a name") from error
    if not relative or set(relative) != {der.SET} or set(attributes) != {der.SEQUENCE}:
        raise KeystoreRefused("this is not a name")


def _signed(to_be_signed: bytes, algorithm: SignatureAlgorithm, *more: bytes) -> bytes:
    return der.sequence(to_be_signed, signature_identifier(algorithm), _NO_SIGNATURE, *more)


def _is_certificate(to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bool:
    """A TBSCertificate, version 3, that names this algorithm (RFC 5280, 4.1).

    A serial number that is not positive, which libraries still read, is refused (4.1.2.2).
    """
    body = der.only(to_be_signed).children()
    if body.optional(_VERSION) is None or body.integer() <= 0:
        return False
    if body.take(der.SEQUENCE).raw != signature_identifier(algorithm):
        return False
    found = x509.load_der_x509_certificate(_signed(to_be_signed, algorithm))
    return found.version is x509.Version.v3 and len(found.extensions) > 0


def _is_list(to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bool:
    """A TBSCertList, version 2, that names this algorithm (RFC 5280, 5.1)."""
    body = der.only(to_be_signed).children()
    if body.peek() != der.INTEGER or body.integer() != 1:
        return False
    if body.take(der.SEQUENCE).raw != signature_identifier(algorithm):
        return False
    found = x509.load_der_x509_crl(_signed(to_be_signed, algorithm))
    return found.next_update_utc is not None and len(found.extensions) > 0


def _is_status(to_be_signed: bytes, algorithm: SignatureAlgorithm, now: datetime) -> bool:
    """A ResponseData with statuses that end, produced now (RFC 6960, 4.2.1)."""
    octets = der.octet_string(_signed(to_be_signed, algorithm))
    body = der.sequence(der.oid(_BASIC_RESPONSE), octets)
    found = ocsp.load_der_ocsp_response(
        der.sequence(der.encode(der.ENUMERATED, b"\x00"), der.encode(0xA0, body))
    )
    ends = [single.next_update_utc for single in found.responses]
    return abs(found.produced_at_utc - now) <= STATUS_TOLERANCE and bool(ends) and None not in ends
