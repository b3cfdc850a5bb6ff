"""The operations of the API, one row each: documents, pages and tests are made from this table.

A new route needs a row here, examples in `web.examples`, and a row in the matrix of tenants
(`tests/judging/tenants.py`); tests say so if one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from hashseal_core import csc, errors, events, protocol

Error = type[errors.HashsealError]
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Link:
    """What a caller may do next with an answer (OpenAPI 3.1, 4.8.20).

    `parameters` and `body` hold runtime expressions, such as `$response.body#/id`.
    """

    operation: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """One query parameter; `schema` is JSON Schema."""

    name: str
    summary: str = ""
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `answer` is a wire model, a media type, or None for an answer without a body.

    Of an operation that is authenticated "perhaps", the operator's settings decide.

    Attributes:
        refuses: the errors of its own; those that every operation of its kind may answer with
            (see `usual`) are not named again.
        scope: what the token must be allowed to do.
        refusal: the shape of errors, `ProblemDetails` or that of another protocol.
        status: of success.
        cached: answers 304 to who has the newest answer already (RFC 9110, 15.4.5).
    """

    method: str
    path: str
    name: str
    summary: str
    answer: type[msgspec.Struct] | str | None
    request: type[msgspec.Struct] | str | None = None
    authenticated: bool | Literal["perhaps"] = True
    idempotent: bool = False
    scope: Literal["sign", "read", "manage"] | None = None
    query: tuple[str | Query, ...] = ()
    refuses: tuple[Error, ...] = ()
    links: tuple[Link, ...] = ()
    refusal: type[msgspec.Struct] = protocol.ProblemDetails
    status: int = 200
    cached: bool = False

    @property
    def queries(self) -> tuple[Query, ...]:
        """Its query parameters."""
        return tuple(one if isinstance(one, Query) else Query(one) for one in self.query)

    @property
    def models(self) -> tuple[type[msgspec.Struct], ...]:
        """The wire models that it takes or answers with."""
        found = (self.request, self.answer, self.refusal)
        return tuple(one for one in found if isinstance(one, type))

    @property
    def refusals(self) -> tuple[Error, ...]:
        """Every error that it may answer with."""
        return tuple(dict.fromkeys((*usual(self), *self.refuses)))


def usual(operation: Operation) -> tuple[Error, ...]:
    """The errors that any operation of this kind may answer with."""
    found: list[Error] = [errors.Internal]
    if operation.authenticated:
        found += [errors.TokenMissing, errors.TokenInvalid, errors.RateLimited]
        found += [errors.Overloaded, errors.StorageUnavailable]
        found += [errors.ScopeMissing, errors.AddressNotAllowed]
    if isinstance(operation.request, type):
        found += [errors.MalformedRequest, errors.UnknownField, errors.InvalidValue]
        found += [errors.BodyTooLarge, errors.UnsupportedMediaType, errors.DocumentRefused]
    elif operation.request not in {None, FORM}:
        found += [errors.MalformedRequest, errors.UnsupportedMediaType]
    if operation.idempotent:
        found += [errors.IdempotencyKeyMissing, errors.IdempotencyKeyInvalid]
        found += [errors.IdempotencyKeyReused]
    if operation.query:
        found.append(errors.InvalidValue)
    if "{" in operation.path:
        found.append(errors.NotFound)
    return tuple(found)


_HASH: tuple[Error, ...] = (
    errors.HashLength, errors.WeakAlgorithm, errors.UnsupportedAlgorithm, errors.DegenerateHash,
)  # fmt: skip
_KEYS: tuple[Error, ...] = (
    errors.KeystoreUnavailable, errors.KeystoreRefused, errors.FaultySignature,
)  # fmt: skip
_PROOF: tuple[Error, ...] = (errors.TimestampUnavailable, errors.EvidenceUnavailable)
_STATUS: tuple[Error, ...] = (
    errors.StorageUnavailable, errors.KeystoreUnavailable, errors.EvidenceUnavailable,
)  # fmt: skip
_SEAL = {"seal_id": "$response.body#/seal_id"}
_EVENTS = (
    Query("after", "`next` of the answer before; without it, from the beginning."),
    Query(
        "wait", "Seconds to wait for something.", {"type": "integer", "minimum": 0, "maximum": 30}
    ),
)
_CSC: tuple[Error, ...] = (errors.InvalidRequest, errors.Denied, errors.Unavailable)
"""Codes of the CSC API are its own; these are there for their statuses."""
_DAY = {"type": "string", "format": "date"}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "post", "/v1/documents/sign", "signDocuments", "Sign hashes of prepared PDF documents",
        protocol.SignedDocuments, protocol.SignDocuments, idempotent=True, scope="sign",
        refuses=(
            *_HASH, *_KEYS, *_PROOF, errors.EntitlementMissing, errors.QuotaExhausted,
            errors.SealNotFound, errors.SealRevoked, errors.SealExpired,
            errors.LevelUnavailable,
        ),
        links=(
            Link("showSignature", {"signature_id": "$response.body#/signatures/0/id"}),
            Link("showSeal", {"seal_id": "$response.body#/seal/id"}),
            Link(
                "timestampDocument",
                body={"signature_id": "$response.body#/signatures/0/id"},
                summary="For level B-LTA, over the file with its validation material.",
            ),
        ),
    ),
    Operation(
        "post", "/v1/timestamps", "timestampDocument", "Take a signature's document timestamp",
        protocol.TimestampedDocument, protocol.TimestampDocument, idempotent=True, scope="sign",
        refuses=(
            *_HASH, *_KEYS, *_PROOF, errors.EntitlementMissing, errors.SignatureNotFound,
            errors.FollowUpUsed,
        ),
    ),
    Operation(
        "post", "/v1/validation", "collectValidation",
        "Collect fresh validation material for certificates that signed before",
        protocol.CollectedValidation, protocol.CollectValidation, scope="sign",
        refuses=(errors.EvidenceUnavailable, errors.KeystoreUnavailable),
    ),
    Operation(
        "get", "/v1/seals", "listSeals", "List the account's seals", protocol.Seals, scope="read",
        links=(
            Link("showSeal", {"seal_id": "$response.body#/seals/0/id"}),
            Link("signDocuments", body={"seal_id": "$response.body#/seals/0/id"}),
        ),
    ),
    Operation(
        "get", "/v1/seals/{seal_id}", "showSeal", "Show one seal", protocol.Seal, scope="read",
        refuses=(errors.SealNotFound,),
        links=(Link("signDocuments", body={"seal_id": "$response.body#/id"}),),
    ),
    Operation(
        "get", "/v1/account", "showAccount", "Show account and balance", protocol.Account,
        scope="read",
    ),
    Operation(
        "get", "/v1/seals/{seal_id}/appearance", "showAppearance",
        "Show a seal's picture: outlines only, always the same octets", "image/svg+xml",
        scope="read", cached=True, refuses=(errors.SealNotFound, errors.CharacterUndrawable),
    ),
    Operation(
        "get", "/v1/signatures", "listSignatures", "Page through the signing log",
        protocol.SignatureRecords, scope="read",
        query=(
            Query(
                "after", "`next` of the page before.",
                {"type": "string", "pattern": protocol.CURSOR_PATTERN},
            ),
        ),
        links=(
            Link("showSignature", {"signature_id": "$response.body#/signatures/0/id"}),
            Link("listSignatures", {"after": "$response.body#/next"}, summary="The next page."),
        ),
    ),
    Operation(
        "get", "/v1/signatures/{signature_id}", "showSignature", "Show one signature",
        protocol.SignatureRecord, scope="read", refuses=(errors.SignatureNotFound,),
        links=(
            Link("showSeal", _SEAL),
            Link("timestampDocument", body={"signature_id": "$response.body#/id"}),
        ),
    ),
    Operation(
        "get", "/v1/usage", "showUsage", "Calls and charges by day, seal and token",
        protocol.Usage, scope="read",
        query=(
            Query("from", "The first day, UTC.", _DAY),
            Query("to", "The last day, UTC; today if it is left out.", _DAY),
        ),
        links=(
            Link("showOrder", {"order_id": "$response.body#/orders/0/id"}),
            Link("showSeal", {"seal_id": "$response.body#/rows/0/seal_id"}),
        ),
    ),
    Operation(
        "get", "/v1/orders/{order_id}", "showOrder", "Show one order", protocol.OrderRow,
        scope="read",
    ),
    Operation(
        "get", "/v1/tokens", "listTokens", "List the account's tokens", protocol.Tokens,
        scope="manage", links=(Link("rotateToken", {"token_id": "$response.body#/tokens/0/id"}),),
    ),
    Operation(
        "post", "/v1/tokens", "createToken", "Make a personal token; its secret is shown once",
        protocol.NewToken, protocol.CreateToken, scope="manage", refuses=(errors.LimitReached,),
        links=(
            Link("rotateToken", {"token_id": "$response.body#/token/id"}),
            Link("revokeToken", {"token_id": "$response.body#/token/id"}),
        ),
    ),
    Operation(
        "post", "/v1/tokens/organisation/regenerate", "regenerateToken",
        "Make the account's own token, or give it a new secret",
        protocol.NewToken, protocol.RegenerateToken, scope="manage",
        refuses=(errors.LimitReached,),
    ),
    Operation(
        "post", "/v1/tokens/{token_id}/rotate", "rotateToken", "Give a token a new secret",
        protocol.NewToken, protocol.RotateSecret, scope="manage",
    ),
    Operation(
        "post", "/v1/tokens/{token_id}/revoke", "revokeToken", "Refuse a token from now on",
        protocol.Token, scope="manage",
    ),
    Operation(
        "get", "/v1/clients", "listClients", "List the account's OAuth2 clients",
        protocol.Clients, scope="manage",
        links=(Link("rotateClient", {"client_id": "$response.body#/clients/0/id"}),),
    ),
    Operation(
        "post", "/v1/clients", "createClient", "Make an OAuth2 client; its secret is shown once",
        protocol.NewClient, protocol.CreateClient, scope="manage", refuses=(errors.LimitReached,),
        links=(
            Link("rotateClient", {"client_id": "$response.body#/client_id"}),
            Link("revokeClient", {"client_id": "$response.body#/client_id"}),
        ),
    ),
    Operation(
        "post", "/v1/clients/{client_id}/rotate", "rotateClient",
        "Give an OAuth2 client a new secret",
        protocol.NewClient, protocol.RotateSecret, scope="manage",
    ),
    Operation(
        "post", "/v1/clients/{client_id}/revoke", "revokeClient",
        "Refuse an OAuth2 client and its access tokens from now on",
        protocol.Client, scope="manage",
    ),
    Operation(
        "post", "/oauth2/token", "getAccessToken",
        "Access token for an OAuth2 client, by its id and secret (RFC 6749, 4.4)",
        protocol.AccessToken, FORM, authenticated=False, refusal=protocol.OAuth2Error,
        refuses=(errors.InvalidRequest, errors.ClientInvalid),
    ),
    Operation(
        "post", "/oauth2/revoke", "revokeAccessToken",
        "End an access token of the OAuth2 client that asks (RFC 7009)",
        "application/json", FORM, authenticated=False, refusal=protocol.OAuth2Error,
        refuses=(errors.InvalidRequest, errors.ClientInvalid),
    ),
    Operation(
        "get", "/v1/events", "listEvents", "Read what happened behind a cursor, or wait for it",
        events.Events, query=_EVENTS, scope="read", refuses=(errors.EventsForgotten,),
    ),
    Operation(
        "get", "/v1/webhooks", "listWebhooks", "List the webhooks", events.Webhooks,
        scope="manage",
    ),
    Operation(
        "post", "/v1/webhooks", "createWebhook", "Have an address called; its secret is shown once",
        events.WebhookSecret, events.CreateWebhook, scope="manage",
        refuses=(errors.WebhookRefused,),
    ),
    Operation(
        "get", "/v1/webhooks/{webhook_id}", "showWebhook", "Show one webhook", events.Webhook,
        scope="manage",
    ),
    Operation(
        "patch", "/v1/webhooks/{webhook_id}", "updateWebhook", "Change, enable, disable a webhook",
        events.Webhook, events.UpdateWebhook, scope="manage",
        refuses=(errors.WebhookRefused,),
    ),
    Operation(
        "delete", "/v1/webhooks/{webhook_id}", "removeWebhook", "Remove a webhook", events.Removed,
        scope="manage",
    ),
    Operation(
        "post", "/v1/webhooks/{webhook_id}/secret", "rotateWebhookSecret",
        "Replace a webhook's secret", events.WebhookSecret, events.RotateWebhookSecret,
        scope="manage",
    ),
    Operation(
        "post", "/v1/webhooks/{webhook_id}/test", "testWebhook", "Send a test event to a webhook",
        events.Event, scope="manage",
        refuses=(errors.WebhookRefused,),
    ),
    Operation(
        "get", "/v1/webhooks/{webhook_id}/deliveries", "listDeliveries",
        "What became of the events of a webhook, newest first", events.Deliveries,
        query=(Query("after", "`next` of the page before."),), scope="manage",
    ),
    Operation(
        "post", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", "redeliver",
        "Send an event to a webhook again", events.Delivery, scope="manage",
        refuses=(errors.WebhookRefused,),
    ),
    Operation(
        "post", "/tsa", "timestamp", "RFC 3161 timestamp authority",
        "application/timestamp-reply", "application/timestamp-query", authenticated="perhaps",
        scope="sign",
        refuses=(errors.TimestampUnavailable, errors.TimestampInvalid),
    ),
    Operation(
        "post", "/ocsp", "status", "RFC 6960 certificate status",
        "application/ocsp-response", "application/ocsp-request", authenticated=False,
        refuses=_STATUS,
    ),
    Operation(
        "get", "/ocsp/{encoded}", "statusByAddress", "RFC 6960 certificate status",
        "application/ocsp-response", authenticated=False, cached=True, refuses=_STATUS,
    ),
    Operation(
        "get", "/crl/{name}", "revocationList", "Revocation list of an authority",
        "application/pkix-crl", authenticated=False, cached=True, refuses=_STATUS,
    ),
    Operation(
        "get", "/certs/{name}", "issuerCertificate", "Certificate of an authority",
        "application/pkix-cert", authenticated=False, cached=True,
        refuses=(errors.StorageUnavailable,),
    ),
    Operation(
        "get", "/healthz", "health", "The process is alive", "application/json",
        authenticated=False,
    ),
    Operation(
        "get", "/readyz", "ready", "Key store and database answer", "application/json",
        authenticated=False, refuses=(errors.StorageUnavailable, errors.KeystoreUnavailable),
    ),
    Operation(
        "get", "/metrics", "metrics", "Figures of this process for Prometheus", "text/plain",
        authenticated=False, refuses=(errors.StorageUnavailable,),
    ),
    Operation(
        "get", "/openapi.json", "openapi", "The API for programs, OpenAPI 3.1",
        "application/json", authenticated=False,
    ),
    Operation(
        "get", "/docs", "docs", "The API for people", "text/html", authenticated=False,
    ),
)  # fmt: skip


def _csc(version: str) -> tuple[Operation, ...]:
    """The CSC API in one version."""
    rows: tuple[tuple[str, str, type[msgspec.Struct], type[msgspec.Struct], str | None], ...] = (
        ("info", "What the CSC API offers here", csc.CscInfoRequest, csc.CscInfo, None),
        ("credentials/list", "List credentials", csc.CscListRequest, csc.CscCredentials, "read"),
        (
            "credentials/info", "Show one credential", csc.CscCredentialRequest,
            csc.CscCredential, "read",
        ),
        (
            "credentials/authorize", "Authorise hashes to be signed", csc.CscAuthorizeRequest,
            csc.CscSad, "sign",
        ),
        (
            "credentials/extendTransaction", "Authorise more hashes", csc.CscExtendRequest,
            csc.CscSad, "sign",
        ),
        (
            "signatures/signDoc", "Sign hashes of documents", csc.CscSignDocRequest,
            csc.CscSignedDocuments, "sign",
        ),
        (
            "signatures/signHash", "Sign hashes themselves, with raw credentials",
            csc.CscSignHashRequest, csc.CscSignedHashes, "sign",
        ),
        (
            "signatures/timestamp", "Take a signature's document timestamp",
            csc.CscTimestampRequest, csc.CscTimestamp, "sign",
        ),
    )  # fmt: skip
    oauth2 = tuple(
        Operation(
            "post", f"/csc/{version}/oauth2/{method}", f"csc{version.upper()}{name}",
            f"{summary} (CSC API {csc.SPECIFICATIONS[version]})", answer, FORM,
            authenticated=False, refusal=protocol.OAuth2Error, status=200 if answer else 204,
            refuses=(errors.InvalidRequest, errors.ClientInvalid),
        )
        for method, name, summary, answer in (
            ("token", "AccessToken", "Access token for an OAuth2 client", protocol.AccessToken),
            ("revoke", "RevokeAccessToken", "End an access token", None),
        )
    )  # fmt: skip
    return oauth2 + tuple(
        Operation(
            "post",
            f"/csc/{version}/{method}",
            f"csc{version.upper()}"
            + "".join(part[:1].upper() + part[1:] for part in method.split("/")),
            f"{summary} (CSC API {csc.SPECIFICATIONS[version]})",
            answer,
            request,
            authenticated=scope is not None,
            scope=scope,  # type: ignore[arg-type]
            refusal=csc.CscError,
            refuses=_CSC,
        )
        for method, summary, request, answer, scope in rows
    )


OPERATIONS += _csc(csc.V1) + _csc(csc.V2)


def first_line(text: str | None) -> str:
    """The first line of a description, without the marks of code."""
    return (text or "").strip().partition("\n")[0]
