"""PDF files that cannot be signed as asked."""

from __future__ import annotations

from hashseal_core.errors.base import HashsealError


class PdfError(HashsealError):
    """The file cannot be signed as asked."""

    code = "pdf-error"


class PdfMalformed(PdfError):
    """The file is not a PDF that can be read."""

    code = "pdf-malformed"


class PdfPasswordRequired(PdfError):
    """The file is encrypted and the password is missing or wrong."""

    code = "pdf-password-required"


class PdfEncryptionUnsupported(PdfError):
    """The file is encrypted in a way that is not supported."""

    code = "pdf-encryption-unsupported"


class PdfCertified(PdfError):
    """The file is certified against the change that signing makes."""

    code = "pdf-certified"


class PdfUnsupported(PdfError):
    """The file is readable, but signing it would harm it."""

    code = "pdf-unsupported"


class PdfLimit(PdfError):
    """The file exceeds a limit on size, depth or count."""

    code = "pdf-limit"


class PdfFieldUnusable(PdfError):
    """The signature field asked for cannot take this signature."""

    code = "pdf-field-unusable"


class PdfNotPrepared(PdfError):
    """The file is not the prepared file that belongs to this value."""

    code = "pdf-not-prepared"


class PdfNoPlace(PdfError):
    """The file has no such page, box or words for a seal to stand on."""

    code = "pdf-no-place"


class PdfPolicy(PdfError):
    """The file holds what the gateway's policy does not sign."""

    code = "pdf-policy"


class SignatureTooLarge(PdfError):
    """The signature does not fit into the reserved space."""

    code = "signature-too-large"
