"""Status data over HTTP GET, for caches to keep (RFC 5019, 6; RFC 9111).

What is the same for whoever asks may be kept for an hour at most, and then asked for again by its
ETag: a cache must not say good for long after a revocation. What was made for one request, and what
is no answer, is kept by nobody.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from cryptography import x509
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hashseal_core import protocol
from hashseal_core.errors import NotFound
from hashseal_server.web.parts import Parts

_KEPT = timedelta(hours=1)
_OCSP = b"/ocsp/"
AnyRequest = Request[Any, Any, Any]


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """OCSP by GET, revocation lists, certificates of authorities."""

    @get("/ocsp/{encoded:path}")
    async def ocsp_get(request: AnyRequest, encoded: FromPath[str]) -> Response[bytes]:
        del encoded  # the router joins what has two slashes, and base64 may have them
        body, answer = await parts.authority.status(_request_in(request))
        if answer is None:
            return Response(body, media_type="application/ocsp-response")
        return _cacheable(
            request,
            body,
            "application/ocsp-response",
            begins=answer.this_update,
            ends=answer.next_update,
        )

    @get("/crl/{name:str}")
    async def crl(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
        encoded = await parts.authority.crl(_label(name, ".crl"))
        read = x509.load_der_x509_crl(encoded)
        ends = read.next_update_utc or read.last_update_utc
        return _cacheable(
            request, encoded, "application/pkix-crl", begins=read.last_update_utc, ends=ends
        )

    @get("/certs/{name:str}")
    async def certificate(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
        encoded = await parts.authority.issuer_certificate(_label(name, ".cer"))
        read = x509.load_der_x509_certificate(encoded)
        return _cacheable(
            request,
            encoded,
            "application/pkix-cert",
            begins=read.not_valid_before_utc,
            ends=read.not_valid_after_utc,
        )

    return [ocsp_get, crl, certificate]


def _request_in(request: AnyRequest) -> bytes:
    """The OCSPRequest in a path: base64, of which anything may be percent-encoded (RFC 6960, A.1).

    What is not base64 becomes no octets, which is a malformed request too.
    """
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    text = unquote_to_bytes(raw.partition(b"?")[0].partition(_OCSP)[2])
    if len(text) > 2 * protocol.MAX_TIMESTAMP_QUERY:
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _cacheable(
    request: AnyRequest, body: bytes, media_type: str, *, begins: datetime, ends: datetime
) -> Response[bytes]:
    left = min(ends - datetime.now(UTC), _KEPT)
    tag = f'"{hashlib.sha256(body).hexdigest()}"'
    headers = {
        "ETag": tag,
        "Last-Modified": format_datetime(begins, usegmt=True),
        "Expires": format_datetime(ends, usegmt=True),
        "Cache-Control": f"max-age={max(0, int(left.total_seconds()))}, public, no-transform, "
        "must-revalidate",
    }
    known = request.headers.get("if-none-match", "")
    if tag in {one.strip().removeprefix("W/") for one in known.split(",")}:
        return Response(b"", headers=headers, status_code=304)
    return Response(body, media_type=media_type, headers=headers)


def _label(name: str, ending: str) -> str:
    if not name.endswith(ending):
        raise NotFound("there is nothing at this address")
    return name.removesuffix(ending)
