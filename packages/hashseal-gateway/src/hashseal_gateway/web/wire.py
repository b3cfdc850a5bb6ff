"""Wire models of the gateway's API (JSON; UTC times; digests are SHA-256, hexadecimal)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from hashseal.validation.report import Report
from hashseal_core.protocol import Answer, Request
from hashseal_gateway.seals.model import SealOptions
from hashseal_gateway.users.model import Role

MAX_SEALS = 200


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


class UserView(Answer, frozen=True):
    """Somebody who may log in, until `disabled_at`; no password, and nothing that is made of one.

    `has_totp`: an authenticator's code is asked for at log-in. `password_temporary`: the password
    is good for one log-in, at which the user chooses another.
    """

    id: str
    name: str
    role: Role
    created_at: datetime
    has_totp: bool
    password_temporary: bool
    disabled_at: datetime | None = None


class UserViews(Answer, frozen=True):
    """`GET /v1/users`, oldest first; `next` is the cursor for `after`, null on the last page."""

    users: list[UserView]
    next: str | None = None


class CreateUser(Request, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/users`.

    `name` is what is said at log-in: 1 to 64 of `A-Z a-z 0-9 . _ @ -`, kept in small letters.
    """

    name: str
    role: Role = Role.OPERATOR


class NewPassword(Answer, frozen=True):
    """A user, and the password for the next log-in, which is in no other answer."""

    user: UserView
    password: str


class ChangeUser(Request, frozen=True, forbid_unknown_fields=True):
    """`PATCH /v1/users/{name}`: all that is said is changed, or nothing.

    `disabled` ends every log-in; when it is taken back, the password is that of before.
    """

    role: Role | None = None
    disabled: bool | None = None


class KeyView(Answer, frozen=True):
    """An API key, without its text.

    `seals`: SealIDs that it may use; null is every seal. It lets nobody in from `revoked_at` or
    `expires_at` on. `used_at` is exact to five minutes.
    """

    id: str
    name: str
    role: Role
    created_at: datetime
    seals: list[str] | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None


class KeyViews(Answer, frozen=True):
    """`GET /v1/keys`, oldest first; `next` is the cursor for `after`, null on the last page."""

    keys: list[KeyView]
    next: str | None = None


class CreateKey(Request, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/keys`.

    `name` is the business system's, for the log, 1 to 64 characters. `seals` are SealIDs, not local
    names; without them the key may use every seal, those to come included.
    """

    name: str
    role: Role = Role.OPERATOR
    seals: (
        Annotated[
            list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]],
            msgspec.Meta(min_length=1, max_length=MAX_SEALS),
        ]
        | None
    ) = None
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class NewKey(Answer, frozen=True):
    """A key, and its text for `Authorization: Bearer`, which is in no other answer."""

    key: KeyView
    text: str


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
