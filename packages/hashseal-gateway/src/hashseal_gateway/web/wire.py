"""Wire models of the gateway's API (JSON; UTC times; digests are SHA-256, hexadecimal)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from hashseal.validation.report import Report
from hashseal_core.protocol import Answer, Request
from hashseal_gateway.seals.model import SealOptions


class DocumentProblem(Answer, frozen=True):
    """Why a document waits or failed; `retryable` ones are tried again by themselves."""

    code: str
    detail: str
    action: str
    retryable: bool


class DocumentStatus(Answer, frozen=True):
    """`GET /v1/documents/{id}`.

    `state`: `accepted`, `waiting` (for what `problem` says), `signed`, `delivered` (fetched),
    `expired`, `failed`; for a document that was signed at once `answered`, or `open` if it was not.
    """

    id: str
    state: str
    created_at: datetime
    digest_before: str
    size_before: int
    status_url: str
    external_id: str | None = None
    name: str | None = None
    batch_id: str | None = None
    seal_id: str | None = None
    level: str | None = None
    signature_id: str | None = None
    digest_after: str | None = None
    size_after: int | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    findings: tuple[str, ...] = ()
    problem: DocumentProblem | None = None
    content_url: str | None = None


class BatchStatus(Answer, frozen=True):
    """`POST /v1/batches` and `GET /v1/batches/{id}`: progress, and a result for each document."""

    id: str
    status_url: str
    documents: list[DocumentStatus]
    total: int
    signed: int
    failed: int
    pending: int


class SealView(Answer, frozen=True):
    """A seal that the caller may use; `name` and `defaults` are the company's own."""

    id: str
    kind: str
    status: str
    subject: str
    valid_until: datetime
    levels: list[str]
    name: str | None = None
    defaults: SealOptions = SealOptions()


class SealViews(Answer, frozen=True):
    """`GET /v1/seals`."""

    seals: list[SealView]


class SetDefaults(Request, frozen=True, forbid_unknown_fields=True):
    """`PUT /v1/seals/{id}/defaults`: takes the place of what was said before."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=63)] | None = None
    defaults: SealOptions = SealOptions()


class LogEntry(Answer, frozen=True):
    """One attempt to have one document signed; `outcome` is `signed` or the code of a problem."""

    number: int
    at: datetime
    document_id: str
    caller_kind: str
    caller_id: str
    caller_name: str
    way: str
    level: str
    outcome: str
    digest_before: str
    milliseconds: int
    external_id: str | None = None
    seal_id: str | None = None
    digest_after: str | None = None
    hash: str | None = None
    signature_id: str | None = None


class LogPage(Answer, frozen=True):
    """`GET /v1/log`, newest first; `next` is the cursor for `before`, absent on the last page."""

    entries: list[LogEntry]
    next: int | None = None


class Verification(Answer, frozen=True):
    """`POST /v1/verify`."""

    digest: str
    size: int
    report: Report


class Ready(Answer, frozen=True):
    """`GET /readyz`: each part answers `ok`, or the code of its problem."""

    ready: bool
    database: str
    service: str


class Alive(Answer, frozen=True):
    """`GET /healthz`."""

    alive: bool = True
