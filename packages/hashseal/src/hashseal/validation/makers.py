"""Whose word a piece of status data is: by a signature that verifies, not by what it says."""

from __future__ import annotations

from collections.abc import Iterable

from asn1crypto import x509
from cryptography import x509 as loaded_x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from hashseal_core.certificates import UNREADABLE
from hashseal_core.evidence import list_signed_by, signed_by

_ODD = (*UNREADABLE, KeyError, OverflowError)
"""What certificates and status data that others wrote can provoke."""


class Makers:
    """The keys in the certificates of a file, and which of them signed something."""

    def __init__(self, certificates: Iterable[x509.Certificate]) -> None:
        self._known: list[tuple[bytes, loaded_x509.Certificate]] = []
        for one in certificates:
            try:
                certificate = loaded_x509.load_der_x509_certificate(one.dump())
                key = certificate.public_key().public_bytes(
                    Encoding.DER, PublicFormat.SubjectPublicKeyInfo
                )
            except _ODD:
                continue
            self._known.append((key, certificate))

    def of_answer(self, octets: bytes) -> bytes | None:
        """The key (SubjectPublicKeyInfo) that signed an OCSP response (DER); None if none did."""
        try:
            response = ocsp.load_der_ocsp_response(octets)
            for key, certificate in self._known:
                if signed_by(response, certificate.public_key()):
                    return key
        except _ODD:
            return None
        return None

    def of_list(self, octets: bytes) -> bytes | None:
        """The key that signed a revocation list (DER); None if none did."""
        try:
            found = loaded_x509.load_der_x509_crl(octets)
        except _ODD:
            return None
        for key, certificate in self._known:
            try:
                if list_signed_by(found, certificate):
                    return key
            except _ODD:
                continue
        return None
