"""The OpenAPI document, made from the wire models and one table of operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from hashseal_core import protocol
from hashseal_core.problems import TABLE
from hashseal_gateway.documents.options import DocumentOptions
from hashseal_gateway.web import wire
from hashseal_gateway.web.examples import EXAMPLES
from hashseal_gateway.web.upload import MULTIPART, PDF, ZIP

_QUERY_OF_A_DOCUMENT = (
    "seal", "level", "reason", "location", "contact", "appearance", "certify", "field_name",
    "external_id",
)  # fmt: skip
Kind: TypeAlias = type[msgspec.Struct] | str
MANAGING = "Needs a key with the role administrator that is not limited to some seals."
_BINARY = {"type": "string", "format": "binary"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `answers` by status: a wire model, a media type, or one of several.

    `manages`: for keys that manage users and keys.
    """

    method: str
    path: str
    name: str
    summary: str
    answers: Mapping[int, Kind | tuple[Kind, ...]]
    takes: tuple[Kind, ...] = ()
    authenticated: bool = True
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    required_headers: tuple[str, ...] = ()
    manages: bool = False


OPERATIONS = (
    Operation(
        "post", "/v1/documents", "signDocument",
        "Sign a PDF: the signed file at once, or 202 with Prefer: respond-async",
        {200: PDF, 202: wire.DocumentStatus}, takes=(PDF, MULTIPART),
        query=_QUERY_OF_A_DOCUMENT, headers=("Idempotency-Key", "Prefer"),
    ),
    Operation(
        "get", "/v1/documents/{document_id}", "showDocument", "Where a document is",
        {200: wire.DocumentStatus},
    ),
    Operation(
        "get", "/v1/documents/{document_id}/content", "fetchContent", "The signed file", {200: PDF},
    ),
    Operation(
        "post", "/v1/documents/{document_id}/redeliver", "redeliver",
        "Let a signed file be fetched once more", {200: wire.DocumentStatus},
    ),
    Operation(
        "post", "/v1/batches", "acceptBatch", "Have many PDFs signed",
        {202: wire.BatchStatus}, takes=(MULTIPART, ZIP), required_headers=("Idempotency-Key",),
        query=_QUERY_OF_A_DOCUMENT,
    ),
    Operation(
        "get", "/v1/batches/{batch_id}", "showBatch", "Progress of a batch",
        {200: wire.BatchStatus},
    ),
    Operation(
        "post", "/v1/verify", "verify", "A report on a signed PDF; a page with Accept: text/html",
        {200: (wire.Verification, "text/html")}, takes=(PDF, MULTIPART),
    ),
    Operation(
        "get", "/v1/seals", "listSeals", "Seals that the caller may use", {200: wire.SealViews},
    ),
    Operation(
        "put", "/v1/seals/{seal_id}/defaults", "setDefaults", "Name a seal; say its defaults",
        {200: wire.SealView}, takes=(wire.SetDefaults,),
    ),
    Operation(
        "get", "/v1/log", "searchLog", "Search the signing log; CSV with format=csv",
        {200: wire.LogPage},
        query=(
            "since", "until", "caller", "caller_name", "seal", "external_id", "digest", "outcome",
            "before", "limit", "format",
        ),
    ),
    Operation(
        "get", "/v1/users", "listUsers", "Who may log in", {200: wire.UserViews},
        query=("after", "limit"), manages=True,
    ),
    Operation(
        "post", "/v1/users", "createUser", "Make a user; the first password is shown once",
        {201: wire.NewPassword}, takes=(wire.CreateUser,), manages=True,
    ),
    Operation(
        "get", "/v1/users/{name}", "showUser", "One user", {200: wire.UserView}, manages=True,
    ),
    Operation(
        "patch", "/v1/users/{name}", "changeUser", "Another role; in no more, or in again",
        {200: wire.UserView}, takes=(wire.ChangeUser,), manages=True,
    ),
    Operation(
        "post", "/v1/users/{name}/password", "resetPassword",
        "Another password for one log-in, shown once; log-ins of before end",
        {200: wire.NewPassword}, manages=True,
    ),
    Operation(
        "delete", "/v1/users/{name}/totp", "removeTotp", "Ask for no authenticator's code any more",
        {200: wire.UserView}, manages=True,
    ),
    Operation(
        "get", "/v1/keys", "listKeys", "API keys, without their texts", {200: wire.KeyViews},
        query=("after", "limit"), manages=True,
    ),
    Operation(
        "post", "/v1/keys", "createKey", "Make an API key; its text is shown once",
        {201: wire.NewKey}, takes=(wire.CreateKey,), manages=True,
    ),
    Operation(
        "get", "/v1/keys/{key_id}", "showKey", "One key", {200: wire.KeyView}, manages=True,
    ),
    Operation(
        "delete", "/v1/keys/{key_id}", "revokeKey", "Let nobody in with a key any more",
        {200: wire.KeyView}, manages=True,
    ),
    Operation(
        "get", "/healthz", "health", "The process is alive", {200: wire.Alive},
        authenticated=False,
    ),
    Operation(
        "get", "/readyz", "ready", "The database answers; what the service says",
        {200: wire.Ready, 503: wire.Ready}, authenticated=False,
    ),
    Operation(
        "get", "/metrics", "metrics", "Figures of this process for Prometheus",
        {200: "text/plain"}, authenticated=False,
    ),
    Operation(
        "get", "/openapi.json", "openapi", "The API for programs, OpenAPI 3.1",
        {200: "application/json"}, authenticated=False,
    ),
)  # fmt: skip


def models() -> list[type[msgspec.Struct]]:
    """Every model of the API, by name."""
    found: set[type[msgspec.Struct]] = {
        model
        for operation in OPERATIONS
        for kinds in (*operation.answers.values(), operation.takes)
        for model in each(kinds)
        if isinstance(model, type)
    } | {protocol.ProblemDetails, DocumentOptions}
    return sorted(found, key=lambda model: model.__name__)


def document() -> bytes:
    """The document, OpenAPI 3.1, JSON."""
    _, components = msgspec.json.schema_components(
        models(), ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    codes = [{"code": row.code, "status": row.status, "title": row.title} for row in TABLE]
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Hashseal gateway",
                "version": "0.1.0",
                "description": "PDF in, signed PDF out; documents stay on the premises.",
            },
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            },
            "x-problem-codes": codes,
        }
    )


def _described(operation: Operation) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in operation.path.split("/")
        if part.startswith("{")
    ]
    for where, names, required in (
        ("query", operation.query, False),
        ("header", operation.headers, False),
        ("header", operation.required_headers, True),
    ):
        parameters += [
            {"name": name, "in": where, "required": required, "schema": {"type": "string"}}
            for name in names
        ]
    responses: dict[str, Any] = {
        str(status): {"description": operation.summary, "content": _contents(kinds)}
        for status, kinds in operation.answers.items()
    }
    responses["default"] = {
        "description": "Problem details",
        "content": {"application/problem+json": {"schema": _reference(protocol.ProblemDetails)}},
    }
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
        "security": [{"key": []}] if operation.authenticated else [],
    }
    if operation.manages:
        described["description"] = MANAGING
    if operation.takes:
        described["requestBody"] = {"required": True, "content": _contents(operation.takes)}
    return described


def each(kinds: Kind | tuple[Kind, ...]) -> tuple[Kind, ...]:
    """One kind or several, as several."""
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _contents(kinds: Kind | tuple[Kind, ...]) -> dict[str, Any]:
    return {media: content for one in each(kinds) for media, content in _content(one).items()}


def _content(model: type[msgspec.Struct] | str) -> dict[str, Any]:
    if not isinstance(model, str):
        content: dict[str, Any] = {"schema": _reference(model)}
        if model in EXAMPLES:
            content["example"] = EXAMPLES[model]
        return {"application/json": content}
    if model == MULTIPART:
        properties = {"document": _BINARY, "options": _reference(DocumentOptions)}
        schema = {"type": "object", "properties": properties, "required": ["document"]}
        return {model: {"schema": schema}}
    if model.startswith("text/"):
        return {model: {"schema": {"type": "string"}}}
    return {model: {"schema": {"type": "object"} if model == "application/json" else _BINARY}}


def _reference(model: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
