"""Who calls a route, from where, and whether the token is for that."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from litestar import Request

from hashseal_server.accounts.model import Principal
from hashseal_server.accounts.networks import Origin
from hashseal_server.web.openapi import OPERATIONS
from hashseal_server.web.parts import Parts
from hashseal_server.web.problems import Scope, request_id

AnyRequest: TypeAlias = Request[Any, Any, Any]
_NEEDED = {(one.method.upper(), one.path): one.scope for one in OPERATIONS}


def needed(method: str, path: str) -> str:
    """The scope that an operation needs; `path` is its pattern.

    Raises:
        LookupError: the operation is not in the table, or takes no token.
    """
    scope = _NEEDED[method, path]
    if scope is None:
        raise LookupError(f"{method} {path} takes no token")
    return scope


def origin(parts: Parts, scope: Scope, forwarded: str | None) -> Origin:
    """Where a request comes from; `forwarded` is its X-Forwarded-For header."""
    client = scope.get("client")
    return Origin(client[0] if client else None, forwarded, parts.proxies)


def origin_of(parts: Parts, request: AnyRequest) -> Origin:
    """The same of a request to a route; several headers are one list (RFC 9110, 5.2)."""
    written = request.headers.getall("x-forwarded-for", None)
    forwarded = ",".join(written) if written else None
    return origin(parts, cast("Scope", request.scope), forwarded)


async def identify(parts: Parts, request: AnyRequest) -> Principal:
    """Who asks; request id and account are there for the log from now on.

    Raises:
        TokenMissing, TokenInvalid, AddressNotAllowed, RateLimited: nobody who may call.
        ScopeMissing: the token is not for this operation.
    """
    scope = cast("Scope", request.scope)
    request_id(scope)
    found = await parts.accounts.authenticate(
        request.headers.get("authorization"), origin_of(parts, request)
    )
    scope["state"]["account"] = found.account_id
    await parts.rates.spend(found.actor)
    found.require(needed(request.method, scope["path_template"]))
    return found
