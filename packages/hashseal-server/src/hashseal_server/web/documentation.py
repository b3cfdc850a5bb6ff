"""The page `/docs`: the API for people, one page without scripts, made from the same table."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from typing import Any

import msgspec

from hashseal_core.problems import TABLE
from hashseal_server.web.description import codes_by_status
from hashseal_server.web.openapi import OPERATIONS, Operation
from hashseal_server.web.shapes import schemas

STYLE = """
body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1b1f24;
background:#fff}
h1{font-size:1.6rem}h2{margin-top:2.5rem}h3{margin:2rem 0 .3rem;font-size:1rem}
code{font:.9em/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
div.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0}
th,td{border-bottom:1px solid #d0d7de}
b.verb{display:inline-block;min-width:3rem}a{color:#0b57d0}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}
th,td{border-color:#30363d}a{color:#79b8ff}}
"""


def policy() -> str:
    """The Content-Security-Policy: nothing but this very style."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'"


@cache
def page() -> bytes:
    """The page, UTF-8."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>Hashseal signing service: API</title><style>{STYLE}</style>",
        "<h1>Hashseal signing service</h1>",
        "<p>It receives hashes, never documents. Bodies are JSON, times are UTC, ",
        "hashes and DER are standard base64 with padding; unknown fields are refused. ",
        "Send the token as <code>Authorization: Bearer …</code>. For programs: ",
        "<a href='openapi.json'>openapi.json</a>.</p><h2>Operations</h2>",
        *(_operation(operation) for operation in OPERATIONS),
        "<h2>Bodies</h2>",
        *_models(),
        "<h2>Problems</h2><p>Errors are problem details (RFC 9457) with one of these codes.</p>",
        _table(
            ("code", "status", "what to do"),
            ((f"<code>{row.code}</code>", row.status, escape(row.action)) for row in TABLE),
        ),
        "</html>",
    ]
    return "".join(parts).encode()


def _operation(operation: Operation) -> str:
    scope = f"a token with the scope <code>{operation.scope}</code>"
    needs = [scope] if operation.authenticated else ["no token"]
    if operation.authenticated == "perhaps":
        needs = [f"{scope} if its timestamps are another authority's"]
    needs += ["an <code>Idempotency-Key</code>"] if operation.idempotent else []
    needs += [
        f"<code>?{one.name}=</code>" + ("" if one.required else " if wanted")
        for one in operation.queries
    ]
    request = f"{_link(operation.request)} → " if operation.request else ""
    verb, path = operation.method.upper(), escape(operation.path)
    return (
        f"<h3><b class=verb>{verb}</b> <code>{path}</code></h3>"
        f"{escape(operation.summary)}. <br>{request}{_link(operation.answer)}; {', '.join(needs)}."
        f"<br>Refusals: {_refusals(operation)}."
    )


def _refusals(operation: Operation) -> str:
    return "; ".join(
        f"{status} " + ", ".join(f"<code>{row.code}</code>" for row in rows)
        for status, rows in codes_by_status(operation).items()
    )


def _link(model: type[msgspec.Struct] | str | None) -> str:
    if model is None:
        return "nothing"
    if isinstance(model, str):
        return f"<code>{escape(model)}</code>"
    return f"<a href='#{model.__name__}'>{model.__name__}</a>"


def _models() -> Iterable[str]:
    for name, schema in schemas(OPERATIONS, "#{name}").items():
        required = schema.get("required", [])
        yield f"<h3 id='{name}'>{name}</h3>{escape(schema.get('description', ''))}"
        yield _table(
            ("field", "type", ""),
            (
                (
                    f"<code>{field}</code>",
                    _shape(kind),
                    "" if field in required else "may be left out",
                )
                for field, kind in schema.get("properties", {}).items()
            ),
        )


def _shape(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return f"<a href='{schema['$ref']}'>{schema['$ref'][1:]}</a>"
    if "anyOf" in schema:
        return " or ".join(_shape(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return "array of " + _shape(schema.get("items", {}))
    if schema.get("contentEncoding") == "base64":
        return "base64"
    return escape(str(schema.get("format", schema.get("type", "any"))))


def _table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{each}" for each in heads)
    lines = "".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows)
    return f"<div class=wide><table><tr>{head}{lines}</table></div>"
