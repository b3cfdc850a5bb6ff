"""RFC 3161 messages (with RFC 5816): requests, TSTInfo, responses, tokens.

Nothing here signs or knows the time: the TSA hands in a `TokenContent` and signs the attributes
over `tst_info(content)`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Struct

from hashseal_core import cms, der
from hashseal_core.algorithms import Digest, DigestAlgorithm, imprint
from hashseal_core.cms.algorithm_identifiers import digest_identifier, read_digest
from hashseal_core.cms.attributes import CONTENT_TYPE
from hashseal_core.errors import TimestampInvalid, TimestampUnavailable

_GRANTED = {0, 1}
_TST_INFO = der.oid(cms.CONTENT_TST_INFO)
_MAX_SERIAL_BITS = 160


class UnacceptedExtension(TimestampInvalid):
    """The request has an extension that we do not know (failInfo unacceptedExtension)."""


class TimestampRequest(Struct, frozen=True):
    """A TimeStampReq."""

    digest: Digest
    nonce: int | None = None
    certificate_wanted: bool = False
    policy: str | None = None


class TokenContent(Struct, frozen=True):
    """What a TSTInfo says; `generated_at` is UTC with milliseconds at most."""

    policy: str
    digest: Digest
    serial: int
    generated_at: datetime
    accuracy_ms: int
    nonce: int | None = None


@dataclass(frozen=True, slots=True)
class TimestampToken:
    """A parsed token; see `check_token` for what has been verified."""

    content: TokenContent
    signed_data: cms.SignedData

    @property
    def signing_certificate(self) -> bytes:
        """The TSU's certificate, bound by signing-certificate-v2 (DER)."""
        return self.signed_data.signing_certificate


def _imprint(digest: Digest) -> bytes:
    return der.sequence(digest_identifier(digest.algorithm), der.octet_string(digest.value))


def _read_imprint(reader: der.Reader) -> Digest:
    inner = reader.sequence()
    algorithm = read_digest(inner)
    value = inner.take(der.OCTET_STRING).content
    inner.end()
    return imprint(algorithm, value)


def build_request(
    digest: Digest,
    *,
    nonce: int | None = None,
    certificate_wanted: bool = True,
    policy: str | None = None,
) -> bytes:
    """TimeStampReq, DER (RFC 3161, 2.4.1)."""
    return der.sequence(
        der.integer(1),
        _imprint(digest),
        der.oid(policy) if policy else b"",
        der.integer(nonce) if nonce is not None else b"",
        der.encode(der.BOOLEAN, b"\xff") if certificate_wanted else b"",
    )


def parse_request(request_der: bytes) -> TimestampRequest:
    """Read a TimeStampReq.

    Raises:
        DerInvalid: not strict DER of that shape (failInfo badDataFormat).
        WeakAlgorithm, UnsupportedAlgorithm: the imprint's algorithm (failInfo badAlg).
        HashLength, DegenerateHash: the imprint itself.
        UnacceptedExtension: any extension.
        TimestampInvalid: another version (failInfo badRequest).
    """
    body = der.only(request_der).children()
    if body.integer() != 1:
        raise TimestampInvalid("the request's version is not 1")
    digest = _read_imprint(body)
    policy = body.oid() if body.peek() == der.OID else None
    nonce = body.integer() if body.peek() == der.INTEGER else None
    wanted = body.boolean() if body.peek() == der.BOOLEAN else False
    if body.optional(0xA0) is not None:
        raise UnacceptedExtension("extensions are not supported")
    body.end()
    return TimestampRequest(digest, nonce, wanted, policy)


@lru_cache(maxsize=64)
def _front(policy: str, algorithm: DigestAlgorithm) -> bytes:
    """Everything of a TSTInfo before the digest; the imprint's length is that of its algorithm."""
    around = _imprint(Digest(algorithm, b"\x01" * algorithm.size))
    return der.integer(1) + der.oid(policy) + around[: -algorithm.size]


@lru_cache(maxsize=64)
def _accuracy(milliseconds: int) -> bytes:
    seconds, millis = divmod(milliseconds, 1000)
    return der.sequence(
        der.integer(seconds) if seconds else b"", der.integer(millis, 0x80) if millis else b""
    )


def tst_info(content: TokenContent) -> bytes:
    """TSTInfo, DER (RFC 3161, 2.4.2); the accuracy is written in seconds and milliseconds."""
    encoded = (
        _front(content.policy, content.digest.algorithm)
        + content.digest.value
        + der.integer(content.serial)
        + der.generalized_time(content.generated_at)
        + _accuracy(content.accuracy_ms)
    )
    if content.nonce is not None:
        encoded += der.integer(content.nonce)
    return der.encode(der.SEQUENCE, encoded)


def signed_attributes(
    encoded: bytes, tsu_certificate: bytes, algorithm: DigestAlgorithm = DigestAlgorithm.SHA256
) -> bytes:
    """What a unit's key signs: the attributes over a TSTInfo (RFC 3161, 2.4.2), DER.

    Raises:
        DerInvalid: `tsu_certificate` is not a certificate.
    """
    digest = Digest(algorithm, hashlib.new(algorithm.hashlib_name, encoded).digest())
    return cms.signed_attributes(digest, tsu_certificate, content_type=cms.CONTENT_TST_INFO)


def parse_tst_info(encoded: bytes) -> TokenContent:
    """Read a TSTInfo, DER.

    Raises:
        TimestampInvalid, DerInvalid, WeakAlgorithm, UnsupportedAlgorithm, HashLength,
        DegenerateHash: it is none, or not one that a token may have.
    """
    body = der.only(encoded).children()
    if body.integer() != 1:
        raise TimestampInvalid("the TSTInfo's version is not 1")
    policy = body.oid()
    digest = _read_imprint(body)
    serial = body.integer()
    generated_at = body.time()
    accuracy_ms = 0
    if body.peek() == der.SEQUENCE:
        accuracy = body.sequence()
        if accuracy.peek() == der.INTEGER:
            accuracy_ms += 1000 * accuracy.integer()
        if accuracy.peek() == 0x80:  # noqa: PLR2004 - millis [0]
            accuracy_ms += accuracy.integer(0x80)
        accuracy.optional(0x81)
        accuracy.end()
    if body.peek() == der.BOOLEAN:
        body.boolean()
    nonce = body.integer() if body.peek() == der.INTEGER else None
    body.optional(0xA0)
    if (extensions := body.optional(0xA1)) is not None:
        _require_no_critical(extensions)
    body.end()
    if serial <= 0 or serial.bit_length() > _MAX_SERIAL_BITS:
        raise TimestampInvalid("the token's serial number is out of range")
    return TokenContent(policy, digest, serial, generated_at, accuracy_ms, nonce)


def _require_no_critical(extensions: der.Element) -> None:
    """Extensions of a TSTInfo, qcStatements for one (EN 319 422, 9.1), must not be critical."""
    for extension in der.elements(extensions.content):
        inner = extension.children()
        inner.oid()
        if inner.peek() == der.BOOLEAN and inner.boolean():
            raise TimestampInvalid("the TSTInfo has a critical extension")
        inner.take(der.OCTET_STRING)
        inner.end()


def granted(token_der: bytes) -> bytes:
    """TimeStampResp that carries a token."""
    return der.sequence(der.sequence(der.integer(0)), token_der)


def refused(fail_info: int, text: str) -> bytes:
    """TimeStampResp without a token: status rejection, a text, one failInfo bit (0 to 31)."""
    bits = bytearray(fail_info // 8 + 1)
    bits[-1] = 0x80 >> fail_info % 8
    unused = 7 - fail_info % 8
    status = der.sequence(
        der.integer(2),
        der.sequence(der.encode(der.UTF8_STRING, text.encode())),
        der.encode(der.BIT_STRING, bytes((unused,)) + bytes(bits)),
    )
    return der.sequence(status)


def token_of_response(response_der: bytes) -> bytes:
    """The token of a TimeStampResp.

    Raises:
        TimestampUnavailable: the TSA refused.
        DerInvalid: not a TimeStampResp.
    """
    body = der.only(response_der).children()
    status = body.sequence()
    if status.integer() not in _GRANTED:
        raise TimestampUnavailable("the timestamp authority refused")
    token = body.take(der.SEQUENCE).raw
    body.end()
    return token


def parse_token(token_der: bytes) -> TimestampToken:
    """Take a token apart without verifying it.

    Raises:
        TimestampInvalid: not a SignedData over a TSTInfo.
        CmsInvalid, DerInvalid, WeakAlgorithm, UnsupportedAlgorithm, HashLength, DegenerateHash:
            as the parts say.
    """
    signed_data = cms.parse(token_der)
    if signed_data.content_type != cms.CONTENT_TST_INFO or signed_data.content is None:
        raise TimestampInvalid("the token does not hold a TSTInfo")
    return TimestampToken(parse_tst_info(signed_data.content), signed_data)


def check_token(token_der: bytes, digest: Digest, *, nonce: int | None = None) -> TimestampToken:
    """Verify a token against the digest that was sent; its chain is not checked here.

    Verified: imprint, nonce (when given), message-digest over the TSTInfo, that the signature is
    over a TSTInfo and its value right, the TSU certificate's sole critical timeStamping purpose,
    and genTime within its validity.

    Raises:
        TimestampInvalid: one of these fails.
        FaultySignature: the signature value does not verify.
        CmsInvalid, DerInvalid, WeakAlgorithm, UnsupportedAlgorithm, HashLength, DegenerateHash:
            the token cannot be parsed.
    """
    token = parse_token(token_der)
    data = token.signed_data
    if token.content.digest != digest:
        raise TimestampInvalid("the token is over another digest")
    if nonce is not None and token.content.nonce != nonce:
        raise TimestampInvalid("the token answers another request")
    actual = hashlib.new(data.digest_algorithm.hashlib_name, data.content or b"").digest()
    if actual != data.message_digest or data.attributes.get(CONTENT_TYPE) != _TST_INFO:
        raise TimestampInvalid("the TSTInfo is not what was signed")
    cms.verify_signature_value(
        token.signing_certificate,
        data.signature_algorithm,
        data.signed_attributes_der,
        data.signature_value,
    )
    begin, end = tsu_validity(token.signing_certificate)
    if not begin <= token.content.generated_at <= end:
        raise TimestampInvalid("the token's time is outside the TSU certificate's validity")
    return token


@lru_cache(maxsize=256)
def tsu_validity(certificate_der: bytes) -> tuple[datetime, datetime]:
    """From when to when a TSU's certificate may vouch for tokens.

    Raises:
        TimestampInvalid: its sole critical purpose is not timeStamping (RFC 3161, 2.3).
    """
    certificate = x509.load_der_x509_certificate(certificate_der)
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, ValueError) as error:
        raise TimestampInvalid("the TSU certificate has no usable extendedKeyUsage") from error
    if not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise TimestampInvalid("the TSU certificate's sole critical purpose is not timeStamping")
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


@lru_cache(maxsize=256)
def tsu_signing_period(certificate_der: bytes) -> tuple[datetime, datetime]:
    """From when to when a TSU's key may sign: its privateKeyUsagePeriod within its validity.

    Source: RFC 3280, 4.2.1.4, EN 319 422, 6.3. A certificate without that extension: its validity.

    Raises:
        TimestampInvalid: as `tsu_validity`.
    """
    begin, end = tsu_validity(certificate_der)
    certificate = x509.load_der_x509_certificate(certificate_der)
    try:
        period = certificate.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).value
    except x509.ExtensionNotFound:
        return begin, end
    if period.not_before is not None:
        begin = max(begin, period.not_before.replace(tzinfo=UTC))
    if period.not_after is not None:
        end = min(end, period.not_after.replace(tzinfo=UTC))
    return begin, end


def truncate(at: datetime) -> datetime:
    """A time as a token can carry it: UTC, whole milliseconds, never later than `at`."""
    moment = at.astimezone(UTC)
    return moment - timedelta(microseconds=moment.microsecond % 1000)


def imprint_of(signature_value: bytes) -> Digest:
    """What a signature timestamp is over: the SHA-256 of the signature value."""
    return Digest(DigestAlgorithm.SHA256, hashlib.sha256(signature_value).digest())
