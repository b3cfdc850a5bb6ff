"""JSON Schema of the wire models: what msgspec says of their types, and what it cannot say.

A program that makes requests from these schemas is refused for what only the service knows, such as
an id that is not there, and for nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from hashseal_core.algorithms import DigestAlgorithm, Level
from hashseal_server.web.openapi import Operation

_BASE64 = "[A-Za-z0-9+/]"
_ENDINGS = {0: "", 1: "[AQgw]==", 2: "[AEIMQUYcgkosw048]="}
"""By octets beyond a multiple of three: the last characters of canonical base64 (RFC 4648, 3.5)."""
_TRIPLES = f"({_BASE64}{{4}})*"
BASE64_PATTERN = f"^{_TRIPLES}({_BASE64}{_ENDINGS[1]}|{_BASE64}{{2}}{_ENDINGS[2]})?$"


def schemas(operations: Iterable[Operation], template: str) -> dict[str, dict[str, Any]]:
    """The schema of every model that these operations use, by its name."""
    models = {model for operation in operations for model in operation.models}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, found = msgspec.json.schema_components(ordered, ref_template=template)
    for name, more in _MORE.items():
        if name in found:
            found[name] = _with(found[name], more)
    return dict(sorted(found.items()))


def _with(schema: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with more in it; of objects in both, what is inside is joined."""
    joined = dict(schema)
    for name, value in more.items():
        if isinstance(value, Mapping) and isinstance(joined.get(name), Mapping):
            joined[name] = _with(joined[name], value)
        else:
            joined[name] = value
    return joined


def hash_pattern(algorithm: DigestAlgorithm) -> str:
    """A hash of this algorithm in standard base64 with padding."""
    whole, rest = divmod(algorithm.size, 3)
    return f"^{_BASE64}{{{4 * whole + rest}}}{_ENDINGS[rest]}$"


def _hash(algorithm: DigestAlgorithm) -> dict[str, Any]:
    """Not the hash of nothing, and not all zero."""
    empty = hashlib.new(algorithm.hashlib_name).digest()
    degenerate = [base64.b64encode(one).decode() for one in (bytes(algorithm.size), empty)]
    return {
        "type": "string",
        "pattern": hash_pattern(algorithm),
        "not": {"enum": degenerate},
    }


def _by_algorithm(field: str, *, several: bool) -> list[dict[str, Any]]:
    """One alternative for each hash algorithm; the first is taken when none is named."""
    found = []
    for algorithm in DigestAlgorithm:
        shape = _hash(algorithm)
        if several:
            shape = {"type": "array", "items": shape}
        named = {"hash_algorithm": {"const": algorithm.value}, field: shape}
        required = [] if algorithm is DigestAlgorithm.SHA256 else ["hash_algorithm"]
        found.append({"properties": named, "required": required})
    return found


_NAMED = {"label": {"format": "printable"}, "networks": {"items": {"format": "cidr"}}}
"""Formats of our own: characters that can be shown, not all blank; a network without host bits."""
_ALGORITHMS = {"enum": [one.value for one in DigestAlgorithm]}
_MORE: Mapping[str, Mapping[str, Any]] = {
    "CreateToken": {"properties": {**_NAMED, "holder": {"format": "printable"}}},
    "CreateClient": {"properties": _NAMED},
    "SignDocuments": {
        "properties": {
            "hash_algorithm": _ALGORITHMS,
            "level": {"enum": [one.value for one in Level]},
        },
        "oneOf": _by_algorithm("hashes", several=True),
    },
    "TimestampDocument": {
        "properties": {"hash_algorithm": _ALGORITHMS},
        "oneOf": _by_algorithm("hash", several=False),
    },
}
"""What a model's schema says beyond msgspec's: allowed values, and how fields belong together."""

_TEXT = {"type": "string", "minLength": 1}
_SHOWN = {"client_id": _TEXT, "client_secret": _TEXT}
FORMS: Mapping[str, Mapping[str, Any]] = {
    "getAccessToken": {
        "type": "object",
        "properties": {
            "grant_type": {"const": "client_credentials"},
            "scope": {"type": "string"},
            **_SHOWN,
        },
        "required": ["grant_type", *_SHOWN],
        "additionalProperties": False,
    },
    "revokeAccessToken": {
        "type": "object",
        "properties": {"token": _TEXT, "token_type_hint": {"type": "string"}, **_SHOWN},
        "required": ["token", *_SHOWN],
        "additionalProperties": False,
    },
}
FORMS = {
    **FORMS,
    **{
        f"csc{version}{name}": FORMS[f"{kind}AccessToken"]
        for version in ("V1", "V2")
        for name, kind in (("AccessToken", "get"), ("RevokeAccessToken", "revoke"))
    },
}
"""Forms by operation; a client may also show its secret by HTTP Basic (RFC 6749, 2.3.1)."""
