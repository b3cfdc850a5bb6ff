"""Whether each piece of validation material is what its maker signed, octet for octet. Pure.

`evidence.assess` looks for what a chain needs and passes over the rest. Here nothing is passed
over: a file is read by others, who may stumble over a piece that nobody needs. Sources: RFC 5280,
RFC 6960, RFC 5652.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from cryptography import x509
from cryptography.x509 import ocsp

from hashseal_core import der
from hashseal_core.certificates import UNREADABLE, issued_by
from hashseal_core.errors import EvidenceInvalid, HashsealError
from hashseal_core.evidence import ValidationMaterial, der_of, list_signed_by, signed_by

_BIT_STRING, _ENUMERATED = 0x03, 0x0A
_MOST = 64


@lru_cache(maxsize=8)
def require_genuine(material: ValidationMaterial) -> None:
    """Each certificate, response and list is signed by one of the certificates of the material.

    Raises:
        EvidenceInvalid: one is not, or cannot be read.
    """
    try:
        _require_genuine(material)
    except (*UNREADABLE, HashsealError) as error:
        if isinstance(error, EvidenceInvalid):
            raise
        raise EvidenceInvalid("a certificate, response or list cannot be read") from error


def _require_genuine(material: ValidationMaterial) -> None:
    if len(material.certificates) > _MOST:
        raise EvidenceInvalid("there are too many certificates")
    certificates = [_certificate(one) for one in material.certificates]
    for certificate in certificates:
        _require_issued(certificate, certificates)
    for encoded in material.ocsp_responses:
        _require_whole_octets(_basic(encoded))
        response = ocsp.load_der_ocsp_response(encoded)
        inside = response.certificates
        for certificate in inside:
            _require_whole_octets(der_of(certificate))
            if signed_by(response, certificate.public_key()):
                _require_issued(certificate, certificates)
            else:
                _require_unchanged(certificate, certificates)
        if not any(signed_by(response, one.public_key()) for one in (*inside, *certificates)):
            raise EvidenceInvalid("an OCSP response is not what its responder signed")
    for encoded in material.crls:
        _require_whole_octets(encoded)
        crl = x509.load_der_x509_crl(encoded)
        if not any(list_signed_by(crl, one) for one in certificates):
            raise EvidenceInvalid("a revocation list is not what its issuer signed")


def issued_here(candidates: Iterable[bytes], known: Iterable[bytes]) -> tuple[bytes, ...]:
    """Those of the certificates (DER) that one of `known` has issued.

    Raises:
        ValueError: one is no certificate.
    """
    issuers = [x509.load_der_x509_certificate(one) for one in known]
    return tuple(
        one
        for one in candidates
        if any(issued_by(x509.load_der_x509_certificate(one), issuer) for issuer in issuers)
    )


def require_genuine_bag(
    certificates: Sequence[bytes], signer: bytes, known: Iterable[bytes]
) -> None:
    """The certificates in a timestamp token are genuine, as far as can be told.

    `signer` is bound by the signature. Any other is one of `known`, or issued by one of them or of
    these; or its issuer is not at hand, it issued one of these, and it is no known one changed.

    Raises:
        EvidenceInvalid: one is none of these.
    """
    others = frozenset(known)
    unknown = [one for one in certificates if one not in others and one != signer]
    if not unknown:
        return
    try:
        bag = [_certificate(one) for one in certificates]
        read = [_certificate(one) for one in others]
        issuers, known_values = [*bag, *read], {one.signature for one in read}
        for encoded in unknown:
            certificate = _certificate(encoded)
            if any(one.subject == certificate.issuer for one in issuers):
                _require_issued(certificate, issuers)
            elif certificate.signature in known_values or not any(
                issued_by(one, certificate) for one in bag
            ):
                raise EvidenceInvalid("a certificate has nothing to do with the signature")
    except (*UNREADABLE, HashsealError) as error:
        if isinstance(error, EvidenceInvalid):
            raise
        raise EvidenceInvalid("a certificate cannot be read") from error


def _certificate(encoded: bytes) -> x509.Certificate:
    _require_whole_octets(encoded)
    return x509.load_der_x509_certificate(encoded)


def _basic(ocsp_response: bytes) -> bytes:
    """The BasicOCSPResponse in a response (RFC 6960, 4.2.1)."""
    outer = der.only(ocsp_response).children()
    outer.take(_ENUMERATED)
    inner = der.only(outer.take(0xA0).content).children()
    inner.oid()
    return inner.take(der.OCTET_STRING).content


def _require_whole_octets(signed: bytes) -> None:
    """The signature, third in whatever is signed, has no unused bits: readers pass over them."""
    parts = der.only(signed).children()
    for _ in range(2):
        parts.take(der.SEQUENCE)
    if parts.take(_BIT_STRING).content[:1] != b"\x00":
        raise EvidenceInvalid("a signature has unused bits")


def _require_issued(certificate: x509.Certificate, issuers: Iterable[x509.Certificate]) -> None:
    if not any(issued_by(certificate, one) for one in issuers):
        raise EvidenceInvalid("a certificate is not what its issuer signed")


def _require_unchanged(certificate: x509.Certificate, known: Sequence[x509.Certificate]) -> None:
    """What else travels in a response may be of an authority that is not at hand."""
    if any(one.subject == certificate.issuer for one in known):
        _require_issued(certificate, known)
    elif any(one.signature == certificate.signature for one in known):
        raise EvidenceInvalid("a certificate is not what its issuer signed")
