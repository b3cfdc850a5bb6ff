"""The service's own OpenAPI document, read as a client reads it, and what it says of an answer.

Schemas are judged by `jsonschema`, which knows nothing of the wire models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from jsonschema import Draft202012Validator, FormatChecker

from hashseal_server.web.description import document

_PLACES = {"{encoded}": "(.+)"}
"""Places that may hold a slash."""
ANY_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Described:
    """One operation of the document."""

    method: str
    path: str
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.content["operationId"])

    @property
    def parameters(self) -> list[Mapping[str, Any]]:
        return list(self.content["parameters"])

    @property
    def needs_token(self) -> bool:
        """Nobody is served without a token."""
        security = self.content["security"]
        return bool(security) and {} not in security

    @property
    def success(self) -> int:
        return min(int(status) for status in self.content["responses"] if status.isdigit())

    def examples(self) -> dict[str, Any]:
        """Bodies of requests, by name; of the JSON or form that it takes."""
        for content in self.content.get("requestBody", {}).get("content", {}).values():
            return {name: one["value"] for name, one in content.get("examples", {}).items()}
        return {}

    @property
    def media_type(self) -> str | None:
        """That of its request."""
        return next(iter(self.content.get("requestBody", {}).get("content", {})), None)

    def fits(self, method: str, path: str) -> bool:
        pattern = "".join(
            _PLACES.get(part, "([^/]+)") if ANY_PLACE.fullmatch(part) else re.escape(part)
            for part in re.split(r"(\{\w+\})", self.path)
        )
        return method.lower() == self.method and re.fullmatch(pattern, path) is not None


@cache
def content() -> Mapping[str, Any]:
    """The document."""
    found: Mapping[str, Any] = msgspec.json.decode(document())
    return found


@cache
def operations() -> tuple[Described, ...]:
    """Every operation; those without a place in their path come first."""
    found = [
        Described(method, path, one)
        for path, methods in content()["paths"].items()
        for method, one in methods.items()
    ]
    return tuple(sorted(found, key=lambda one: "{" in one.path))


def named(name: str) -> Described:
    """The operation with this operationId."""
    return next(one for one in operations() if one.name == name)


def operation_of(method: str, path: str) -> Described | None:
    """Whose request this is."""
    return next((one for one in operations() if one.fits(method, path)), None)


@cache
def _validator(operation: str, status: str, media_type: str) -> Draft202012Validator:
    whole = dict(content())
    schema = named(operation).content["responses"][status]["content"][media_type]["schema"]
    return Draft202012Validator(
        {"components": whole["components"], **schema}, format_checker=FormatChecker()
    )


def faults(answer: Any, *, bodies: bool = True) -> Iterator[str]:
    """Where a real answer is not what the document says; `bodies`: also against the schema."""
    request = answer.request
    method, path = request.method, request.url.path
    found = operation_of(method, path)
    if found is None or answer.status_code == 405:
        return
    where = f"{method} {found.path} answered {answer.status_code}"
    responses = found.content["responses"]
    status = str(answer.status_code) if str(answer.status_code) in responses else "default"
    told = responses.get(status)
    if told is None:
        code = answer.json().get("code") if "json" in answer.headers["content-type"] else ""
        yield f"{where} {code}, which {found.name} in web/openapi.py does not name (see `refuses`)"
        return
    for name, header in told.get("headers", {}).items():
        if header.get("required") and name.lower() not in answer.headers:
            yield f"{where} without {name}"
    sent = answer.headers.get("content-type", "").partition(";")[0]
    if not told.get("content"):
        if answer.content:
            yield f"{where} with a body"
        return
    if sent not in told["content"]:
        yield f"{where} as {sent or 'nothing'}"
        return
    if sent == "application/problem+json":
        known = told["content"][sent]["examples"]
        if answer.json()["code"] not in known:
            yield (
                f"{where} {answer.json()['code']}, which {found.name} in web/openapi.py does not "
                "name (see `refuses`)"
            )
    if bodies and sent.endswith("json"):
        for error in _validator(found.name, status, sent).iter_errors(answer.json()):
            yield f"{where}: {error.json_path}: {error.message}"


async def watch(answer: Any) -> None:
    """Hook of a client: every answer of a test is one that the document names."""
    await answer.aread()
    found = list(faults(answer, bodies=False))
    assert not found, "; ".join(found)
