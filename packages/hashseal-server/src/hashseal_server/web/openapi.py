"""The OpenAPI document, made from the wire models and one table of operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from hashseal_core import protocol
from hashseal_core.problems import TABLE

_BINARY = {"type": "string", "format": "binary"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `answer` is a wire model or a media type."""

    method: str
    path: str
    name: str
    summary: str
    answer: type[msgspec.Struct] | str
    request: type[msgspec.Struct] | str | None = None
    authenticated: bool = True
    idempotent: bool = False
    query: tuple[str, ...] = ()


OPERATIONS = (
    Operation(
        "post", "/v1/documents/sign", "signDocuments", "Sign hashes of prepared PDF documents",
        protocol.SignedDocuments, protocol.SignDocuments, idempotent=True,
    ),
    Operation(
        "post", "/v1/timestamps", "timestampDocument", "Take a signature's document timestamp",
        protocol.TimestampedDocument, protocol.TimestampDocument, idempotent=True,
    ),
    Operation(
        "post", "/v1/validation", "collectValidation",
        "Collect fresh validation material for certificates that signed before",
        protocol.CollectedValidation, protocol.CollectValidation,
    ),
    Operation("get", "/v1/seals", "listSeals", "List the account's seals", protocol.Seals),
    Operation("get", "/v1/seals/{seal_id}", "showSeal", "Show one seal", protocol.Seal),
    Operation("get", "/v1/account", "showAccount", "Show account and balance", protocol.Account),
    Operation(
        "get", "/v1/signatures", "listSignatures", "Page through the signing log",
        protocol.SignatureRecords, query=("after",),
    ),
    Operation(
        "get", "/v1/signatures/{signature_id}", "showSignature", "Show one signature",
        protocol.SignatureRecord,
    ),
    Operation(
        "get", "/v1/usage", "showUsage", "Calls and charges by day, seal and token",
        protocol.Usage, query=("from", "to"),
    ),
    Operation("get", "/v1/orders/{order_id}", "showOrder", "Show one order", protocol.OrderRow),
    Operation(
        "post", "/tsa", "timestamp", "RFC 3161 timestamp authority",
        "application/timestamp-reply", "application/timestamp-query", authenticated=False,
    ),
    Operation(
        "post", "/ocsp", "status", "RFC 6960 certificate status",
        "application/ocsp-response", "application/ocsp-request", authenticated=False,
    ),
    Operation(
        "get", "/ocsp/{encoded}", "statusByAddress", "RFC 6960 certificate status",
        "application/ocsp-response", authenticated=False,
    ),
    Operation(
        "get", "/crl/{name}", "revocationList", "Revocation list of an authority",
        "application/pkix-crl", authenticated=False,
    ),
    Operation(
        "get", "/certs/{name}", "issuerCertificate", "Certificate of an authority",
        "application/pkix-cert", authenticated=False,
    ),
    Operation(
        "get", "/healthz", "health", "The process is alive", "application/json",
        authenticated=False,
    ),
    Operation(
        "get", "/readyz", "ready", "Key store and database answer", "application/json",
        authenticated=False,
    ),
    Operation(
        "get", "/metrics", "metrics", "Figures of this process for Prometheus", "text/plain",
        authenticated=False,
    ),
    Operation(
        "get", "/openapi.json", "openapi", "The API for programs, OpenAPI 3.1",
        "application/json", authenticated=False,
    ),
    Operation(
        "get", "/docs", "docs", "The API for people", "text/html", authenticated=False,
    ),
)  # fmt: skip


def first_line(text: str | None) -> str:
    """The first line of a description, without the marks of code."""
    return (text or "").strip().partition("\n")[0]


def document() -> bytes:
    """The document, OpenAPI 3.1, JSON."""
    models = {
        model
        for operation in OPERATIONS
        for model in (operation.answer, operation.request)
        if isinstance(model, type)
    } | {protocol.ProblemDetails}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    codes = [{"code": row.code, "status": row.status, "title": row.title} for row in TABLE]
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Hashseal signing service",
                "version": "0.1.0",
                "description": "Receives hashes, never documents.",
            },
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
            "x-problem-codes": codes,
        }
    )


def _operation(operation: Operation) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in operation.path.split("/")
        if part.startswith("{")
    ]
    parameters += [
        {"name": name, "in": "query", "schema": {"type": "string"}} for name in operation.query
    ]
    if operation.idempotent:
        pattern = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
        parameters.append(
            {"name": "Idempotency-Key", "in": "header", "required": True, "schema": pattern}
        )
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done", "content": _content(operation.answer)},
            "default": {
                "description": "Problem details",
                "content": {"application/problem+json": {"schema": _ref(protocol.ProblemDetails)}},
            },
        },
        "security": [{"token": []}] if operation.authenticated else [],
    }
    if operation.request is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.request)}
    return described


def _content(model: type[msgspec.Struct] | str) -> dict[str, Any]:
    if isinstance(model, str):
        schema = {"type": "object"} if model == "application/json" else _BINARY
        return {model: {"schema": schema}}
    return {"application/json": {"schema": _ref(model)}}


def _ref(model: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
