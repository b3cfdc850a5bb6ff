"""What a key is for. A key signs one form of bytes only, so that purposes cannot be crossed."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """The form that a key signs; the first part of every key's reference says it."""

    CA = "ca"
    """TBSCertificate and TBSCertList."""
    OCSP = "ocsp"
    """ResponseData."""
    TSU = "tsu"
    """Signed attributes over a TSTInfo."""
    SEAL = "seal"
    """Signed attributes over a document's digest, under an authorisation."""
    RAW = "raw"
    """Any digest, under an authorisation of its own kind."""
    AUDIT = "audit"
    """Checkpoints of the audit log."""
