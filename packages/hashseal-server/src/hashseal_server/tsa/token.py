"""One timestamp token (RFC 3161, EN 319 422), made from its parts. Pure: the signature comes in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from hashseal_core import cms, tsp
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)

ALGORITHM = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
ACCURACY_MS = 1000
SIZE_BOUND_SPARE = 256


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A token (`der`), what it says, and the parts from which the same octets can be made again.

    `content_der` is the TSTInfo; `tsu` the serial number of the unit's certificate.
    """

    der: bytes
    content: tsp.TokenContent
    content_der: bytes
    signature_value: bytes
    tsu: int


def to_be_signed(content_der: bytes, tsu_certificate: bytes) -> bytes:
    """The signed attributes over a TSTInfo."""
    digest = Digest(DigestAlgorithm.SHA256, hashlib.sha256(content_der).digest())
    return cms.signed_attributes(digest, tsu_certificate, content_type=cms.CONTENT_TST_INFO)


def assemble(
    content_der: bytes,
    certificates: Sequence[bytes],
    signed_attributes_der: bytes,
    signature_value: bytes,
    *,
    embed_certificates: bool = True,
) -> bytes:
    """DER of the token; `certificates` begins with the TSU's."""
    return cms.assemble(
        signature_algorithm=ALGORITHM,
        signed_attributes_der=signed_attributes_der,
        signature_value=signature_value,
        certificates=certificates,
        content_type=cms.CONTENT_TST_INFO,
        content=content_der,
        embed_certificates=embed_certificates,
    )
