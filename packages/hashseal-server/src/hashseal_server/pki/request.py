"""Requests for a certificate of an issuing authority (RFC 2986), as a ceremony takes them.

Nothing is copied but the key and a name whose every part was looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from hashseal_core.certificates import UNREADABLE
from hashseal_core.errors import InputUnreadable, InvalidValue
from hashseal_server.pki.model import MAX_NAME

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MIN_RSA_BITS = 3072
_PARTS = (NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
_WEAK = ("md5", "sha1")


@dataclass(frozen=True, slots=True)
class IssuingRequest:
    """A request that was looked at; `public_key` is DER."""

    subject: x509.Name
    public_key: bytes


def read_request(octets: bytes, root: x509.Name) -> IssuingRequest:
    """Check a request, DER or PEM: its holder has the key, its name is one of the root's house.

    Raises:
        InputUnreadable: it is not a request.
        InvalidValue: what it asks for is not given.
    """
    try:
        pem = octets.lstrip().startswith(b"-----BEGIN")
        request = x509.load_pem_x509_csr(octets) if pem else x509.load_der_x509_csr(octets)
        possessed = request.is_signature_valid
        digest, key = request.signature_hash_algorithm, request.public_key()
        extensions, attributes = len(request.extensions), len(list(request.attributes))
        parts = [(one.oid, one.value) for one in request.subject]
    except UNREADABLE as error:
        raise InputUnreadable("this is not a request for a certificate (PKCS #10)") from error
    if not possessed or digest is None or digest.name in _WEAK:
        raise InvalidValue("the request is not signed with its own key", field="request")
    if extensions or attributes:
        raise InvalidValue(
            "the request asks for extensions; the profile says them", field="request"
        )
    _require_strong(key)
    if tuple(kind for kind, _ in parts) != _PARTS:
        raise InvalidValue("the name has country, organisation, common name", field="request")
    for _, value in parts:
        if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= MAX_NAME:
            raise InvalidValue("names have 1 to 64 printable characters", field="request")
    for kind in _PARTS[:2]:
        if dict(parts)[kind] != root.get_attributes_for_oid(kind)[0].value:
            raise InvalidValue(
                "country and organisation must be those of the root", field="request"
            )
    if dict(parts)[NameOID.COMMON_NAME] == (
        root.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    ):
        raise InvalidValue("an issuing authority is not called like its root", field="request")
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return IssuingRequest(request.subject, spki)


def _require_strong(key: object) -> None:
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return
    raise InvalidValue("the key is of a kind that is not certified, or too weak", field="request")
