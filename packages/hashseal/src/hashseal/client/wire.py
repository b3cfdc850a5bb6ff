"""Requests and answers of the native API as values; nothing in here sends anything."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from hashseal_core import protocol
from hashseal_core.algorithms import Digest, Level
from hashseal_core.errors import AnswerMismatch, HashsealError
from hashseal_core.problems import error_from

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
    """What came back."""

    status: int
    body: bytes


def new_idempotency_key() -> str:
    """A key for one new request."""
    return secrets.token_hex(16)


def list_seals() -> Request:
    """`GET /v1/seals`."""
    return Request("GET", "/v1/seals")


def show_seal(seal_id: str) -> Request:
    """`GET /v1/seals/{id}`."""
    return Request("GET", f"/v1/seals/{seal_id}")


def sign_documents(
    seal_id: str, digests: Sequence[Digest], level: Level, idempotency_key: str
) -> Request:
    """`POST /v1/documents/sign`; all digests are of one algorithm."""
    asked = protocol.SignDocuments(
        seal_id=seal_id,
        hashes=[digest.value for digest in digests],
        hash_algorithm=digests[0].algorithm.value,
        level=level.value,
    )
    return _posted("/v1/documents/sign", asked, idempotency_key)


def timestamp_document(digest: Digest, signature_id: str, idempotency_key: str) -> Request:
    """`POST /v1/timestamps`."""
    asked = protocol.TimestampDocument(
        hash=digest.value, signature_id=signature_id, hash_algorithm=digest.algorithm.value
    )
    return _posted("/v1/timestamps", asked, idempotency_key)


def read(reply: Reply, model: type[_Answer]) -> _Answer:
    """The answer, or the error that the service raised.

    Raises:
        HashsealError: the class that the problem's code stands for.
        AnswerMismatch: the answer is not of the documented shape.
    """
    if reply.status != 200:  # noqa: PLR2004
        raise _problem(reply)
    try:
        return msgspec.json.decode(reply.body, type=model)
    except msgspec.DecodeError as error:
        raise AnswerMismatch("the service's answer is not of the documented shape") from error


def _posted(path: str, asked: msgspec.Struct, idempotency_key: str) -> Request:
    headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
    return Request("POST", path, msgspec.json.encode(asked), headers)


def _problem(reply: Reply) -> HashsealError:
    try:
        problem = msgspec.json.decode(reply.body, type=protocol.ProblemDetails)
    except msgspec.DecodeError:
        return AnswerMismatch(f"status {reply.status} without problem details")
    return error_from(problem.code, problem.detail, field=problem.field)
