"""Validation material inside a SignedData, as CAdES wants it at B-LT (EN 319 122-1, 5.4)."""

from __future__ import annotations

from hashseal_core import der
from hashseal_core.evidence import ValidationMaterial

_OCSP_RESPONSE = "1.3.6.1.5.5.7.16.2"
_VERSION = 5
_CERTIFICATES, _LISTS, _OTHER = 0xA0, 0xA1, 0xA1


def with_material(signed_data_der: bytes, material: ValidationMaterial) -> bytes:
    """The same signature with more certificates, and with lists and OCSP responses in `crls`.

    OCSP responses stand there as RFC 5940 says, which makes it version 5 (RFC 5652, 5.1). What is
    signed and what a signature timestamp is over stay as they are.

    Raises:
        DerInvalid: not a SignedData.
    """
    info = der.only(signed_data_der).children()
    kind = info.take(der.OID).raw
    body = der.only(info.take(_CERTIFICATES).content).children()
    body.integer()
    front = body.take(der.SET).raw + body.take(der.SEQUENCE).raw
    bag = body.optional(_CERTIFICATES)
    there = [one.raw for one in der.elements(bag.content)] if bag else []
    body.optional(_LISTS)
    signers = body.take(der.SET).raw
    lists = [*material.crls, *(_other(one) for one in material.ocsp_responses)]
    content = der.sequence(
        der.integer(_VERSION if material.ocsp_responses else 1),
        front,
        der.set_of(dict.fromkeys((*there, *material.certificates)), _CERTIFICATES),
        der.set_of(dict.fromkeys(lists), _LISTS) if lists else b"",
        signers,
    )
    return der.sequence(kind, der.encode(0xA0, content))


def _other(ocsp_response: bytes) -> bytes:
    """RevocationInfoChoice with an OCSPResponse."""
    return der.encode(_OTHER, der.oid(_OCSP_RESPONSE) + ocsp_response)
