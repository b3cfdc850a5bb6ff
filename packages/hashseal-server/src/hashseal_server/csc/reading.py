"""Requests of the CSC API, in the spellings of both versions. Pure.

Tolerant: `hash` or `hashes`, a string or an array, `hashAlgo` or `hashAlgorithmOID`, numbers and
truth values as text, levels in any case. Exact: the same thing twice with two values is refused,
and so is whatever would not be done as it was asked.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from hashseal_core import csc
from hashseal_core.algorithms import Digest, DigestAlgorithm, Level
from hashseal_core.errors import (
    BodyTooLarge,
    DocumentRefused,
    InvalidValue,
    MalformedRequest,
    UnsupportedMediaType,
)
from hashseal_core.protocol import MAX_BODY
from hashseal_server.csc.algorithms import implied_digest, read_algorithm, read_digest
from hashseal_server.csc.model import (
    Authorised,
    DocumentsAsked,
    Format,
    HashesAsked,
    HashType,
)

_Shape = TypeVar("_Shape", bound=csc.CscRequest)
_LEVEL = re.compile(r"(?:(?:ades|pades|cades)-)?(?:b-)?(b|t|lt|lta)", re.IGNORECASE)
_TYPES = {"sdr": HashType.DOCUMENT, "sodr": HashType.DOCUMENT, "dtbsr": HashType.DATA}
_ENVELOPES = {
    Format.PADES: frozenset({None, "certification", "revision"}),
    Format.CADES: frozenset({None, "detached"}),
}
_DOCUMENTS = ("documents", "document")
_BASE64_PDF = b"JVBERi"
_LONGEST = 64
"""Characters of an id, or of an object identifier."""


def read(content_type: str, body: bytes, shape: type[_Shape]) -> _Shape:
    """A body of this shape; no body is an empty one.

    Raises:
        DocumentRefused, UnsupportedMediaType, BodyTooLarge, MalformedRequest, InvalidValue: without
            a word of what was sent.
    """
    if len(body) > MAX_BODY:
        raise BodyTooLarge("a body has 256 KiB at most")
    media_type = content_type.partition(";")[0].strip().lower()
    if b"%PDF" in body or _BASE64_PDF in body:
        raise DocumentRefused("documents are never taken here, only their hashes")
    if body and media_type != "application/json":
        raise UnsupportedMediaType("send application/json")
    try:
        # UTF-8 alone (RFC 8259, 8.1): of octets `loads` would take UTF-16 too, and hide a document.
        written = (body or b"{}").decode("utf-8")
        found = json.loads(written, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("the body is not one JSON object") from error
    if not isinstance(found, dict):
        raise MalformedRequest("the body is not one JSON object")
    if any(found.get(name) for name in _DOCUMENTS):
        raise DocumentRefused("documents are never taken here, only documentDigests")
    try:
        return msgspec.convert(found, type=shape)
    except (msgspec.ValidationError, RecursionError) as error:
        where = re.search(r"at `\$\.([A-Za-z_]+)", str(error))
        named = where[1] if where else "body"
        raise InvalidValue(f"Missing (or invalid type) parameter {named}", field=named) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise InvalidValue("a parameter is repeated with another value")
        found[name] = value
    return found


def _no_number(_text: str) -> None:
    raise MalformedRequest("NaN and Infinity are no JSON")


def text(value: str | None, field: str) -> str:
    """A string that must be there.

    Raises:
        InvalidValue: it is not, or cannot be what is asked for.
    """
    if value is None:
        raise InvalidValue(f"Missing (or invalid type) string parameter {field}", field=field)
    if not value or len(value) > _LONGEST or not value.isascii() or not value.isprintable():
        raise InvalidValue(f"Invalid parameter {field}", field=field)
    return value


def flag(value: bool | str, field: str) -> bool:  # noqa: FBT001 - it is what came
    """A truth value, also as text.

    Raises:
        InvalidValue: another text.
    """
    if isinstance(value, bool):
        return value
    if value.lower() not in {"true", "false"}:
        raise InvalidValue(f"Invalid parameter {field}", field=field)
    return value.lower() == "true"


def number(value: int | str | None, field: str) -> int | None:
    """A number from one on, also as text.

    Raises:
        InvalidValue: it is none.
    """
    if value is None:
        return None
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,9}", value):
        raise InvalidValue(f"Missing (or invalid type) integer parameter {field}", field=field)
    if int(value) < 1:
        raise InvalidValue(f"Invalid value for parameter {field}", field=field)
    return int(value)


def same(field: str, *values: Any) -> Any:
    """The one value of a thing that has several names; None when it has none.

    Raises:
        InvalidValue: it is given twice with different values.
    """
    given = [value for value in values if value is not None]
    if any(value != given[0] for value in given[1:]):
        raise InvalidValue(f"{field} is given twice with different values", field=field)
    return given[0] if given else None


def digests(
    asked: csc.CscAuthorizeRequest
    | csc.CscExtendRequest
    | csc.CscDocumentDigest
    | csc.CscSignHashRequest
    | csc.CscTimestampRequest,
    *,
    implied: DigestAlgorithm | None = None,
) -> list[Digest]:
    """The hashes of a request; none when there is no such parameter.

    `implied` is what the signature algorithm says of the digest. Without any word of it the length
    decides: no two algorithms here have the same.

    Raises:
        InvalidValue, WeakAlgorithm, HashLength, DegenerateHash.
    """
    hashes = same("hashes", *(_texts(one) for one in (asked.hashes, asked.hash)))
    if hashes is None:
        return []
    if not hashes:
        raise InvalidValue("Empty hash array", field="hashes")
    if len(hashes) > csc.MULTISIGN:
        raise InvalidValue("Numbers of signatures is too high", field="hashes")
    values = [_decoded(one) for one in hashes]
    said = same("hashAlgorithmOID", asked.hashAlgorithmOID, asked.hashAlgo)
    algorithm = implied
    if said is not None:
        algorithm = read_digest(said)
        if implied not in {None, algorithm}:
            raise InvalidValue(
                "String parameter hashAlgorithmOID contradicts with signAlgo parameter",
                field="hashAlgorithmOID",
            )
    if algorithm is None:
        algorithm = _by_length(values[0])
    return [Digest(algorithm, value) for value in values]


def authorised(asked: csc.CscAuthorizeRequest | csc.CscExtendRequest, kind: HashType) -> Authorised:
    """The hashes that are to be authorised for a credential that signs this type of hash.

    Raises:
        InvalidValue: none (SCAL 2), or of another type; and as `digests`.
    """
    require_type(asked.hashType, kind)
    found = digests(asked)
    if not found:
        raise InvalidValue("Missing (or invalid type) array parameter hashes", field="hashes")
    return Authorised(kind, found)


def require_type(said: str | None, kind: HashType) -> None:
    """What a request says of its hashes goes with the credential.

    Raises:
        InvalidValue: it does not.
    """
    if said is not None and _TYPES.get(said.lower()) is not kind:
        raise InvalidValue(f"Invalid parameter hashType: {kind} is signed here", field="hashType")


def documents(asked: csc.CscSignDocRequest) -> DocumentsAsked:
    """`signatures/signDoc`: one format, level and algorithm for all hashes of a call.

    Raises:
        InvalidValue, WeakAlgorithm, HashLength, DegenerateHash.
    """
    credential_id = text(asked.credentialID, "credentialID")
    _require_synchronous(asked)
    if asked.signatureQualifier is not None:
        raise InvalidValue("Invalid parameter signatureQualifier", field="signatureQualifier")
    entries = asked.documentDigests
    if isinstance(entries, csc.CscDocumentDigest):
        entries = [entries]
    if not entries:
        raise InvalidValue("Empty documentDigests and documents objects", field="documentDigests")
    read_entries = [_entry(one) for one in entries]
    ways = {one[1:] for one in read_entries}
    if len(ways) > 1:
        raise InvalidValue(
            "one call has one format, level, digest and signature algorithm; make a call for each",
            field="documentDigests",
        )
    found = [digest for one in read_entries for digest in one[0]]
    if len(found) > csc.MULTISIGN:
        raise InvalidValue("Numbers of signatures is too high", field="documentDigests")
    ((algorithm, form, level),) = ways
    given = (asked.returnValidationInfo, asked.returnValidationInformation)
    flags = [flag(one, "returnValidationInfo") for one in given]
    return DocumentsAsked(credential_id, _sad(asked.SAD), found, algorithm, form, level, any(flags))


def _entry(one: csc.CscDocumentDigest) -> tuple[Any, ...]:
    require_type(one.hashType, HashType.DOCUMENT)
    found = digests(one, implied=implied_digest(one.signAlgo))
    if not found:
        raise InvalidValue("Missing (or invalid type) array parameter hashes", field="hashes")
    if one.signature_format is None:
        raise InvalidValue(
            "Missing (or invalid type) string parameter signature_format", field="signature_format"
        )
    if one.signature_format.upper() not in set(Format):
        raise InvalidValue("Invalid parameter signature_format", field="signature_format")
    form = Format(one.signature_format.upper())
    envelope = one.signed_envelope_property
    if (envelope.lower() if envelope else None) not in _ENVELOPES[form]:
        raise InvalidValue(
            "Invalid parameter signed_envelope_property", field="signed_envelope_property"
        )
    if one.signed_props:
        # In PDF they stand in the dictionary, which is hashed already.
        raise InvalidValue(
            "Invalid parameter signed_props: none can be added here", field="signed_props"
        )
    level = _level(one.conformance_level)
    if form is Format.CADES and level is Level.B_LTA:
        raise InvalidValue(
            "Invalid parameter conformance_level: format C goes up to Ades-B-LT",
            field="conformance_level",
        )
    algorithm = read_algorithm(one.signAlgo, one.signAlgoParams, found[0].algorithm)
    return found, algorithm, form, level


def _level(name: str | None) -> Level:
    if name is None:
        return Level.B_B
    matched = _LEVEL.fullmatch(name)
    if matched is None:
        raise InvalidValue("Invalid parameter conformance_level", field="conformance_level")
    return Level(f"B-{matched[1].upper()}")


def hashes(asked: csc.CscSignHashRequest) -> HashesAsked:
    """`signatures/signHash`.

    Raises:
        InvalidValue, WeakAlgorithm, HashLength, DegenerateHash.
    """
    credential_id = text(asked.credentialID, "credentialID")
    _require_synchronous(asked)
    require_type(asked.hashType, HashType.DATA)
    found = digests(asked, implied=implied_digest(asked.signAlgo))
    if not found:
        raise InvalidValue("Missing (or invalid type) array parameter hashes", field="hashes")
    algorithm = read_algorithm(asked.signAlgo, asked.signAlgoParams, found[0].algorithm)
    return HashesAsked(credential_id, _sad(asked.SAD), found, algorithm)


def timestamp(asked: csc.CscTimestampRequest) -> tuple[Digest, int | None]:
    """`signatures/timestamp`: what is stamped, and the nonce.

    Raises:
        InvalidValue, WeakAlgorithm, HashLength, DegenerateHash.
    """
    found = digests(asked)
    if len(found) != 1:
        raise InvalidValue("Missing (or invalid type) string parameter hash", field="hash")
    if asked.nonce is None:
        return found[0], None
    if not re.fullmatch("(?:0[xX])?[0-9A-Fa-f]{1,64}", asked.nonce):
        raise InvalidValue("Invalid parameter nonce", field="nonce")
    return found[0], int(asked.nonce, 16)


def require_no_conflict(asked: csc.CscAuthorizeRequest) -> None:
    """PIN and OTP are not needed; given twice they must be the same.

    Raises:
        InvalidValue: they are not.
    """
    for name, value in (("PIN", asked.PIN), ("OTP", asked.OTP)):
        objects = [one.get("value") for one in asked.authData or () if one.get("id") == name]
        same(name, value, *objects)


def _require_synchronous(asked: csc.CscSignDocRequest | csc.CscSignHashRequest) -> None:
    """Whoever asks for an answer later, or elsewhere, is told that there is none."""
    if asked.operationMode not in {None, "S"}:
        raise InvalidValue("Invalid parameter operationMode", field="operationMode")
    for name, value in (
        ("response_uri", asked.response_uri),
        ("validity_period", asked.validity_period),
    ):
        if value is not None:
            raise InvalidValue(f"Invalid parameter {name}", field=name)


def _sad(value: str | None) -> str:
    return text(value, "SAD")


def _texts(value: str | list[str] | None) -> list[str] | None:
    return [value] if isinstance(value, str) else value


def _decoded(one: str) -> bytes:
    try:
        value = base64.b64decode(one, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue("Invalid Base64 hash string parameter", field="hashes") from error
    if base64.b64encode(value).decode() != one:
        raise InvalidValue("Invalid Base64 hash string parameter", field="hashes")
    return value


def _by_length(value: bytes) -> DigestAlgorithm:
    for algorithm in DigestAlgorithm:
        if len(value) == algorithm.size:
            return algorithm
    raise InvalidValue("Invalid digest value length", field="hashes")


def listed(
    items: Sequence[str], after: str | None, most: int | None
) -> tuple[list[str], str | None]:
    """A page of ids in their order, and what to ask the next one with."""
    rest = [one for one in items if after is None or one > after]
    if most is None or len(rest) <= most:
        return rest, None
    return rest[:most], rest[most - 1]
