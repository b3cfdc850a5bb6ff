"""Who looks at a page: the cookie, the session behind it, and what protects its forms.

`visitor_of` is the one way to the caller. For whatever changes something it also wants the browser
to say that one of our own pages sent it; `form_of` and `require_token` want that page's token.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote

from litestar import Response
from litestar.datastructures import Cookie

from hashseal_core.errors import Denied, InvalidValue, MalformedRequest, UnsupportedMediaType
from hashseal_gateway.users.model import Caller, Permission
from hashseal_gateway.web.parts import AnyRequest, Parts, path_of

TOKEN = "form_token"  # noqa: S105 - a field's name
TOKEN_HEADER = "x-form-token"  # noqa: S105 - for what scripts send
LOG_IN, NEW_PASSWORD = "/login", "/profile/password"
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_COOKIE, _VISIT = "hashseal-session", "hashseal-visit"
_FORM_OCTETS, _FORM_FIELDS = 64 << 10, 500
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SAFE_PATH = re.compile(r"/(?![/\\])[\x21-\x7e]*")
_VISIT_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class NotLoggedIn(Exception):
    """Nobody is logged in; `address` is where to go on after the log-in."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who has logged in, and the token of the forms on their pages."""

    request: AnyRequest
    caller: Caller
    secret: str
    token: str

    def may(self, permission: Permission) -> bool:
        """The role includes it."""
        return self.caller.may(permission)


class Form:
    """What a form has sent; texts without spaces around them."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def text(self, name: str) -> str:
        """A field, or an empty text."""
        return next((value.strip() for key, value in self._pairs if key == name), "")

    def secret(self, name: str) -> str:
        """A field as it was typed, spaces included."""
        return next((value for key, value in self._pairs if key == name), "")

    def texts(self, name: str) -> list[str]:
        """Every value of a field that is not empty, such as ticked boxes."""
        return [value.strip() for key, value in self._pairs if key == name and value.strip()]

    def values(self) -> dict[str, str]:
        """All fields but secrets, to fill the form again."""
        kept = {"password", "new_password", "code", TOKEN}
        return {key: value.strip() for key, value in self._pairs if key not in kept}


async def visitor_of(
    parts: Parts,
    request: AnyRequest,
    permission: Permission | None = None,
    *,
    before_password: bool = False,
) -> Visitor:
    """Who looks at a page, and may; the log of requests knows the user's id from now on.

    `before_password` is for the few pages that are open before a temporary password is changed.

    Raises:
        NotLoggedIn: nobody; the answer becomes a redirection to the page to log in.
        PasswordIsTemporary: it must be changed first; the answer leads there.
        Denied: the role does not include the permission, or another site sent the request.
        StorageUnavailable: nobody can tell.
    """
    session = await parts.sessions.find(request.cookies.get(cookie_name(parts, request)))
    if session is None:
        raise NotLoggedIn(_address_of(request))
    caller = session.caller
    request.scope["state"]["caller"] = caller.id
    visitor = Visitor(request, caller, session.secret, parts.sessions.form_token(session.secret))
    request.scope["state"]["visitor"] = visitor
    if request.method in _CHANGING:
        parts.front.require_same_origin(request)
    if session.password_temporary and not before_password:
        raise PasswordIsTemporary
    if permission is not None:
        caller.require(permission)
    return visitor


class PasswordIsTemporary(Exception):
    """The user must choose a password first."""


async def form_of(parts: Parts, visitor: Visitor) -> Form:
    """What a form (application/x-www-form-urlencoded) of one of our pages has sent.

    Raises:
        Denied: it has not the token of this session.
        UnsupportedMediaType, MalformedRequest, InvalidValue: it is no such form, or too long.
    """
    form = await read_form(visitor.request)
    require_token(parts, visitor, form.secret(TOKEN))
    return form


def require_token(parts: Parts, visitor: Visitor, token: str) -> None:
    """The token that a form or a script (header X-Form-Token) sends is that of the session.

    Raises:
        Denied: it is not.
    """
    if not parts.sessions.fits(token, visitor.secret):
        raise Denied("this form is of an earlier log-in; open the page again and repeat it")


async def read_form(request: AnyRequest) -> Form:
    """The form, whoever sends it.

    Raises:
        UnsupportedMediaType, MalformedRequest, InvalidValue: it is none, or too long.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("send application/x-www-form-urlencoded")
    octets = bytearray()
    async for chunk in request.stream():
        octets += chunk
        if len(octets) > _FORM_OCTETS:
            raise InvalidValue("a form has 64 KiB at most")
    return read_fields(bytes(octets))


def read_fields(octets: bytes) -> Form:
    """A form (application/x-www-form-urlencoded).

    Raises:
        MalformedRequest, InvalidValue: it is none.
    """
    try:
        pairs = parse_qsl(
            octets.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_FORM_FIELDS,
        )
    except ValueError as error:
        raise MalformedRequest("the body is not a form") from error
    for name, value in pairs:
        if _CONTROL.search(name + value):
            raise InvalidValue("there is a control character in it")
    return Form(pairs)


def cookie_name(parts: Parts, request: AnyRequest, name: str = _COOKIE) -> str:
    """`__Host-` binds a cookie to TLS, this host and the whole of it; browsers refuse others."""
    return f"__Host-{name}" if parts.front.is_secure(request) else name


def set_session(parts: Parts, request: AnyRequest, answer: Response[Any], secret: str) -> None:
    """The browser keeps the session until it is closed; the database knows when it ends."""
    answer.set_cookie(_cookie(parts, request, _COOKIE, secret))


def unset_session(parts: Parts, request: AnyRequest, answer: Response[Any]) -> None:
    """The browser forgets the session."""
    gone = _cookie(parts, request, _COOKIE, "")
    gone.max_age = 0
    answer.set_cookie(gone)


def visit_of(parts: Parts, request: AnyRequest) -> str:
    """The secret of a browser that has not logged in, to protect the form that does; new if none.

    Nothing is stored of it: the form holds a token made of it (a signed double submit).
    """
    found = request.cookies.get(cookie_name(parts, request, _VISIT), "")
    return found if _VISIT_SECRET.fullmatch(found) else secrets.token_urlsafe(32)


def require_visit(parts: Parts, request: AnyRequest, form: Form) -> None:
    """The form to log in comes from a page that this very browser was given.

    Raises:
        Denied: it does not.
    """
    parts.front.require_same_origin(request)
    if not parts.sessions.fits(form.secret(TOKEN), visit_of(parts, request)):
        raise Denied("the page was open for too long, or cookies are off; try once more")


def set_visit(parts: Parts, request: AnyRequest, answer: Response[Any], visit: str) -> None:
    """The browser sends it with the form."""
    answer.set_cookie(_cookie(parts, request, _VISIT, visit))


def next_address(text: str) -> str:
    r"""Where to go on after a log-in: a path of this site, or its first page.

    `//host`, `/\host` and anything with a scheme lead elsewhere, and become the first page.
    """
    return text if _SAFE_PATH.fullmatch(text) and not text.startswith(LOG_IN) else "/"


def _address_of(request: AnyRequest) -> str:
    """The page that was asked for; what changes something is not repeated after a log-in."""
    if request.method != "GET":
        return "/"
    query = request.scope.get("query_string", b"").decode("latin-1")
    path = quote(path_of(request), safe="/@:+,;=-._~")
    return next_address(f"{path}?{query}" if query else path)


def _cookie(parts: Parts, request: AnyRequest, name: str, value: str) -> Cookie:
    return Cookie(
        key=cookie_name(parts, request, name),
        value=value,
        path="/",
        secure=parts.front.is_secure(request),
        httponly=True,
        # Lax, so that links in mails and tickets find one logged in; nothing is changed by GET.
        samesite="lax",
    )
