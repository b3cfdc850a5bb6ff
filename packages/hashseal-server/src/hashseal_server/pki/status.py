"""OCSP: what is asked, what is answered (RFC 6960, RFC 9654). Pure; `pki.responses` keeps answers.

A request may name up to 16 certificates of one authority. A response says of what was never issued
that it is unknown, and never of anything that it is on hold.
"""

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
from hashseal_core.errors import DerInvalid, FaultySignature, MalformedRequest
from hashseal_server.keystore.port import KeyStore
from hashseal_server.pki.issuance import AUTHORITY_ALGORITHM, sign_and_wrap
from hashseal_server.pki.revocation import REASON_CODES, Revoked, reason_of

MOST_CERTIFICATES = 16
MOST_NONCE_OCTETS = 128
"""RFC 9654, 2.1: 1 to 128 octets; anything else is a malformed request."""
_NONCE = "1.3.6.1.5.5.7.48.1.2"
_BASIC_RESPONSE = "1.3.6.1.5.5.7.48.1.1"
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


@dataclass(frozen=True, slots=True)
class Responder:
    """A delegated OCSP responder: its certificate, its key, the authority it speaks for."""

    certificate: x509.Certificate
    key: str
    issuer: x509.Certificate

    @property
    def serial(self) -> int:
        """The serial number of its certificate."""
        return self.certificate.serial_number


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a serial number: `issued` False makes the answer `unknown`."""

    issued: bool
    revoked: Revoked | None = None


@dataclass(frozen=True, slots=True)
class CertificateId:
    """A CertID (RFC 6960, 4.1.1)."""

    serial: int
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    hash_algorithm: hashes.HashAlgorithm


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """The parts of an OCSPRequest that matter."""

    asked: tuple[CertificateId, ...]
    nonce: bytes | None = None


def parse_request(request_der: bytes) -> StatusRequest:
    """Read an OCSPRequest; a signature on it is not looked at.

    Raises:
        MalformedRequest: anything else; too many certificates; a nonce that is empty or too long;
            a critical extension that is not a nonce.
    """
    try:
        wanted, extensions = _parts(request_der)
        asked = tuple(_certificate_id(one) for one in wanted)
        return StatusRequest(asked, _nonce(extensions))
    except (DerInvalid, ValueError, NotImplementedError, UnsupportedAlgorithm) as error:
        raise MalformedRequest("this is not an OCSP request") from error
    except x509.DuplicateExtension as error:
        raise MalformedRequest("an extension occurs twice") from error


def _parts(request_der: bytes) -> tuple[list[bytes], bytes | None]:
    """The elements of requestList, and requestExtensions as they stand; no more is parsed here."""
    outer = der.only(request_der).children()
    body = outer.sequence()
    if outer.optional(0xA0) is not None:
        outer.end()
    outer.end()
    body.optional(0xA0)
    body.optional(0xA1)
    wanted = [one.raw for one in der.elements(body.take(der.SEQUENCE).content)]
    extensions = body.optional(0xA2)
    body.end()
    if not 1 <= len(wanted) <= MOST_CERTIFICATES:
        raise MalformedRequest(f"a request names 1 to {MOST_CERTIFICATES} certificates")
    return wanted, None if extensions is None else extensions.raw


def _certificate_id(request: bytes) -> CertificateId:
    """A Request of the list, read as the only one of its OCSPRequest."""
    read = ocsp.load_der_ocsp_request(der.sequence(der.sequence(der.sequence(request))))
    algorithm = read.hash_algorithm
    if algorithm.name not in _HASH_OIDS:
        raise MalformedRequest("the CertID's hash algorithm is not supported")
    return CertificateId(read.serial_number, read.issuer_name_hash, read.issuer_key_hash, algorithm)


def _nonce(extensions: bytes | None) -> bytes | None:
    if extensions is None:
        return None
    found: bytes | None = None
    for one in der.elements(der.only(extensions, 0xA2).children().take(der.SEQUENCE).content):
        reader = one.children()
        name = reader.oid()
        critical = reader.peek() == der.BOOLEAN and reader.boolean()
        value = reader.take(der.OCTET_STRING).content
        if name != _NONCE:
            if critical:
                raise MalformedRequest("a critical extension is not known")
            continue
        nonce = der.only(value, der.OCTET_STRING).content
        if found is not None or not 1 <= len(nonce) <= MOST_NONCE_OCTETS:
            raise MalformedRequest("a nonce has 1 to 128 octets")
        found = nonce
    return found


def request_for(
    serial: int, issuer: x509.Certificate, algorithm: hashes.HashAlgorithm
) -> StatusRequest:
    """The CertID of a certificate that `issuer` issued, as a client would ask for it."""
    name_hash, key_hash = _issuer_hashes(issuer, algorithm.name)
    return StatusRequest((CertificateId(serial, name_hash, key_hash, algorithm),))


def is_about(asked: CertificateId, issuer: x509.Certificate) -> bool:
    """The CertID names this issuer."""
    named = (asked.issuer_name_hash, asked.issuer_key_hash)
    return named == _issuer_hashes(issuer, asked.hash_algorithm.name)


@lru_cache(maxsize=64)
def _issuer_hashes(issuer: x509.Certificate, algorithm: str) -> tuple[bytes, bytes]:
    """Hashes of the issuer's name and of its key (RFC 6960, 4.1.1)."""
    built = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, _HASHES[algorithm]).build()
    name = hashes.Hash(_HASHES[algorithm])
    name.update(issuer.subject.public_bytes())
    return name.finalize(), built.issuer_key_hash


def ocsp_response(
    request: StatusRequest,
    statuses: Sequence[Status],
    responder: Responder,
    *,
    this_update: datetime,
    next_update: datetime,
    keystore: KeyStore,
) -> bytes:
    """A complete successful OCSPResponse, DER, with the responder's certificate inside.

    `statuses` are those of the certificates that were asked for, in their order. Not linted each
    time: its shape has no free part, and responses are made for whoever asks.

    Raises:
        FaultySignature, KeystoreUnavailable: nothing left.
    """
    singles = [
        _single(asked, status, this_update, next_update)
        for asked, status in zip(request.asked, statuses, strict=True)
    ]
    extensions = b""
    if request.nonce is not None:
        nonce = der.sequence(der.oid(_NONCE), der.octet_string(der.octet_string(request.nonce)))
        extensions = der.encode(0xA1, der.sequence(nonce))
    _, key_hash = _issuer_hashes(responder.certificate, "sha1")  # RFC 6960, 4.2.1
    to_be_signed = der.sequence(
        der.encode(0xA2, der.octet_string(key_hash)),
        der.generalized_time(this_update),
        der.sequence(*singles),
        extensions,
    )
    signed = sign_and_wrap(keystore, responder.key, to_be_signed)
    certificates = der.encode(0xA0, der.sequence(responder.certificate.public_bytes(Encoding.DER)))
    basic = der.sequence(der.only(signed).content + certificates)
    body = der.sequence(der.oid(_BASIC_RESPONSE), der.octet_string(basic))
    return der.sequence(der.encode(der.ENUMERATED, b"\x00"), der.encode(0xA0, body))


def _single(
    asked: CertificateId, status: Status, this_update: datetime, next_update: datetime
) -> bytes:
    """A SingleResponse (RFC 6960, 4.2.1)."""
    null = der.encode(der.NULL, b"")
    certificate_id = der.sequence(
        der.sequence(der.oid(_HASH_OIDS[asked.hash_algorithm.name]), null),
        der.octet_string(asked.issuer_name_hash),
        der.octet_string(asked.issuer_key_hash),
        der.integer(asked.serial),
    )
    verdict = der.encode(0x82, b"")
    if status.revoked is not None:
        reason, code = reason_of(status.revoked.reason), b""
        if reason in REASON_CODES:
            code = der.encode(0xA0, der.encode(der.ENUMERATED, bytes((REASON_CODES[reason],))))
        verdict = der.encode(
            0xA1, der.generalized_time(status.revoked.revoked_at.replace(microsecond=0)) + code
        )
    elif status.issued:
        verdict = der.encode(0x80, b"")
    return der.sequence(
        certificate_id,
        verdict,
        der.generalized_time(this_update),
        der.encode(0xA0, der.generalized_time(next_update)),
    )


def require_genuine(
    response_der: bytes,
    asked: CertificateId,
    status: Status,
    responder: Responder,
    *,
    at: datetime,
) -> datetime:
    """Verify a response that was made before: signature, CertID, verdict, time; its thisUpdate.

    Raises:
        FaultySignature: it is not what this responder would answer to this request now.
    """
    wanted = ocsp.OCSPCertStatus.UNKNOWN
    if status.issued:
        wanted = ocsp.OCSPCertStatus.REVOKED if status.revoked else ocsp.OCSPCertStatus.GOOD
    try:
        read = ocsp.load_der_ocsp_response(response_der)
        answers = (
            read.serial_number == asked.serial
            and read.hash_algorithm.name == asked.hash_algorithm.name
            and read.issuer_name_hash == asked.issuer_name_hash
            and read.issuer_key_hash == asked.issuer_key_hash
            and read.certificate_status is wanted
            and read.certificates == [responder.certificate]
            and read.next_update_utc is not None
            and read.this_update_utc <= at < read.next_update_utc
        )
        signature, signed, this_update = read.signature, read.tbs_response_bytes, None
        if answers:
            this_update = read.this_update_utc
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FaultySignature("what was kept is not an OCSP response") from error
    if this_update is None:
        raise FaultySignature("the response that was kept answers something else")
    key = responder.certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    verify_signature_value(key, AUTHORITY_ALGORITHM, signed, signature)
    return this_update


def ocsp_refusal(status: ocsp.OCSPResponseStatus) -> bytes:
    """An OCSPResponse that says why there is none, DER."""
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
