"""Rows of the table of problems for errors that only the gateway raises."""

from __future__ import annotations

from hashseal_core import errors
from hashseal_core.problem import Problem

GATEWAY: tuple[Problem, ...] = (
    Problem(
        errors.DocumentTooLarge,
        413,
        "Document too large",
        "Send a smaller file, or ask the gateway's administrator for a higher limit.",
    ),
    Problem(
        errors.DocumentNotFound,
        404,
        "Document not found",
        "Use an id that the gateway gave to this very caller.",
    ),
    Problem(
        errors.ContentGone,
        410,
        "Content gone",
        "Sign the document again; the log still knows its digests.",
    ),
    Problem(
        errors.DocumentNotReady,
        409,
        "Document not ready",
        "Ask again after Retry-After; the document's status says what it waits for.",
        retryable=True,
    ),
    Problem(
        errors.PdfPolicy,
        422,
        "PDF against the policy",
        "Remove what the detail names, or ask the gateway's administrator to allow it.",
    ),
)
