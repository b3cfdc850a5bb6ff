"""The Litestar application: every route of the gateway, API and pages."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from hashseal_core.errors import HashsealError
from hashseal_gateway.web import batches, documents, keys, reading, users, verifying, wire
from hashseal_gateway.web.observing import Observed
from hashseal_gateway.web.openapi import document
from hashseal_gateway.web.pages import failures, site
from hashseal_gateway.web.parts import AnyRequest, Parts, json, path_of
from hashseal_gateway.web.problems import on_error

_UNREADY = 503


def application(parts: Parts) -> Observed:
    """All routes, watched."""
    app = Litestar(
        route_handlers=[
            *documents.routes(parts),
            *batches.routes(parts),
            *reading.routes(parts),
            *verifying.routes(parts),
            *users.routes(parts),
            *keys.routes(parts),
            *_plain(parts),
            site.router(parts),
        ],
        exception_handlers={Exception: _on_error},
        after_request=_stamp,
        openapi_config=None,
        request_max_body_size=None,  # `upload` counts, while it writes
        logging_config=None,
        state=State({"log": parts.log}),
    )
    return Observed(app, parts.log, parts.figures)


def _on_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """Problem details for programs; a page for a browser that came to an address without any."""
    wanted = request.headers.get("accept", "")
    if "text/html" not in wanted or path_of(request).startswith("/v1/"):
        return on_error(request, error)
    return failures.on_error(request, error)


async def _stamp(response: Response[Any]) -> Response[Any]:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _plain(parts: Parts) -> list[HTTPRouteHandler]:
    description = document()

    @get("/healthz")
    async def health(request: AnyRequest) -> Response[bytes]:
        return json(request, wire.Alive())

    @get("/readyz")
    async def ready(request: AnyRequest) -> Response[bytes]:
        database = await _works(parts.document_store.counts())
        service = await _works(parts.service.account())
        # A service that is away is told; documents that wait are taken meanwhile.
        found = wire.Ready(database == "ok", database, service)
        return json(request, found, 200 if found.ready else _UNREADY)

    @get("/metrics")
    async def metrics() -> Response[bytes]:
        parts.figures.load(*parts.admission.load)
        parts.figures.documents(await parts.document_store.counts())
        return Response(parts.figures.render(), media_type="text/plain; version=0.0.4")

    @get("/openapi.json")
    async def openapi() -> Response[bytes]:
        return Response(description, media_type="application/json")

    return [health, ready, metrics, openapi]


async def _works(question: Any) -> str:
    try:
        await question
    except HashsealError as error:
        return error.code
    return "ok"
