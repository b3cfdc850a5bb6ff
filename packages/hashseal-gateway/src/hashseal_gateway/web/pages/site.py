"""Every page, in one router: errors are pages, and each answer has the headers of a page."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router

from hashseal_gateway.web.pages import (
    assets,
    authenticator,
    dashboard,
    entrance,
    journal,
    keys,
    people,
    profile,
    seals,
    try_it,
    verify,
)
from hashseal_gateway.web.pages.failures import on_error
from hashseal_gateway.web.pages.rendering import stamp
from hashseal_gateway.web.parts import Parts


def router(parts: Parts) -> Router:
    """All pages."""
    return Router(
        path="/",
        route_handlers=[
            *assets.routes(),
            *entrance.routes(parts),
            *dashboard.routes(parts),
            *try_it.routes(parts),
            *verify.routes(parts),
            *seals.routes(parts),
            *journal.routes(parts),
            *people.routes(parts),
            *keys.routes(parts),
            *profile.routes(parts),
            *authenticator.routes(parts),
        ],
        exception_handlers={Exception: on_error},
        after_request=_stamp,
    )


async def _stamp(response: Response[Any]) -> Response[Any]:
    return stamp(response)
