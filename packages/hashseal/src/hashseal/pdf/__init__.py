"""Signatures in PDF files, made elsewhere: prepare, embed, add evidence, read.

Files are only ever appended to, so everything that was signed before stays as it was.
"""

from __future__ import annotations

from hashseal.pdf.drawing import Drawing, read_drawing
from hashseal.pdf.evidence_store import add_validation
from hashseal.pdf.model import (
    EmbeddedSignature,
    Inspection,
    PreparedDocument,
    SealAppearance,
    SignatureOptions,
)
from hashseal.pdf.placement import Anchor, Box, Place, Position, read_place
from hashseal.pdf.preflight import Finding, Kind, preflight
from hashseal.pdf.reading import inspect, read_signatures
from hashseal.pdf.signing import digest_of, embed, prepare, prepare_timestamp

__all__ = [
    "Anchor",
    "Box",
    "Drawing",
    "EmbeddedSignature",
    "Finding",
    "Inspection",
    "Kind",
    "Place",
    "Position",
    "PreparedDocument",
    "SealAppearance",
    "SignatureOptions",
    "add_validation",
    "digest_of",
    "embed",
    "inspect",
    "preflight",
    "prepare",
    "prepare_timestamp",
    "read_drawing",
    "read_place",
    "read_signatures",
]
