"""One timestamp token (RFC 3161, EN 319 422), made from its parts. Pure: the signature comes in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from hashseal_core import cms, tsp
from hashseal_core.algorithms import (
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


def to_be_signed(around: cms.Frame, content_der: bytes) -> bytes:
    """The signed attributes over a TSTInfo."""
    return around.signed_attributes(hashlib.sha256(content_der).digest())


def frame(certificates: Sequence[bytes], *, embed_certificates: bool = True) -> cms.Frame:
    """What surrounds every token of a unit; `certificates` begins with the TSU's.

    `frame(…).assemble(attributes, signature value, content)` is the token, DER.
    """
    return cms.frame(ALGORITHM, tuple(certificates), cms.CONTENT_TST_INFO, embed_certificates)
