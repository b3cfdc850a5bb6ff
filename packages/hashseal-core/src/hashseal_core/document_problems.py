"""Rows of the table of problems for PDF files."""

from __future__ import annotations

from hashseal_core import errors
from hashseal_core.problem import Problem

DOCUMENTS: tuple[Problem, ...] = (
    Problem(errors.PdfError, 422, "PDF cannot be signed", "See the detail."),
    Problem(
        errors.PdfMalformed,
        422,
        "PDF malformed",
        "Open and save the file with the program that made it, then try again.",
    ),
    Problem(errors.PdfPasswordRequired, 422, "PDF password required", "Give the file's password."),
    Problem(
        errors.PdfEncryptionUnsupported,
        422,
        "PDF encryption unsupported",
        "Save the file with AES encryption or none.",
    ),
    Problem(
        errors.PdfCertified,
        422,
        "PDF certified against changes",
        "Ask the one who certified it for a version that may be signed.",
    ),
    Problem(
        errors.PdfUnsupported,
        422,
        "PDF unsupported",
        "See the detail for the part that cannot be signed.",
    ),
    Problem(errors.PdfLimit, 422, "PDF exceeds a limit", "Make the file smaller or simpler."),
    Problem(
        errors.PdfFieldUnusable,
        422,
        "PDF field unusable",
        "Name another field or leave the name out.",
    ),
    Problem(
        errors.PdfNotPrepared,
        422,
        "Not the prepared PDF",
        "Resume with the file that was prepared.",
    ),
    Problem(errors.PdfNoPlace, 422, "No such place in the PDF", "Name another place."),
    Problem(
        errors.SignatureTooLarge,
        422,
        "Signature too large",
        "Prepare again with the seal's published signature_size.",
    ),
)
