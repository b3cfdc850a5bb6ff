"""Routes for an account's administrators: its tokens, and its OAuth2 clients."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hashseal_core import protocol
from hashseal_server.accounts.token_model import ApiToken, Client, read_terms
from hashseal_server.accounts.tokens import NewToken
from hashseal_server.web.bodies import read
from hashseal_server.web.callers import AnyRequest, identify
from hashseal_server.web.parts import Parts
from hashseal_server.web.problems import Scope, request_id

_Shape = TypeVar("_Shape", bound=protocol.Request)


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """Tokens and clients."""
    return [*_tokens(parts), *_clients(parts)]


def _tokens(parts: Parts) -> list[HTTPRouteHandler]:
    tokens = parts.accounts.tokens

    @get("/v1/tokens")
    async def list_tokens(request: AnyRequest) -> Response[bytes]:
        found = await tokens.all((await identify(parts, request)).account_id)
        return _json(request, protocol.Tokens([_token(one) for one in found]))

    @post("/v1/tokens")
    async def create_token(request: AnyRequest) -> Response[bytes]:
        caller = await identify(parts, request)
        asked = await _body(request, protocol.CreateToken)
        days = asked.expires_in_days
        terms = read_terms(
            label=asked.label,
            holder=asked.holder,
            scopes=asked.scopes,
            networks=asked.networks,
            lifetime=None if days is None else timedelta(days=days),
        )
        return _shown(request, *await tokens.create(caller.account_id, terms, caller))

    @post("/v1/tokens/organisation/regenerate")
    async def regenerate_token(request: AnyRequest) -> Response[bytes]:
        caller = await identify(parts, request)
        asked = await _body(request, protocol.RegenerateToken)
        overlap = timedelta(hours=asked.overlap_hours)
        return _shown(request, *await tokens.regenerate(caller.account_id, overlap, caller))

    @post("/v1/tokens/{token_id:str}/rotate")
    async def rotate_token(request: AnyRequest, token_id: FromPath[str]) -> Response[bytes]:
        caller = await identify(parts, request)
        asked = await _body(request, protocol.RotateSecret)
        overlap = timedelta(hours=asked.overlap_hours)
        return _shown(request, *await tokens.rotate(caller.account_id, token_id, overlap, caller))

    @post("/v1/tokens/{token_id:str}/revoke")
    async def revoke_token(request: AnyRequest, token_id: FromPath[str]) -> Response[bytes]:
        caller = await identify(parts, request)
        return _json(request, _token(await tokens.revoke(caller.account_id, token_id, caller)))

    return [list_tokens, create_token, regenerate_token, rotate_token, revoke_token]


def _clients(parts: Parts) -> list[HTTPRouteHandler]:
    clients = parts.clients

    @get("/v1/clients")
    async def list_clients(request: AnyRequest) -> Response[bytes]:
        found = await clients.all((await identify(parts, request)).account_id)
        return _json(request, protocol.Clients([_client(one) for one in found]))

    @post("/v1/clients")
    async def create_client(request: AnyRequest) -> Response[bytes]:
        caller = await identify(parts, request)
        asked = await _body(request, protocol.CreateClient)
        terms = read_terms(label=asked.label, scopes=asked.scopes, networks=asked.networks)
        return _named(request, *await clients.create(caller.account_id, terms, caller))

    @post("/v1/clients/{client_id:str}/rotate")
    async def rotate_client(request: AnyRequest, client_id: FromPath[str]) -> Response[bytes]:
        caller = await identify(parts, request)
        asked = await _body(request, protocol.RotateSecret)
        overlap = timedelta(hours=asked.overlap_hours)
        return _named(request, *await clients.rotate(caller.account_id, client_id, overlap, caller))

    @post("/v1/clients/{client_id:str}/revoke")
    async def revoke_client(request: AnyRequest, client_id: FromPath[str]) -> Response[bytes]:
        caller = await identify(parts, request)
        return _json(request, _client(await clients.revoke(caller.account_id, client_id, caller)))

    return [list_clients, create_client, rotate_client, revoke_client]


async def _body(request: AnyRequest, shape: type[_Shape]) -> _Shape:
    return read(request.headers.get("content-type", ""), await request.body(), shape)


def _json(request: AnyRequest, answer: protocol.Answer) -> Response[bytes]:
    headers = {"X-Request-Id": request_id(cast("Scope", request.scope))}
    body = msgspec.json.encode(answer)
    return Response(body, media_type="application/json", headers=headers, status_code=200)


def _shown(request: AnyRequest, token: ApiToken, made: NewToken) -> Response[bytes]:
    return _json(request, protocol.NewToken(made.text, _token(token)))


def _named(request: AnyRequest, client: Client, made: NewToken) -> Response[bytes]:
    return _json(request, protocol.NewClient(client.id, made.text, _client(client)))


def _token(token: ApiToken) -> protocol.Token:
    return protocol.Token(
        id=token.id,
        kind=token.kind.value,
        status=token.state(datetime.now(UTC)),
        scopes=sorted(token.scopes),
        networks=list(token.networks),
        created_at=token.created_at,
        label=token.label,
        holder=token.holder,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        rotated_at=token.rotated_at,
        earlier_until=token.earlier_until,
    )


def _client(client: Client) -> protocol.Client:
    return protocol.Client(
        id=client.id,
        status="active" if client.revoked_at is None else "revoked",
        scopes=sorted(client.scopes),
        networks=list(client.networks),
        created_at=client.created_at,
        label=client.label,
        last_used_at=client.last_used_at,
        rotated_at=client.rotated_at,
        earlier_until=client.earlier_until,
    )
