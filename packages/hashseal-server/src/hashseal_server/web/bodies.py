"""Read request bodies strictly: JSON of the documented shape, hashes only, never a document."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, TypeVar

import msgspec

from hashseal_core import protocol
from hashseal_core.errors import (
    BodyTooLarge,
    DocumentRefused,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    InvalidValue,
    MalformedRequest,
    UnknownField,
    UnsupportedMediaType,
)

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DOCUMENT_TYPES = ("application/pdf", "multipart/", "application/octet-stream")
_BASE64_PDF = re.compile(rb"(?<![A-Za-z0-9+/_-])JVBERi[A-Za-z0-9+/=_-]*")
_HASH_TEXTS = frozenset({44, 64, 88})
"""Characters of hashes in base64: what is that long may be a hash, whatever it begins with."""
_NUL = b"\\u0000"
"""Not every database takes it; in JSON it can be written in no other way."""
_Shape = TypeVar("_Shape", bound=protocol.Request)


def read(content_type: str, body: bytes, shape: type[_Shape]) -> _Shape:
    """The body, decoded.

    Raises:
        DocumentRefused, UnsupportedMediaType, BodyTooLarge, MalformedRequest, UnknownField,
        InvalidValue: without a word of what was sent.
    """
    media_type = content_type.lower()
    if media_type.startswith(_DOCUMENT_TYPES):
        raise DocumentRefused("documents are never taken here, only their hashes")
    if media_type.partition(";")[0].strip() != "application/json":
        raise UnsupportedMediaType("send application/json")
    if len(body) > protocol.MAX_BODY:
        raise BodyTooLarge("a body has 256 KiB at most")
    if b"%PDF" in body or _holds_document(body):
        raise DocumentRefused("documents are never taken here, only their hashes")
    return decode(body, shape)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose fields have different names; RFC 8259, 4 leaves open what others mean."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedRequest("the body names a field twice")
    return found


def _holds_document(body: bytes) -> bool:
    return any(len(found[0]) not in _HASH_TEXTS for found in _BASE64_PDF.finditer(body))


def decode(body: bytes, shape: type[_Shape]) -> _Shape:
    """The body as this shape; hashes must be canonical base64.

    Raises:
        MalformedRequest, UnknownField, InvalidValue.
    """
    try:
        decoded = msgspec.json.decode(body, type=shape, strict=True)
        raw = json.loads(body, object_pairs_hook=_once)
    except msgspec.ValidationError as error:
        if "unknown field" in str(error):
            raise UnknownField("the body has a field that this operation does not have") from error
        where = re.search(r"at `\$\.([a-z_]+)", str(error))
        detail = "a field is missing, or has a value or type that is not allowed"
        raise InvalidValue(detail, field=where[1] if where else None) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest("the body is not one JSON object") from error
    if _NUL in body:
        raise InvalidValue("no text has the character U+0000")
    for field in ("hash", "hashes"):
        if field in raw:
            _require_canonical(raw[field], getattr(decoded, field), field)
    return decoded


def _require_canonical(sent: str | list[str], values: bytes | list[bytes], field: str) -> None:
    texts = [sent] if isinstance(sent, str) else sent
    octets = [values] if isinstance(values, bytes) else values
    for text, value in zip(texts, octets, strict=True):
        if base64.b64encode(value).decode() != text:
            raise InvalidValue("hashes are standard base64 with padding", field=field)


def idempotency_key(key: str | None) -> str:
    """The value of the Idempotency-Key header.

    Raises:
        IdempotencyKeyMissing, IdempotencyKeyInvalid.
    """
    if not key:
        raise IdempotencyKeyMissing("send an Idempotency-Key header")
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyInvalid("the key is not 1 to 64 of A-Z a-z 0-9 _ -")
    return key
