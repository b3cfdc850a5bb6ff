"""The OpenAPI document (3.1), made from operations, wire models and problems."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from hashseal_core import protocol
from hashseal_core.problem import Problem
from hashseal_core.problems import TABLE, problem_of
from hashseal_server.web import examples
from hashseal_server.web.openapi import FORM, OPERATIONS, Link, Operation, first_line
from hashseal_server.web.shapes import FORMS, schemas

_ENCODER = msgspec.json.Encoder(decimal_format="string")
PROBLEM = "application/problem+json"
_SECURITY: dict[bool | str, list[dict[str, list[str]]]] = {
    True: [{"token": []}],
    False: [],
    "perhaps": [{}, {"token": []}],
}
"""An empty requirement makes the others optional (OpenAPI 3.1, 4.8.10.1)."""
_BINARY = {"type": "string", "format": "binary"}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "application/json": {"type": "object"},
    FORM: {"type": "object", "additionalProperties": {"type": "string"}},
}
"""Of bodies that are neither binary nor have a model."""
_ABOUT = """\
Receives hashes, never documents. Bodies are JSON, times are UTC, hashes and DER are standard base64
with padding. Unknown fields are refused in requests, and may appear in answers. Send a call
again with the same Idempotency-Key when its outcome is not known: it is charged once and answered
alike."""
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "Names this request in the service's log.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    },
    "Retry-After": {
        "description": "Seconds after which the same request may succeed.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "RateLimit-Limit": {
        "description": "Requests a minute.", "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "RateLimit-Remaining": {
        "description": "Requests left.", "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "RateLimit-Reset": {
        "description": "Seconds until there are more.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWW-Authenticate": {
        "description": "How to say who asks (RFC 6750, 3).", "schema": {"type": "string"},
    },
}  # fmt: skip


@cache
def document() -> bytes:
    """The document, JSON."""
    return _ENCODER.encode(content())


def content() -> dict[str, Any]:
    """The document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    codes = [{"code": row.code, "status": row.status, "title": row.title} for row in TABLE]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hashseal signing service",
            "version": "0.1.0",
            "description": _ABOUT,
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas(OPERATIONS, "#/components/schemas/{name}"),
            "headers": _HEADERS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token of the account.",
                }
            },
        },
        "x-problem-codes": codes,
    }


def codes_by_status(operation: Operation) -> dict[int, list[Problem]]:
    """The problems that an operation may answer with, by HTTP status."""
    found: dict[int, list[Problem]] = defaultdict(list)
    for error in operation.refusals:
        row = problem_of(error(""))
        found[row.status].append(row)
    return dict(sorted(found.items()))


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": {str(operation.status): _answer(operation)},
        "security": _security(operation),
    }
    if operation.cached:
        described["responses"]["304"] = {"description": "As you have it already (If-None-Match)"}
    for status, rows in codes_by_status(operation).items():
        described["responses"][str(status)] = _refusal(operation, status, rows)
    if operation.refusal is not protocol.ProblemDetails:
        refused = _content(operation.refusal, {})
        described["responses"]["default"] = {"description": "Refused", "content": refused}
    if operation.request is not None:
        given = examples.REQUESTS.get(operation.name, {})
        body = _content(operation.request, given)
        if operation.name in FORMS:
            body[FORM]["schema"] = FORMS[operation.name]
        described["requestBody"] = {"required": True, "content": body}
    return described


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    """A token with its scope; where OAuth2 is not named the scope is a role (4.8.30)."""
    roles: list[str] = [] if operation.scope is None else [operation.scope]
    return [dict.fromkeys(one, roles) for one in _SECURITY[operation.authenticated]]


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for part in operation.path.split("/"):
        if part.startswith("{"):
            name = part[1:-1]
            found.append({"name": name, "in": "path", "required": True, **examples.parameter(name)})
    for query in operation.queries:
        one: dict[str, Any] = {"name": query.name, "in": "query", "schema": dict(query.schema)}
        if query.summary:
            one["description"] = query.summary
        if query.required:
            one["required"] = True
        found.append(one)
    if operation.idempotent:
        described = {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "description": "A new one for each new call; the same one to repeat a call.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "example": examples.IDEMPOTENCY_KEY,
        }
        found.append(described)
    return found


def _answer(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"description": "Done"}
    if operation.answer is not None:
        given = examples.ANSWERS.get(operation.name, {})
        described["content"] = _content(operation.answer, given)
    if isinstance(operation.answer, type):
        described["headers"] = {"X-Request-Id": _header("X-Request-Id")}
    if operation.links:
        described["links"] = {
            f"{one.operation}-{number}": _link(one) for number, one in enumerate(operation.links, 1)
        }
    return described


def _link(link: Link) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": link.operation}
    if link.parameters:
        made["parameters"] = dict(link.parameters)
    if link.body is not None:
        made["requestBody"] = dict(link.body)
    if link.summary:
        made["description"] = link.summary
    return made


def _refusal(operation: Operation, status: int, rows: list[Problem]) -> dict[str, Any]:
    told = HTTPStatus(status).phrase
    if operation.refusal is not protocol.ProblemDetails:
        return {"description": told, "content": _content(operation.refusal, {})}
    headers = ["X-Request-Id"]
    if any(row.retryable for row in rows):
        headers.append("Retry-After")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers += ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append("WWW-Authenticate")
    schema = {
        "allOf": [
            _ref(protocol.ProblemDetails),
            {
                "properties": {
                    "status": {"const": status},
                    "code": {"enum": [row.code for row in rows]},
                }
            },
        ]
    }
    shown = {row.code: {"summary": row.title, "value": _problem(row)} for row in rows}
    return {
        "description": f"{told}: {', '.join(row.code for row in rows)}",
        "headers": {name: _header(name) for name in headers},
        "content": {PROBLEM: {"schema": schema, "examples": shown}},
    }


def _problem(row: Problem) -> protocol.ProblemDetails:
    return protocol.ProblemDetails(
        type=row.type,
        title=row.title,
        status=row.status,
        code=row.code,
        detail=first_line(row.error.__doc__),
        action=row.action,
        request_id=examples.REQUEST_ID,
        retryable=row.retryable,
    )


def _content(model: type[msgspec.Struct] | str, given: dict[str, Any]) -> dict[str, Any]:
    if isinstance(model, str):
        described: dict[str, Any] = {"schema": _SCHEMAS.get(model, _BINARY)}
    else:
        described = {"schema": _ref(model)}
    if given:
        described["examples"] = {name: {"value": value} for name, value in given.items()}
    return {model if isinstance(model, str) else "application/json": described}


def _ref(model: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _header(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/headers/{name}"}
