"""Templates become pages, with the headers that keep them harmless."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from litestar.response import Redirect

from hashseal_gateway.users.model import Permission
from hashseal_gateway.web.pages.assets import assets
from hashseal_gateway.web.pages.visitors import TOKEN, Visitor
from hashseal_gateway.web.parts import path_of

HTML = "text/html"
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; font-src 'self'; worker-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    # Not no-referrer: with that, browsers send forms with the origin null.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
"""Of every page, and of every other answer of the pages that does not say otherwise."""
MENU: tuple[tuple[str, str, Permission | None], ...] = (
    ("/", "Dashboard", None),
    ("/try-it", "Try it", Permission.SIGN),
    ("/verify", "Verify", Permission.VERIFY),
    ("/seals", "Seals", Permission.SEE_SEALS),
    ("/log", "Signing log", None),
    ("/users", "Users", Permission.MANAGE),
    ("/keys", "API keys", Permission.MANAGE),
)
"""Address, title, and what a role must include to see it."""
_SHORT = 12
_ORGANISATION = re.compile(r"(?:^|,)O=((?:\\.|[^,\\])+)")
_COMMON_NAME = re.compile(r"(?:^|,)CN=((?:\\.|[^,\\])+)")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates of this package; everything they show is escaped."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["asset"] = assets().address
    made.globals["token_name"] = TOKEN
    made.globals["Permission"] = Permission
    made.filters["moment"] = moment
    made.filters["machine"] = machine
    made.filters["short"] = short
    made.filters["number"] = number
    made.filters["words"] = words
    made.filters["sentence"] = sentence
    made.filters["holder"] = holder
    return made


def page(
    visitor: Visitor | None,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response[bytes]:
    """One page; the template knows `visitor`, the menu and these values."""
    path = path_of(visitor.request) if visitor else ""
    menu = [
        (address, title, _is_here(address, path))
        for address, title, permission in MENU
        if visitor is not None and (permission is None or visitor.may(permission))
    ]
    known = {"problem": None, "said": None, **values}
    text = environment().get_template(template).render(visitor=visitor, menu=menu, **known)
    return Response(text.encode(), status_code=status, media_type=HTML, headers=dict(headers or {}))


def redirection(address: str) -> Redirect:
    """To another page, which is got (303), also after a form was sent."""
    return Redirect(address, status_code=303)


def stamp(answer: Response[Any]) -> Response[Any]:
    """The same answer with the headers of a page."""
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def _is_here(address: str, path: str) -> bool:
    return path == address or (address != "/" and path.startswith(f"{address}/"))


def moment(at: datetime | None) -> str:
    """A time for people, UTC to the second."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def machine(at: datetime) -> str:
    """A time for the attribute `datetime`."""
    return at.isoformat()


def short(text: str | None) -> str:
    """The beginning of a long id or digest."""
    text = text or ""
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def number(value: int) -> str:
    """With a thin space at thousands."""
    return f"{value:,}".replace(",", "\u202f")


def words(text: str) -> str:
    """A code such as `seal-administrator` as words."""
    return text.replace("-", " ").replace("_", " ")


def sentence(text: str) -> str:
    """The words of an error as a sentence."""
    end = "" if text.endswith((".", "!", "?")) else "."
    return text[:1].upper() + text[1:] + end


def holder(subject: str) -> str:
    """Whose certificate it is: the organisation of a distinguished name (RFC 4514), or the name."""
    found = _ORGANISATION.search(subject) or _COMMON_NAME.search(subject)
    return re.sub(r"\\(.)", r"\1", found[1]) if found else subject
