"""Events by cursor, and the webhooks of an account."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

from litestar import Request, Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hashseal_core import events as wire
from hashseal_core import protocol
from hashseal_core.errors import InvalidValue
from hashseal_server.accounts.model import Principal
from hashseal_server.events.delivering import describe
from hashseal_server.events.service import Shared, describe_delivery
from hashseal_server.web.bodies import read
from hashseal_server.web.parts import Parts

AnyRequest = Request[Any, Any, Any]
Who: TypeAlias = Callable[[AnyRequest], Awaitable[Principal]]
Answered: TypeAlias = Callable[[AnyRequest, protocol.Answer], Response[bytes]]
_Shape = TypeVar("_Shape", bound=protocol.Request)
_PAGE = 100
_EVENT, _DELIVERY = "e", "d"


def routes(parts: Parts, who: Who, answered: Answered) -> list[HTTPRouteHandler]:
    """The routes; `who` says who asks, or refuses, and `answered` makes answers."""
    return [*_events(parts, who, answered), *_webhooks(parts, who, answered)]


def _events(parts: Parts, who: Who, answered: Answered) -> list[HTTPRouteHandler]:
    @get("/v1/events")
    async def list_events(request: AnyRequest) -> Response[bytes]:
        account = (await who(request)).account_id
        sent = request.query_params.get("after")
        after = None if sent is None else _position(_EVENT, sent)
        seconds = _wait(request.query_params.get("wait"))
        found, following = await parts.event_log.page(account, after, _PAGE)
        if not found and seconds:
            await parts.waiting.beyond(account, following, seconds)
            found, following = await parts.event_log.page(account, following, _PAGE)
        cursor = _cursor(_EVENT, following)
        return answered(request, wire.Events([describe(one) for one in found], next=cursor))

    return [list_events]


def _webhooks(  # noqa: C901 - one small function a route
    parts: Parts, who: Who, answered: Answered
) -> list[HTTPRouteHandler]:
    book = parts.webhooks

    async def asked(request: AnyRequest, shape: type[_Shape]) -> tuple[str, _Shape]:
        account = (await who(request)).account_id
        sent = request.headers.get("content-type", "")
        return account, read(sent, await request.body(), shape)

    def shared(request: AnyRequest, made: Shared) -> Response[bytes]:
        return answered(request, wire.WebhookSecret(book.describe(made.endpoint), made.secret))

    @get("/v1/webhooks")
    async def list_webhooks(request: AnyRequest) -> Response[bytes]:
        found = await book.all((await who(request)).account_id)
        return answered(request, wire.Webhooks([book.describe(one) for one in found]))

    @post("/v1/webhooks")
    async def create_webhook(request: AnyRequest) -> Response[bytes]:
        account, wanted = await asked(request, wire.CreateWebhook)
        made = await book.create(account, wanted.url, wanted.types, wanted.description)
        return shared(request, made)

    @get("/v1/webhooks/{webhook_id:str}")
    async def show_webhook(request: AnyRequest, webhook_id: FromPath[str]) -> Response[bytes]:
        found = await book.find((await who(request)).account_id, webhook_id)
        return answered(request, book.describe(found))

    @patch("/v1/webhooks/{webhook_id:str}")
    async def update_webhook(request: AnyRequest, webhook_id: FromPath[str]) -> Response[bytes]:
        account, changes = await asked(request, wire.UpdateWebhook)
        return answered(request, book.describe(await book.update(account, webhook_id, changes)))

    @delete("/v1/webhooks/{webhook_id:str}", status_code=200)
    async def remove_webhook(request: AnyRequest, webhook_id: FromPath[str]) -> Response[bytes]:
        await book.remove((await who(request)).account_id, webhook_id)
        return answered(request, wire.Removed(webhook_id))

    @post("/v1/webhooks/{webhook_id:str}/secret")
    async def rotate_secret(request: AnyRequest, webhook_id: FromPath[str]) -> Response[bytes]:
        account, wanted = await asked(request, wire.RotateWebhookSecret)
        overlap = timedelta(hours=wanted.overlap_hours)
        return shared(request, await book.rotate(account, webhook_id, overlap))

    @post("/v1/webhooks/{webhook_id:str}/test")
    async def test_webhook(request: AnyRequest, webhook_id: FromPath[str]) -> Response[bytes]:
        event = await book.test((await who(request)).account_id, webhook_id)
        return answered(request, describe(event))

    @get("/v1/webhooks/{webhook_id:str}/deliveries")
    async def list_deliveries(request: AnyRequest, webhook_id: FromPath[str]) -> Response[bytes]:
        account = (await who(request)).account_id
        sent = request.query_params.get("after")
        before = None if sent is None else _position(_DELIVERY, sent)
        found, following = await book.deliveries(account, webhook_id, before, _PAGE)
        cursor = None if following is None else _cursor(_DELIVERY, following)
        shown = [describe_delivery(one) for one in found]
        return answered(request, wire.Deliveries(shown, next=cursor))

    @post("/v1/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}/redeliver")
    async def redeliver(
        request: AnyRequest, webhook_id: FromPath[str], delivery_id: FromPath[str]
    ) -> Response[bytes]:
        account = (await who(request)).account_id
        return answered(
            request, describe_delivery(await book.redeliver(account, webhook_id, delivery_id))
        )

    return [
        list_webhooks,
        create_webhook,
        show_webhook,
        update_webhook,
        remove_webhook,
        rotate_secret,
        test_webhook,
        list_deliveries,
        redeliver,
    ]


def _cursor(kind: str, position: int) -> str:
    return base64.b64encode(f"{kind}{position}".encode()).decode()


def _position(kind: str, cursor: str) -> int:
    try:
        decoded = base64.b64decode(cursor, validate=True).decode("ascii")
    except ValueError:
        decoded = ""
    digits = decoded[1:]
    if decoded[:1] == kind and digits.isdigit() and len(digits) <= 18:  # noqa: PLR2004 - 63 bits
        return int(digits)
    raise InvalidValue("use the cursor of the page before", field="after")


def _wait(text: str | None) -> int:
    if text is None:
        return 0
    if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= wire.MAX_WAIT:  # noqa: PLR2004
        return int(text)
    raise InvalidValue(f"wait is from 0 to {wire.MAX_WAIT} seconds", field="wait")
