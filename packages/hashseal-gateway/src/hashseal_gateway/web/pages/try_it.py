"""The page on which a person has a document signed, and sees where its seal goes.

The form is whole without scripts: its fields say the place, and the answer is the signed file.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from hashseal_core import protocol
from hashseal_core.errors import InvalidValue
from hashseal_gateway.documents import options
from hashseal_gateway.documents.attempts import RESULT
from hashseal_gateway.documents.model import Asked, Received, Way
from hashseal_gateway.documents.options import DocumentOptions
from hashseal_gateway.seals.model import SealDefaults
from hashseal_gateway.users.model import Permission
from hashseal_gateway.web.documents import file_of, headers_of
from hashseal_gateway.web.pages.assets import assets
from hashseal_gateway.web.pages.rendering import holder, page
from hashseal_gateway.web.pages.seals import promptly
from hashseal_gateway.web.pages.visitors import TOKEN, require_token, visitor_of
from hashseal_gateway.web.parts import AnyRequest, Parts, body_of
from hashseal_gateway.web.upload import take

_SIDES = ("left", "top", "width", "height")
FIELDS = (
    TOKEN, "request_key", "seal", "level", "reason", "password", "appearance", "page", *_SIDES,
    "unit", "style",
)  # fmt: skip
LEVELS = (
    ("B-B", "the signature alone"),
    ("B-T", "with a timestamp"),
    ("B-LT", "and with evidence for years"),
    ("B-LTA", "and with a document timestamp"),
)
_FORM_SIDES = (
    ("left", "From the left", "60"),
    ("top", "From the top", "82"),
    ("width", "Width", "32"),
    ("height", "Height", "12"),
)
"""Name, label, and percent before anybody says another."""
_LIBRARY = "pdfjs/"
_NEEDED = f"{_LIBRARY}legacy/build/pdf.min.mjs"
_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True, slots=True)
class Choice:
    """A seal that may be chosen."""

    id: str
    title: str
    picture: str


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get("/try-it")
    async def show_try_it(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request, Permission.SIGN)
        known = await promptly(parts.seals.all(visitor.caller.seals))
        return page(
            visitor,
            "try_it.html",
            seals=[_choice(seal, said) for seal, said in known if seal.status == "active"],
            levels=LEVELS,
            sides=_FORM_SIDES,
            most=parts.limits.each >> 20,
            request_key=secrets.token_urlsafe(24),
            pdfjs=library(),
        )

    @post("/try-it", status_code=200)
    async def sign_by_hand(request: AnyRequest) -> Response[Any] | Stream:
        visitor = await visitor_of(parts, request, Permission.SIGN)
        identity = secrets.token_hex(12)
        async with parts.admission.admitted():
            folder = parts.folder.new_place(identity)
            try:
                taken = await take(body_of(request), folder, parts.limits, fields=FIELDS)
                require_token(parts, visitor, taken.fields.get(TOKEN, ""))
                if not taken.documents:
                    raise InvalidValue("choose a document first", field="document")
                received, name = taken.documents[0]
                wanted = options_of(taken.fields)
                key = request_key(taken.fields.get("request_key", ""), received, wanted)
                asked = Asked(
                    id=identity,
                    caller=visitor.caller,
                    way=Way.CALL,
                    options=wanted,
                    request_key=parts.documents.request_key(visitor.caller.id, key),
                    name=name,
                )
                made = await parts.documents.sign(asked, received, folder / RESULT)
                headers = headers_of(made.document)
                headers["Content-Disposition"] = _attachment(name)
                return await file_of(request, made.path, headers)
            finally:
                await asyncio.to_thread(parts.folder.discard, identity)

    return [show_try_it, sign_by_hand]


def library() -> str:
    """Where pdf.js is served, or an empty text if it was not brought here."""
    if assets().find(_NEEDED) is None:
        return ""
    return assets().address(_NEEDED).removesuffix(_NEEDED) + _LIBRARY


def options_of(fields: Mapping[str, str]) -> DocumentOptions:
    """What the form asks for, judged as the options of the API are.

    Raises:
        InvalidValue: a field cannot be taken.
    """
    said: dict[str, Any] = {
        name: fields[name]
        for name in ("seal", "level", "reason", "password")
        if fields.get(name, "").strip()
    }
    match fields.get("appearance", "default"):
        case "box":
            said["appearance"] = {
                "page": _number(fields, "page", whole=True),
                "box": {
                    **{side: _number(fields, side) for side in _SIDES},
                    "unit": fields.get("unit", "points"),
                },
                "style": fields.get("style", "seal"),
            }
        case "none":
            said["appearance"] = "none"
        case "default":
            pass
        case _:
            raise InvalidValue("say box, default or none", field="appearance")
    return options.read(msgspec.json.encode(said))


def request_key(form: str, received: Received, wanted: DocumentOptions) -> str:
    """One form sent twice with the same document and the same words is one request."""
    once = form if _KEY.fullmatch(form) else secrets.token_hex(16)
    plain = msgspec.json.encode(msgspec.structs.replace(wanted, password=None))
    parts = b"\0".join([once.encode(), received.digest.encode(), plain])
    return f"try-it {hashlib.sha256(parts).hexdigest()}"


def _number(fields: Mapping[str, str], name: str, *, whole: bool = False) -> float:
    text = fields.get(name, "").strip()
    try:
        found = int(text) if whole else float(text)
    except ValueError:
        raise InvalidValue(f"{name} is a number", field=name) from None
    if not math.isfinite(found):
        raise InvalidValue(f"{name} is a number", field=name)
    return found


def _choice(seal: protocol.Seal, said: SealDefaults | None) -> Choice:
    name = said.name if said is not None and said.name else None
    described = f"{holder(seal.subject)} · {seal.kind}, {seal.algorithm}"
    title = f"{name} · {described}" if name else described
    return Choice(seal.id, title, f"/seals/{seal.id}/picture.svg")


def _attachment(name: str | None) -> str:
    """A name for the file, also in characters that no old header can hold (RFC 6266)."""
    stem = PurePath(name or "document.pdf").stem or "document"
    return (
        f"attachment; filename=\"signed.pdf\"; filename*=UTF-8''{quote(stem, safe='')}.signed.pdf"
    )
