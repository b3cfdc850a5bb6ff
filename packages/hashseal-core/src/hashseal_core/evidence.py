"""Validation material: what a chain needs, what is missing, until when it is fresh.

The walk begins at a leaf and ends at a self-signed root inside the material itself. Whether that
root is trusted is the validator's decision and not made here. Sources: RFC 5280, RFC 6960,
EN 319 142-1 (B-LT).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from hashseal_core.certificates import UNREADABLE, issued_by
from hashseal_core.errors import EvidenceInvalid

MAX_CHAIN = 8
_DER = Encoding.DER
MissingKind = Literal["issuer", "revocation", "fresh-revocation", "revoked"]


@dataclass(frozen=True, slots=True)
class ValidationMaterial:
    """Certificates, OCSPResponses and CRLs, each element DER."""

    certificates: tuple[bytes, ...] = ()
    ocsp_responses: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that the material lacks, and for which certificate."""

    subject: str
    kind: MissingKind
    detail: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found; `valid_until` is the earliest nextUpdate, None when nothing was used."""

    missing: tuple[Missing, ...]
    valid_until: datetime | None

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return not self.missing


def merge(*materials: ValidationMaterial) -> ValidationMaterial:
    """All of it without duplicates, in the order of first appearance."""
    return ValidationMaterial(
        tuple(dict.fromkeys(c for m in materials for c in m.certificates)),
        tuple(dict.fromkeys(o for m in materials for o in m.ocsp_responses)),
        tuple(dict.fromkeys(c for m in materials for c in m.crls)),
    )


def require_complete(
    leaves: Sequence[bytes], material: ValidationMaterial, *, at: datetime
) -> datetime:
    """The time until which all of it is fresh.

    Raises:
        EvidenceInvalid: something is missing, stale or revoked; the detail names the first.
    """
    assessment = assess(leaves, material, at=at)
    if assessment.missing or assessment.valid_until is None:
        first = assessment.missing[0].detail if assessment.missing else "nothing to validate"
        raise EvidenceInvalid(first)
    return assessment.valid_until


def assess(leaves: Sequence[bytes], material: ValidationMaterial, *, at: datetime) -> Assessment:
    """Walk every leaf and every responder that is used, up to a self-signed root.

    Every certificate on the way that is not a root needs a response or CRL that is signed by (or
    for) its issuer and fresh at `at`; id-pkix-ocsp-nocheck exempts a responder (RFC 6960,
    4.2.2.2.1).

    Raises:
        EvidenceInvalid: an element of the material or a leaf is not what it should be.
    """
    walk = _Walk(material, at)
    try:
        for leaf in leaves:
            walk.follow(_certificate(leaf))
    except UNREADABLE as error:  # some parts are read when they are looked at
        raise EvidenceInvalid("a certificate, response or list cannot be read") from error
    return Assessment(tuple(walk.missing), min(walk.until, default=None))


def _certificate(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except UNREADABLE as error:
        raise EvidenceInvalid("a certificate cannot be parsed") from error


def _load(
    material: ValidationMaterial,
) -> tuple[list[ocsp.OCSPResponse], list[x509.CertificateRevocationList]]:
    try:
        responses = [ocsp.load_der_ocsp_response(der) for der in material.ocsp_responses]
        lists = [x509.load_der_x509_crl(der) for der in material.crls]
    except UNREADABLE as error:
        raise EvidenceInvalid("an OCSP response or CRL cannot be parsed") from error
    good = ocsp.OCSPResponseStatus.SUCCESSFUL
    if any(response.response_status is not good for response in responses):
        raise EvidenceInvalid("an OCSP response is an error message")
    return responses, lists


class _Walk:
    """State of one assessment."""

    def __init__(self, material: ValidationMaterial, at: datetime) -> None:
        self._certificates = [_certificate(der) for der in material.certificates]
        self._responses, self._lists = _load(material)
        self._at = at
        self._seen: set[bytes] = set()
        self.missing: list[Missing] = []
        self.until: list[datetime] = []

    def follow(self, leaf: x509.Certificate) -> None:
        """Walk from `leaf` to a root."""
        current = leaf
        for _ in range(MAX_CHAIN):
            key = current.tbs_certificate_bytes
            if key in self._seen or issued_by(current, current):
                return
            self._seen.add(key)
            issuer = next((c for c in self._certificates if issued_by(current, c)), None)
            if issuer is None:
                self._lack(current, "issuer", "the issuer's certificate is missing")
                return
            self._revocation(current, issuer)
            current = issuer
        self._lack(current, "issuer", "the chain is too long")

    def _lack(self, certificate: x509.Certificate, kind: MissingKind, what: str) -> None:
        subject = certificate.subject.rfc4514_string()
        self.missing.append(Missing(subject, kind, f"{what}: {subject}"))

    def _revocation(self, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
        if has_nocheck(certificate):
            return
        stale = False
        for response in self._responses:
            verdict = self._by_ocsp(response, certificate, issuer)
            if verdict == "good":
                return
            stale = stale or verdict == "stale"
            if verdict == "revoked":
                self._lack(certificate, "revoked", "the certificate is revoked")
                return
        for crl in self._lists:
            verdict = self._by_crl(crl, certificate, issuer)
            if verdict == "good":
                return
            stale = stale or verdict == "stale"
            if verdict == "revoked":
                self._lack(certificate, "revoked", "the certificate is revoked")
                return
        if stale:
            self._lack(certificate, "fresh-revocation", "the revocation data is stale")
        else:
            self._lack(certificate, "revocation", "there is no revocation data")

    def _fresh(self, begin: datetime, end: datetime | None) -> bool:
        if end is None or not begin <= self._at <= end:
            return False
        self.until.append(end)
        return True

    def _by_crl(
        self,
        crl: x509.CertificateRevocationList,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
    ) -> str:
        if not list_signed_by(crl, issuer):
            return "other"
        if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            return "revoked"
        return "good" if self._fresh(crl.last_update_utc, crl.next_update_utc) else "stale"

    def _by_ocsp(
        self, response: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate
    ) -> str:
        for single in response.responses:
            if not is_about(single, certificate, issuer):
                continue
            responder = self._responder(response, issuer)
            if responder is None:
                continue
            if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
                return "revoked"
            if single.certificate_status is not ocsp.OCSPCertStatus.GOOD:
                continue
            if not self._fresh(single.this_update_utc, single.next_update_utc):
                return "stale"
            self.follow(responder)
            return "good"
        return "other"

    def _responder(
        self, response: ocsp.OCSPResponse, issuer: x509.Certificate
    ) -> x509.Certificate | None:
        """The issuer itself or a certificate it issued for OCSP signing, if its key signed."""
        delegated = [
            c for c in (*response.certificates, *self._certificates) if issued_by(c, issuer)
        ]
        for candidate in (issuer, *delegated):
            if candidate is not issuer and not may_sign_ocsp(candidate):
                continue
            if signed_by(response, candidate.public_key()):
                return candidate
        return None


def has_nocheck(certificate: x509.Certificate) -> bool:
    """A responder of which nobody need ask whether it is revoked (RFC 6960, 4.2.2.2.1)."""
    try:
        certificate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return may_sign_ocsp(certificate)


def may_sign_ocsp(certificate: x509.Certificate) -> bool:
    """The certificate has the purpose of a delegated responder (RFC 6960, 4.2.2.2)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage.value


def is_about(
    single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> bool:
    """The CertID of the response names this certificate of this issuer."""
    if single.serial_number != certificate.serial_number:
        return False
    try:
        request = ocsp.OCSPRequestBuilder().add_certificate(
            certificate, issuer, single.hash_algorithm
        )
        expected = request.build()
    except (UnsupportedAlgorithm, ValueError):
        return False
    return (
        single.issuer_key_hash == expected.issuer_key_hash
        and single.issuer_name_hash == expected.issuer_name_hash
    )


def list_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """The list names this issuer and its signature verifies with the issuer's key."""
    key = issuer.public_key()
    if crl.issuer != issuer.subject or not isinstance(
        key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    ):
        return False
    return crl.is_signature_valid(key)


def signed_by(response: ocsp.OCSPResponse, key: PublicKeyTypes) -> bool:
    """The response's signature verifies with the key: ECDSA, or RSA PKCS#1 v1.5."""
    digest = response.signature_hash_algorithm
    try:
        if digest is not None and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(digest))
            return True
        if digest is not None and isinstance(key, rsa.RSAPublicKey):
            scheme = padding.PKCS1v15()
            key.verify(response.signature, response.tbs_response_bytes, scheme, digest)
            return True
    except InvalidSignature:
        return False
    return False


def certificates_of(responses: Iterable[bytes]) -> tuple[bytes, ...]:
    """Responder certificates that travel inside OCSP responses (DER).

    Raises:
        EvidenceInvalid: a response cannot be parsed.
    """
    loaded, _ = _load(ValidationMaterial(ocsp_responses=tuple(responses)))
    return tuple(dict.fromkeys(der_of(c) for response in loaded for c in response.certificates))


def der_of(certificate: x509.Certificate) -> bytes:
    """The DER of a parsed certificate."""
    return certificate.public_bytes(_DER)
