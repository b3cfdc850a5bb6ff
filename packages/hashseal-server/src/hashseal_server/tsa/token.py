"""Build one timestamp token (RFC 3161, EN 319 422). Pure: time, serial and signature come in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

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


def token(
    content: tsp.TokenContent, certificates: Sequence[bytes], sign: Callable[[bytes], bytes]
) -> bytes:
    """DER of the token; `certificates` begins with the TSU's; `sign` gets the attributes."""
    encoded = tsp.tst_info(content)
    digest = Digest(DigestAlgorithm.SHA256, hashlib.sha256(encoded).digest())
    attributes = cms.signed_attributes(digest, certificates[0], content_type=cms.CONTENT_TST_INFO)
    return cms.assemble(
        signature_algorithm=ALGORITHM,
        signed_attributes_der=attributes,
        signature_value=sign(attributes),
        certificates=certificates,
        content_type=cms.CONTENT_TST_INFO,
        content=encoded,
    )
