"""Wire models of the public API, shared by service and SDK (JSON; UTC times; standard base64).

Binary fields are `bytes`: msgspec writes and reads them as standard base64 with padding.
Unknown fields are refused in requests, since that is where a document would hide; clients accept
unknown fields in answers, so that the service can grow.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

MAX_BODY = 256 * 1024
MAX_HASHES = 1000
MAX_TIMESTAMP_QUERY = 4096
MAX_SERIALS = 64
CURSOR_PATTERN = "^[0-7][0-9a-f]{15}$"
"""A place in the signing log; clients send back what they were given."""

SerialText = Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]{0,48}$")]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Scopes = Annotated[
    tuple[Literal["sign", "read", "manage"], ...], msgspec.Meta(min_length=1, max_length=3)
]
Networks = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=2, max_length=49)], ...],
    msgspec.Meta(max_length=32),
]
OverlapHours = Annotated[int, msgspec.Meta(ge=0, le=720)]
HashBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=64)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all requests."""


class Answer(msgspec.Struct, frozen=True):
    """Base of all answers."""


class SignDocuments(Request, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/documents/sign`: hashes of prepared PDFs; all are signed, or none."""

    seal_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    hashes: Annotated[list[HashBytes], msgspec.Meta(min_length=1, max_length=MAX_HASHES)]
    hash_algorithm: Annotated[str, msgspec.Meta(max_length=32)] = "SHA-256"
    level: Annotated[str, msgspec.Meta(max_length=8)] = "B-LT"


class Timestamp(Answer, frozen=True):
    """An RFC 3161 token with its decoded content; `serial` is decimal."""

    token: bytes
    time: Instant
    serial: str
    policy: str
    accuracy_ms: int


class FileSignature(Answer, frozen=True):
    """One signed hash: `signature` is a DER SignedData, detached; `id` is its own."""

    id: str
    hash: bytes
    signature: bytes
    timestamp: Timestamp | None = None


class Validation(Answer, frozen=True):
    """Validation material, each element DER, complete for every chain of the answer."""

    certificates: list[bytes]
    ocsp_responses: list[bytes]
    crls: list[bytes]
    valid_until: Instant


class SealReference(Answer, frozen=True):
    """The seal that signed, and the SHA-256 of its appearance in hexadecimal, if it has one."""

    id: str
    appearance_digest: str | None = None


class Balance(Answer, frozen=True):
    """Calls left."""

    free: int
    paid: int


class SignedDocuments(Answer, frozen=True):
    """Answer of `POST /v1/documents/sign`; the order is that of the request."""

    id: str
    seal: SealReference
    signatures: list[FileSignature]
    charged: int
    balance: Balance
    validation: Validation | None = None


class TimestampDocument(Request, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/timestamps`: the document timestamp that belongs to an earlier signature."""

    hash: HashBytes
    signature_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    hash_algorithm: Annotated[str, msgspec.Meta(max_length=32)] = "SHA-256"


class TimestampedDocument(Answer, frozen=True):
    """Answer of `POST /v1/timestamps`."""

    timestamp: Timestamp
    validation: Validation


class CollectValidation(Request, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/validation`: fresh validation material for certificates, by serial (decimal)."""

    serials: Annotated[list[SerialText], msgspec.Meta(min_length=1, max_length=MAX_SERIALS)]


class CollectedValidation(Answer, frozen=True):
    """Answer of `POST /v1/validation`.

    `validation` is about all the certificates that are neither in `unknown` (not issued or held
    here) nor in `revoked`; it is absent when none is left.
    """

    unknown: list[str]
    revoked: list[str]
    validation: Validation | None = None


class Seal(Answer, frozen=True):
    """What a customer picks by its id.

    `signature_size` is the number of DER octets of the largest CMS that is ever sent for it;
    hexadecimal in `/Contents` doubles it. `certificates` is the chain, signing certificate first.
    `status` is `active`, `revoked` or `expired`.
    """

    id: str
    kind: str
    status: str
    subject: str
    algorithm: str
    signature_size: int
    valid_until: Instant
    certificates: list[bytes]
    levels: list[str]
    appearance_digest: str | None = None


class Seals(Answer, frozen=True):
    """`GET /v1/seals`."""

    seals: list[Seal]


class Account(Answer, frozen=True):
    """`GET /v1/account`."""

    id: str
    name: str
    entitlements: list[str]
    balance: Balance


class SignatureRecord(Answer, frozen=True):
    """One entry of the account's signing log; `hash` is the document's digest."""

    id: str
    call_id: str
    seal_id: str
    hash_algorithm: str
    hash: bytes
    level: str
    signed_at: Instant
    timestamp_serial: str | None = None


class SignatureRecords(Answer, frozen=True, omit_defaults=True):
    """`GET /v1/signatures`; `next` is the cursor for `after`, absent on the last page."""

    signatures: list[SignatureRecord]
    next: str | None = None


class UsageRow(Answer, frozen=True):
    """Calls of one day, seal and token; `amount` in US dollars for the paid ones."""

    day: str
    seal_id: str
    token_id: str
    calls: int
    free: int
    paid: int
    amount: Decimal


class OrderRow(Answer, frozen=True):
    """Calls bought; the unit price is fixed when the order is recorded (US dollars)."""

    id: str
    calls: int
    unit_price: Decimal
    amount: Decimal
    recorded_at: Instant


class Usage(Answer, frozen=True):
    """`GET /v1/usage?from=…&to=…`."""

    rows: list[UsageRow]
    orders: list[OrderRow]
    unit_price: Decimal
    balance: Balance


class ProblemDetails(Answer, frozen=True):
    """Problem details (RFC 9457) with our extensions."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    action: str
    request_id: str = ""
    field: str | None = None
    retryable: bool = False


class CreateToken(Request, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/tokens`: a personal token; `holder` is the person or program it belongs to.

    `scopes` are of `sign`, `read`, `manage`; `networks`, in CIDR notation, say from where it may be
    used, none from everywhere; `expires_in_days` null is never.
    """

    label: Name
    holder: Name | None = None
    scopes: Scopes = ("sign", "read")
    networks: Networks = ()
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = 365


class CreateClient(Request, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/clients`: an OAuth2 client; its access tokens have its scopes, or fewer."""

    label: Name
    scopes: Scopes = ("sign", "read")
    networks: Networks = ()


class RotateSecret(Request, frozen=True, forbid_unknown_fields=True):
    """A new secret; the one of before is good for `overlap_hours` more, 0 ends it at once."""

    overlap_hours: OverlapHours = 24


class RegenerateToken(Request, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/tokens/organisation/regenerate`: the secret of before ends at once, or later."""

    overlap_hours: OverlapHours = 0


class Token(Answer, frozen=True):
    """A token without its secret.

    `kind` is `organisation` or `personal`, `status` is `active`, `expired` or `revoked`.
    `last_used_at` may be some minutes behind. Until `earlier_until` the secret before the last
    rotation is good.
    """

    id: str
    kind: str
    status: str
    scopes: list[str]
    networks: list[str]
    created_at: Instant
    label: str | None = None
    holder: str | None = None
    expires_at: Instant | None = None
    last_used_at: Instant | None = None
    rotated_at: Instant | None = None
    earlier_until: Instant | None = None


class Tokens(Answer, frozen=True):
    """`GET /v1/tokens`: those that were not revoked."""

    tokens: list[Token]


class NewToken(Answer, frozen=True):
    """A token with its secret, which is shown this once."""

    secret: str
    token: Token


class Client(Answer, frozen=True):
    """An OAuth2 client without its secret; `status` is `active` or `revoked`."""

    id: str
    status: str
    scopes: list[str]
    networks: list[str]
    created_at: Instant
    label: str | None = None
    last_used_at: Instant | None = None
    rotated_at: Instant | None = None
    earlier_until: Instant | None = None


class Clients(Answer, frozen=True):
    """`GET /v1/clients`: those that were not revoked."""

    clients: list[Client]


class NewClient(Answer, frozen=True):
    """A client with its secret, which is shown this once."""

    client_id: str
    client_secret: str
    client: Client


class AccessToken(Answer, frozen=True):
    """Answer of `POST /oauth2/token` (RFC 6749, 5.1); `expires_in` is in seconds."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class OAuth2Error(Answer, frozen=True):
    """What the OAuth2 endpoints answer to a request that they refuse (RFC 6749, 5.2)."""

    error: str
    error_description: str
