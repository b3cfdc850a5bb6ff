"""Parsers of outside bytes at the gateway: what browsers, business systems and proxies send.

Rows as in `outside_parsers`.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from litestar import Request
from outside_parsers import Parser, Read, file, text

from hashseal_core.errors import HashsealError, NotFound
from hashseal_gateway import settings
from hashseal_gateway.documents import filing, messages
from hashseal_gateway.infra import framing
from hashseal_gateway.log.model import cell
from hashseal_gateway.seals import appearance
from hashseal_gateway.seals import model as seals
from hashseal_gateway.users import model as users
from hashseal_gateway.users import totp
from hashseal_gateway.users.model import Caller, Role
from hashseal_gateway.web import app, front, parts, reading, requests, upload, verifying, wire
from hashseal_gateway.web.pages import sealing, try_it, visitors

BOUNDARY = "limit"
LIMITS = upload.Limits(each=1 << 16, together=1 << 18, documents=3, seconds=5)
CALLERS = (Caller("user", "a", "a", Role.AUDITOR), Caller("key", "b", "b", Role.OPERATOR))


def part(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def multipart(*made: bytes) -> bytes:
    return b"".join(made) + f"--{BOUNDARY}--\r\n".encode()


DOCUMENT = part("document", b"%PDF-1.7 x", "; filename=\"a.pdf\"; filename*=UTF-8''%e2%82%ac.pdf")
OF_API = multipart(DOCUMENT, part("options", b'{"level":"B-T","reason":"a"}'))
OF_PAGE = multipart(
    part("appearance", b"box"),
    *(part(side, b"10") for side in ("left", "top", "width", "height")),
    part("page", b"1"),
    part("unit", b"percent"),
    DOCUMENT,
)


async def streamed(octets: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(octets), 50):
        yield octets[start : start + 50]


def taken(kind: str, octets: bytes, query: Mapping[str, str], **how: Any) -> upload.Taken:
    """A body, and what is made of the names and fields in it."""
    body = upload.Body(kind, None, query, streamed(octets))
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(upload.take(body, Path(folder), LIMITS, **how))
    for _, name in found.documents:
        try_it._attachment(name).encode("latin-1")
        msgspec.json.encode(name)
    return found


def of_api(octets: bytes) -> object:
    return taken(f"multipart/form-data; boundary={BOUNDARY}", octets, {}, archive=True)


def of_page(octets: bytes) -> object:
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    found = taken(kind, octets, {}, fields=try_it.FIELDS)
    wanted = try_it.options_of(found.fields)
    return try_it.request_key(found.fields.get("request_key", ""), found.documents[0][0], wanted)


def asked_of_log(octets: str) -> object:
    query = dict(parse_qsl(octets, keep_blank_values=True))
    found = [reading.search_of(query, one) for one in CALLERS]
    return [requests.limit_of(query), [cell(one) for one in query.values()], found]


def of_form(octets: bytes) -> object:
    """A form, and what each page makes of its fields."""
    form = visitors.read_fields(octets)
    found = msgspec.json.encode([form.values(), form.texts("seals"), form.secret("password")])
    return [found, sealing.appearance_of(form)]


def managed(octets: bytes) -> object:
    """Each body that makes or changes users and keys."""
    found: list[object] = []
    for model in (wire.CreateUser, wire.ChangeUser, wire.CreateKey):
        with suppress(HashsealError):
            asked = requests.read_octets(octets, model)
            found.append(asked)
            if not isinstance(asked, wire.ChangeUser):
                found += [users.login_name(asked.name), users.key_name(asked.name)]
    return found


def secret(code: str) -> object:
    return totp.step_of("JBSWY3DPEHPK3PXP", code, 1.8e9, None)


def request(name: str, use: Callable[[Request[Any, Any, Any]], object]) -> Read:
    """A request in which one header has these octets."""

    def read(octets: bytes) -> object:
        headers = [(b"host", b"localhost"), (b"origin", b"http://localhost")]
        kept = [one for one in headers if one[0] != name.encode()]
        scope = {
            "type": "http", "method": "POST", "path": "/", "query_string": b"", "state": {},
            "client": ("127.0.0.1", 1), "headers": [*kept, (name.encode(), octets)],
        }  # fmt: skip
        return use(Request(scope))

    return read


def nearest(asked: Request[Any, Any, Any]) -> str:
    return BEHIND.address_of(asked)


BEHIND = front.Front(None, (ip_network("127.0.0.1"),))
OWN = front.Front(None, ())
PUBLIC = front.Front("https://sign.example.com", ())


def same_origin(asked: Request[Any, Any, Any]) -> object:
    for one in (OWN, PUBLIC):
        one.is_secure(asked)
        try:
            one.require_same_origin(asked)
        except HashsealError:
            continue
    return None


def settings_file(path: Path) -> object:
    os.environ[settings.CONFIG] = str(path)
    try:
        return settings.load()
    finally:
        del os.environ[settings.CONFIG]


def visit(asked: Request[Any, Any, Any]) -> object:
    class Of:
        front = OWN

    return visitors.visit_of(Of, asked)  # type: ignore[arg-type]


def wanted(octets: bytes) -> object:
    """A page that is asked for before the log-in, or is not there; the path as a server decodes it."""
    path, _, query = octets.partition(b"?")
    scope = {
        "type": "http", "method": "GET", "path": unquote(path.decode("latin-1")),
        "query_string": query, "server": ("localhost", 80), "scheme": "http", "state": {}, "headers": [(b"accept", b"text/html")],
    }  # fmt: skip
    app._on_error(Request(scope), NotFound("there is no such page"))
    return visitors._address_of(Request(scope)).encode("ascii")


SIGNED = msgspec.msgpack.encode(messages.Signed("s", "x", "B-T", "f", "0" * 64, 9))
CALL = msgspec.msgpack.encode(messages.Call("POST", "/v1/documents/sign", b"{}", {"a": "b"}))
FORM = (
    b"form_token=x&shown=yes&page=number&page_number=2&where=box&left=1&top=2&width=30&height=10"
    b"&unit=percent&style=seal&hint=a%C3%A9"
)
ANCHORED = b"shown=yes&page=any&where=anchor&text=Seller&occurrence=-1&size=1%2C5"

PARSERS: Mapping[str, Parser] = {
    "a multipart body": Parser(
        of_api,
        ("upload.take", "upload._text", "try_it._attachment"),
        lambda: [OF_API, multipart(DOCUMENT, DOCUMENT)],
    ),
    "a multipart form of a page": Parser(
        of_page, ("try_it.options_of", "try_it._number"), lambda: [OF_PAGE]
    ),
    "Content-Type of a body": Parser(
        text(lambda one: taken(one, OF_API, {})),
        ("upload.take",),
        lambda: [b"application/pdf", f'multipart/form-data; boundary="{BOUNDARY}"'.encode()],
    ),
    "a body with a query": Parser(
        text(lambda one: taken("application/pdf", b"%PDF-1.7", dict(parse_qsl(one)))),
        ("upload.take", "options.from_query"),
        lambda: [b"level=B-LT&reason=a"],
        weight=60,
    ),
    "a search in the log": Parser(
        text(asked_of_log),
        (
            "reading.search_of",
            "reading._moment",
            "requests.number",
            "journal._search",
        ),
        lambda: [
            b"since=2026-01-31T12%3A00%3A00Z&before=17&digest=sha-256=00&limit=5",
            b"until=2026-01-31&caller=a&outcome=failed&format=csv",
        ],
    ),
    "defaults of a seal": Parser(
        lambda octets: appearance.checked(
            requests.read_octets(octets, wire.SetDefaults).defaults.appearance
        ),
        ("requests.read_octets",),
        lambda: [
            b'{"name":"a","defaults":{"reason":"b","appearance":{"page":1,"position":"top"}}}',
            b'{"defaults":{"appearance":"last:bottom-right"}}',
        ],
    ),
    "a user or a key": Parser(
        managed,
        ("model.key_name", "model.is_id"),
        lambda: [
            b'{"name":"a","role":"auditor"}',
            b'{"role":"operator","disabled":true}',
            b'{"name":"a","role":"operator","seals":["b"],"expires_at":"2026-01-31T12:00:00Z"}',
        ],
    ),
    "a form of a page": Parser(
        of_form,
        ("visitors.read_fields", "sealing.appearance_of", "sealing._number"),
        lambda: [FORM, ANCHORED],
    ),
    "a place at the gateway": Parser(
        text(appearance.of_place), ("appearance.of_place",), lambda: [b"2:5%,5%,20%,10%"]
    ),
    "a name to log in with": Parser(
        text(users.login_name), ("model.login_name",), lambda: [b"Ada"]
    ),
    "a name of a seal": Parser(text(seals.require_name), ("model.require_name",), lambda: [b"a-1"]),
    "a code of an authenticator": Parser(
        text(secret), ("totp.step_of",), lambda: [b"123456"], raises=()
    ),
    "where to go on": Parser(
        text(visitors.next_address), ("visitors.next_address",), lambda: [b"/log?a=b"], raises=()
    ),
    "an address that wants a log-in": Parser(
        wanted,
        ("visitors._address_of", "app._on_error"),
        lambda: [b"/log?outcome=failed&caller=%C3%A9"],
        raises=(),
    ),
    "Host": Parser(
        request("host", same_origin),
        ("front.is_loopback", "front._host", "front._address"),
        lambda: [b"sign.example.com:8443", b"[::1]:8000"],
        raises=(),
    ),
    "Origin": Parser(
        request("origin", same_origin),
        ("front._place",),
        lambda: [b"https://sign.example.com:8443", b"http://[::1]"],
        raises=(),
    ),
    "X-Forwarded-For": Parser(
        request("x-forwarded-for", nearest),
        ("front.address_of", "front._address"),
        lambda: [b"192.0.2.1, 127.0.0.1", b"2001:db8::1,::ffff:127.0.0.1"],
        raises=(),
    ),
    "Cookie": Parser(
        request("cookie", visit),
        ("visitors.visit_of",),
        lambda: [b"hashseal-visit=" + b"A" * 43],
        raises=(),
    ),
    "Accept": Parser(
        text(verifying.wants_page),
        ("verifying.wants_page",),
        lambda: [b"text/html,application/json;q=0.9,*/*;q=0.8"],
        raises=(),
    ),
    "Prefer": Parser(
        request("prefer", parts.wants_async),
        ("parts.wants_async",),
        lambda: [b"wait=5, respond-async"],
        raises=(),
    ),
    "Content-Length": Parser(
        request("content-length", parts.body_of),
        ("parts.body_of",),
        lambda: [b"4711", b"\xb2"],
        raises=(),
    ),
    "Idempotency-Key of the gateway": Parser(
        request("idempotency-key", parts.idempotency_key),
        ("parts.idempotency_key",),
        lambda: [b"a-1"],
    ),
    "what a confined process sends": Parser(
        lambda octets: framing.read_head(octets[: framing.HEAD.size].ljust(framing.HEAD.size)),
        ("framing.read_head",),
        lambda: [framing.head(framing.DONE, b"123")],
        raises=(framing.NotAMessage,),
    ),
    "questions of a confined process": Parser(
        messages.read_question, ("messages.read_question",), lambda: [CALL]
    ),
    "outcomes of a confined process": Parser(
        lambda octets: getattr(messages.read_outcome(octets), "error", lambda: None)(),
        ("messages.read_outcome",),
        lambda: [SIGNED, msgspec.msgpack.encode(messages.Failed("pdf-limit", "a"))],
    ),
    "settings of the gateway": Parser(
        file(settings_file),
        (),
        lambda: [
            b'service_url = "https://a.example"\nmax_upload_mib = 5\nrefuse = ["javascript"]\n'
        ],
        weight=60,
    ),
    "names of files": Parser(
        lambda octets: [
            filing.fitted(
                os.fsdecode(octets.replace(b"\0", b"").replace(b"/", b"") or b"a"), 2, 255
            ),
            filing.shown(os.fsdecode(octets)).encode(),
        ],
        ("filing.fitted", "filing.shown"),
        lambda: ["é".encode() * 120 + b".pdf", b"\xff.pdf"],
        raises=(),
    ),
}

INSIDE: Mapping[str, str] = {
    "assets.address": "names files of the package",
    "batch.unpacked": "hands a zip to `archive.unpack`",
    "data_folder.place": "a document's id, which the gateway made",
    "data_folder.read_secret": "the administrator's own file",
    "examining.examined": "hands bodies to `upload.take` and files to `validation.validate`",
    "ports.place": "see `data_folder.place`",
    "requests.read": "streams what `requests.read_octets` reads",
    "reading.search_log": "hands queries to `reading.search_of`",
    "totp.address": "a user's name, which `model.login_name` took",
    "visitors.read_form": "streams what `visitors.read_fields` reads",
    "visitors.text": "looks into what `visitors.read_fields` read",
}
"""What looks like a parser of outside bytes, and why it is none."""
