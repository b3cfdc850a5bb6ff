"""What a caller may ask for one document; shapes and merging only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from hashseal_core.algorithms import Level
from hashseal_core.errors import InvalidValue, MalformedRequest, UnknownField
from hashseal_gateway.seals.appearance import CONTROL, Appearance, Wanted, checked, combined
from hashseal_gateway.seals.model import SealOptions

MAXIMUM_OCTETS = 16 << 10
Text = Annotated[str, msgspec.Meta(max_length=200)]
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Certify = Literal["none", "no-changes", "form-filling", "annotations"]
_FREE = ("reason", "location", "contact", "field_name", "external_id", "seal")


class DocumentOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Options of `POST /v1/documents`; what is not said is taken from the seal's defaults.

    `seal` is a SealID or a local name. `external_id` is the caller's own word for the document,
    found again in the log. `password` opens an encrypted file. `appearance` is `none`, a place
    such as `last:bottom-right`, or an object.
    """

    seal: Short | None = None
    level: Level | None = None
    reason: Text | None = None
    location: Text | None = None
    contact: Text | None = None
    appearance: Wanted = None
    certify: Certify = "none"
    field_name: Short | None = None
    password: Annotated[str, msgspec.Meta(max_length=127)] | None = None
    external_id: Short | None = None


class SigningOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What goes into the signature, with the seal's defaults; stored, so that it stays the same.

    `picture` is the SHA-256 of the seal's picture, hexadecimal, if it is to be seen.
    """

    level: Level
    reason: str | None = None
    location: str | None = None
    contact: str | None = None
    certify: Certify = "none"
    field_name: str | None = None
    appearance: Appearance | None = None
    picture: str | None = None


def read(octets: bytes) -> DocumentOptions:
    """The options of a JSON object.

    Raises:
        MalformedRequest, UnknownField, InvalidValue: without a word of what was sent.
    """
    if len(octets) > MAXIMUM_OCTETS:
        raise InvalidValue("the options have 16 KiB at most", field="options")
    try:
        return _checked(msgspec.json.decode(octets, type=DocumentOptions))
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest("the options are not one JSON object") from error


def from_query(values: Mapping[str, str]) -> DocumentOptions:
    """The options of a query; a password has no place there.

    Raises:
        UnknownField, InvalidValue: without a word of what was sent.
    """
    if "password" in values:
        raise InvalidValue(
            "addresses are written into logs: send the password in a multipart body",
            field="password",
        )
    try:
        return _checked(msgspec.convert(dict(values), DocumentOptions))
    except msgspec.ValidationError as error:
        raise _invalid(error) from error


def merged(options: DocumentOptions, defaults: SealOptions, level: Level) -> SigningOptions:
    """What the caller says, else what the seal's defaults say, else the gateway's level."""
    return SigningOptions(
        level=options.level or Level(defaults.level or level),
        reason=options.reason if options.reason is not None else defaults.reason,
        location=options.location if options.location is not None else defaults.location,
        contact=options.contact if options.contact is not None else defaults.contact,
        certify=options.certify,
        field_name=options.field_name,
        appearance=combined(options.appearance, defaults.appearance),
    )


def _checked(options: DocumentOptions) -> DocumentOptions:
    """No control characters, nothing that turns the direction of text; a place that is one."""
    for field in _FREE:
        if CONTROL.search(getattr(options, field) or ""):
            raise InvalidValue("there is a control character in it", field=field)
    return msgspec.structs.replace(options, appearance=checked(options.appearance))


def _invalid(error: msgspec.ValidationError) -> UnknownField | InvalidValue:
    if "unknown field" in str(error):
        return UnknownField("there is an option that signing a document does not have")
    where = re.search(r"at `\$\.([a-z_]+)", str(error))
    detail = "an option has a value or type that is not allowed"
    return InvalidValue(detail, field=where[1] if where else "options")
