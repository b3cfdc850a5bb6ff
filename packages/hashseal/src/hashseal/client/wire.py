"""Requests and answers of the native API as values; nothing in here sends anything."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar
from urllib.parse import urlencode

import msgspec

from hashseal_core import protocol
from hashseal_core.algorithms import Digest
from hashseal_core.errors import AnswerMismatch, HashsealError
from hashseal_core.problems import error_from

OK = 200
_Answer = TypeVar("_Answer", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request without address and token; safe to repeat."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; `retry_after` is in seconds, as the service asked for."""

    status: int
    body: bytes
    retry_after: float | None = None


_Result = TypeVar("_Result")
Workflow: TypeAlias = Generator[Request, Reply, _Result]
"""Yields requests, is sent their replies, returns its result."""


def new_idempotency_key() -> str:
    """A key for one new request."""
    return secrets.token_hex(16)


def list_seals() -> Request:
    """`GET /v1/seals`."""
    return Request("GET", "/v1/seals")


def show_seal(seal_id: str) -> Request:
    """`GET /v1/seals/{id}`."""
    return Request("GET", f"/v1/seals/{seal_id}")


def show_appearance(seal_id: str) -> Request:
    """`GET /v1/seals/{id}/appearance`; the answer is SVG."""
    return Request("GET", f"/v1/seals/{seal_id}/appearance")


def sign_documents(asked: protocol.SignDocuments, idempotency_key: str) -> Request:
    """`POST /v1/documents/sign`."""
    return _posted("/v1/documents/sign", asked, idempotency_key)


def collect_validation(serials: Sequence[int]) -> Request:
    """`POST /v1/validation`."""
    asked = protocol.CollectValidation(serials=[str(serial) for serial in serials])
    return _posted("/v1/validation", asked)


def timestamp_query(query: bytes) -> Request:
    """`POST /tsa` (RFC 3161, 3.4); `query` is a TimeStampReq, DER."""
    return Request("POST", "/tsa", query, {"Content-Type": "application/timestamp-query"})


def timestamp_document(digest: Digest, signature_id: str, idempotency_key: str) -> Request:
    """`POST /v1/timestamps`."""
    asked = protocol.TimestampDocument(
        hash=digest.value, signature_id=signature_id, hash_algorithm=digest.algorithm.value
    )
    return _posted("/v1/timestamps", asked, idempotency_key)


def list_events(after: str | None = None, wait: int = 0) -> Request:
    """`GET /v1/events`."""
    asked = {"after": after, "wait": str(wait) if wait else None}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return Request("GET", f"/v1/events?{query}" if query else "/v1/events")


def read(reply: Reply, model: type[_Answer]) -> _Answer:
    """The answer, or the error that the service raised.

    Raises:
        HashsealError: the class that the problem's code stands for.
        AnswerMismatch: the answer is not of the documented shape.
    """
    if reply.status != OK:
        raise _problem(reply)
    try:
        return msgspec.json.decode(reply.body, type=model)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AnswerMismatch("the service's answer is not of the documented shape") from error


def read_octets(reply: Reply) -> bytes:
    """The octets of an answer that is not JSON.

    Raises:
        HashsealError: the class that the problem's code stands for.
    """
    if reply.status != OK:
        raise _problem(reply)
    return reply.body


def _posted(path: str, asked: msgspec.Struct, idempotency_key: str | None = None) -> Request:
    headers = {"Content-Type": "application/json"}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    return Request("POST", path, msgspec.json.encode(asked), headers)


def _problem(reply: Reply) -> HashsealError:
    try:
        problem = msgspec.json.decode(reply.body, type=protocol.ProblemDetails)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return AnswerMismatch(f"status {reply.status} without problem details")
    return error_from(problem.code, problem.detail, field=problem.field)
