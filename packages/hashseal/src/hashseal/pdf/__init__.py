"""Signatures in PDF files, made elsewhere: prepare, embed, add evidence, read.

Files are only ever appended to, so everything that was signed before stays as it was.
"""

from __future__ import annotations

from hashseal.pdf.evidence_store import add_validation
from hashseal.pdf.model import (
    EmbeddedSignature,
    Inspection,
    PreparedDocument,
    SignatureOptions,
)
from hashseal.pdf.reading import inspect, read_signatures
from hashseal.pdf.signing import digest_of, embed, prepare, prepare_timestamp

__all__ = [
    "EmbeddedSignature",
    "Inspection",
    "PreparedDocument",
    "SignatureOptions",
    "add_validation",
    "digest_of",
    "embed",
    "inspect",
    "prepare",
    "prepare_timestamp",
    "read_signatures",
]
