"""Entries of the signing log, and what may be searched for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

SIGNED, FAILED = "signed", "failed"
"""Outcomes to search for; the second is any that is not the first."""
COLUMNS = (
    "number",
    "at",
    "document_id",
    "caller_kind",
    "caller_id",
    "caller_name",
    "way",
    "external_id",
    "seal_id",
    "level",
    "outcome",
    "digest_before",
    "digest_after",
    "hash",
    "signature_id",
    "milliseconds",
)


_FORMULA = frozenset("=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}") | frozenset(
    "\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)
"""What formulas begin with; the wide ones where Chinese or Japanese is written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt to have one document signed.

    Attributes:
        number: grows; 0 before it is recorded.
        way: `call`, `async`, `batch` or `folder`.
        outcome: `signed`, or the code of a problem.
        digest_before: SHA-256 of the document as it came, hexadecimal.
        digest_after: of the signed file.
        hash: what was sent to the service, hexadecimal.
        milliseconds: from the document's arrival, or its last attempt, to the end.
    """

    number: int
    at: datetime
    document_id: str
    caller_kind: str
    caller_id: str
    caller_name: str
    way: str
    external_id: str | None
    seal_id: str | None
    level: str
    outcome: str
    digest_before: str
    digest_after: str | None
    hash: str | None
    signature_id: str | None
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Search:
    """What entries must be like; None is anything.

    `digest` is before, after, or the hash; `outcome` may be `failed`, which is all but `signed`.
    """

    since: datetime | None = None
    until: datetime | None = None
    caller_id: str | None = None
    caller_name: str | None = None
    seal_id: str | None = None
    external_id: str | None = None
    digest: str | None = None
    digest_after: str | None = None
    outcome: str | None = None
    before: int | None = None
    """Entries with smaller numbers only: the cursor of the next page."""


@dataclass(frozen=True, slots=True)
class Day:
    """Attempts of one day, UTC."""

    date: date
    signed: int
    failed: int


def cell(value: object) -> str:
    """A value as a cell of CSV: what a spreadsheet would take for a formula is text there."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    text = str(value)
    return f"'{text}" if text[:1] in _FORMULA else text
