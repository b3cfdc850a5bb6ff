"""Routes of OAuth2: the token endpoint (RFC 6749, 3.2) and revocation (RFC 7009).

They answer errors as their RFC says, not as problem details.
"""

from __future__ import annotations

from typing import cast

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler

from hashseal_core import protocol
from hashseal_core.errors import HashsealError, InvalidRequest
from hashseal_core.problems import problem_of
from hashseal_server.accounts.oauth2 import Asked, read_parameters
from hashseal_server.web.callers import AnyRequest, origin_of
from hashseal_server.web.parts import Parts
from hashseal_server.web.problems import Scope, render, request_id

_BAD_REQUEST, _UNAUTHENTICATED, _NO_CONTENT = 400, 401, 204
_SERVICE = "service"


def routes(parts: Parts, prefix: str = "", *, csc: bool = False) -> list[HTTPRouteHandler]:
    """Both endpoints; with `csc` as the CSC API has them (version 2.0.0.2, 8.4.4 and 8.4.5)."""

    @post(f"{prefix}/oauth2/token")
    async def token(request: AnyRequest) -> Response[bytes]:
        try:
            asked = await _asked(request, csc=csc)
            given = await parts.clients.token(asked, origin_of(parts, request))
        except HashsealError as error:
            return _refusal(parts, request, error)
        request.scope["state"]["account"] = given.account_id
        scope = " ".join(sorted(given.scopes))
        answer = protocol.AccessToken(given.text, "Bearer", given.seconds, scope)
        return _json(request, msgspec.json.encode(answer))

    @post(f"{prefix}/oauth2/revoke")
    async def revoke(request: AnyRequest) -> Response[bytes]:
        try:
            asked = await _asked(request, csc=csc)
            await parts.clients.revoke_token(asked, origin_of(parts, request))
        except HashsealError as error:
            return _refusal(parts, request, error)
        done = _json(request, b"" if csc else b"{}")
        done.status_code = _NO_CONTENT if csc else done.status_code
        return done

    return [token, revoke]


async def _asked(request: AnyRequest, *, csc: bool) -> Asked:
    sent = request.headers.get("content-type", "")
    parameters = read_parameters(sent, await request.body(), json_too=csc)
    if csc:  # its one scope for clients says nothing: they get all that they have
        words = [one for one in parameters.pop("scope", "").split() if one != _SERVICE]
        parameters |= {"scope": " ".join(words)} if words else {}
    return Asked(parameters, request.headers.get("authorization"))


def _json(request: AnyRequest, body: bytes) -> Response[bytes]:
    identity = request_id(cast("Scope", request.scope))
    headers = {"X-Request-Id": identity, "Pragma": "no-cache"}  # RFC 6749, 5.1
    return Response(body, media_type="application/json", headers=headers, status_code=200)


def _refusal(parts: Parts, request: AnyRequest, error: HashsealError) -> Response[bytes]:
    row = problem_of(error)
    status, headers, _ = render(error, cast("Scope", request.scope), parts.log)
    if isinstance(error, InvalidRequest):
        status = _BAD_REQUEST  # RFC 6749, 5.2 knows no other
    elif status == _UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Basic realm="hashseal"'
    body = msgspec.json.encode(protocol.OAuth2Error(row.csc, error.detail))
    return Response(body, media_type="application/json", headers=headers, status_code=status)
