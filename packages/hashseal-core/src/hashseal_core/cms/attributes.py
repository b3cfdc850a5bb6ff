"""Signed attributes: the exact bytes that a signing key signs (RFC 5652 §5.4, EN 319 142-1)."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import lru_cache

from hashseal_core import der
from hashseal_core.algorithms import Digest, DigestAlgorithm

CONTENT_DATA = "1.2.840.113549.1.7.1"
CONTENT_TST_INFO = "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_TIME = "1.2.840.113549.1.9.5"
SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12"
SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
SIGNATURE_TIMESTAMP = "1.2.840.113549.1.9.16.2.14"
_GENERALIZED_FROM = 2050


def attribute(kind: str, value: bytes) -> bytes:
    """An Attribute with one value."""
    return der.sequence(der.oid(kind), der.encode(der.SET, value))


@lru_cache(maxsize=256)
def issuer_and_serial(certificate_der: bytes) -> tuple[bytes, bytes]:
    """DER of issuer name and serial number of a certificate, as they stand in it.

    Raises:
        DerInvalid: not a certificate.
    """
    body = der.Reader(certificate_der).sequence().sequence()
    body.optional(0xA0)
    serial = body.take(der.INTEGER).raw
    body.take(der.SEQUENCE)
    return body.take(der.SEQUENCE).raw, serial


@lru_cache(maxsize=256)
def signing_certificate_v2(certificate_der: bytes) -> bytes:
    """The attribute with one ESSCertIDv2 over SHA-256, issuerSerial included (RFC 5035)."""
    issuer, serial = issuer_and_serial(certificate_der)
    names = der.sequence(der.encode(0xA4, issuer))
    ess = der.sequence(
        der.octet_string(hashlib.sha256(certificate_der).digest()), der.sequence(names, serial)
    )
    return attribute(SIGNING_CERTIFICATE_V2, der.sequence(der.sequence(ess)))


@lru_cache(maxsize=512)
def attributes_around(
    algorithm: DigestAlgorithm, certificate_der: bytes, content_type: str
) -> tuple[bytes, bytes]:
    """What stands before and behind the digest: the same for every signature of a certificate."""
    mark = b"\x01" * algorithm.size
    whole = der.set_of(
        [
            attribute(CONTENT_TYPE, der.oid(content_type)),
            attribute(MESSAGE_DIGEST, der.octet_string(mark)),
            signing_certificate_v2(certificate_der),
        ]
    )
    front, _, back = whole.partition(attribute(MESSAGE_DIGEST, der.octet_string(mark)))
    return front + attribute(MESSAGE_DIGEST, der.octet_string(mark))[: -algorithm.size], back


def signed_attributes(
    digest: Digest,
    signing_certificate_der: bytes,
    *,
    content_type: str = CONTENT_DATA,
    signing_time: datetime | None = None,
) -> bytes:
    """Encode the attributes that the signing key signs (RFC 5652 §5.4, EN 319 142-1).

    The result is the DER of a SET OF and is what gets hashed; SignerInfo later carries the same
    content under an implicit tag. Without `signing_time` there is none: in a PDF the time is `/M`.
    CAdES must have one (EN 319 122-1, 5.2.1), in whole seconds. The order of the SET OF (X.690,
    11.6) does not depend on the digest: the attributes differ before it.

    Raises:
        DerInvalid: `signing_certificate_der` is not a certificate.
    """
    if signing_time is not None:
        return der.set_of(
            [
                attribute(CONTENT_TYPE, der.oid(content_type)),
                attribute(MESSAGE_DIGEST, der.octet_string(digest.value)),
                attribute(SIGNING_TIME, _time(signing_time)),
                signing_certificate_v2(signing_certificate_der),
            ]
        )
    front, back = attributes_around(digest.algorithm, signing_certificate_der, content_type)
    return front + digest.value + back


def _time(at: datetime) -> bytes:
    """UTCTime until 2049, GeneralizedTime after that (RFC 5652, 11.3); seconds."""
    at = at.astimezone(UTC).replace(microsecond=0)
    if at.year < _GENERALIZED_FROM:
        return der.encode(der.UTC_TIME, at.strftime("%y%m%d%H%M%SZ").encode())
    return der.generalized_time(at)
