"""The Litestar application: routes in, values of the slices out."""

from __future__ import annotations

import asyncio
import functools
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, cast

import msgspec
from litestar import Litestar, Response, get, post
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.routes import HTTPRoute

from hashseal_core import protocol
from hashseal_core.errors import InvalidValue, NotFound
from hashseal_server.accounts.model import Order, Principal
from hashseal_server.accounts.quota import UNIT_PRICE
from hashseal_server.infra.executors import alive
from hashseal_server.infra.timekeeping import discipline
from hashseal_server.signing.model import Record
from hashseal_server.tsa.service import TimestampAuthority
from hashseal_server.web import documentation, oauth2, status, tokens, webhooks
from hashseal_server.web.bodies import read
from hashseal_server.web.callers import AnyRequest, identify
from hashseal_server.web.description import document
from hashseal_server.web.hot import Front, Hot, handlers
from hashseal_server.web.observing import Observed, Observer, Receive, Send
from hashseal_server.web.parts import OtherApi, Parts, Refusal
from hashseal_server.web.problems import Scope, on_error, request_id

_ENCODER = msgspec.json.Encoder(decimal_format="string")
_PAGE = 100
_CURSOR = re.compile(protocol.CURSOR_PATTERN)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)


class Application(NamedTuple):
    """Everything, as ASGI; and the hot endpoints, for a protocol that goes to them directly."""

    asgi: Observed
    hot: Hot


def application(parts: Parts) -> Application:
    """All routes of this process's roles."""
    app = Litestar(
        route_handlers=_routes(parts),
        exception_handlers={Exception: _refusing(parts.others)},
        after_request=_stamp,
        openapi_config=None,
        request_max_body_size=protocol.MAX_BODY,
        logging_config=None,
        state=State({"log": parts.log}),
    )
    observer = Observer(parts.log, parts.figures, parts.tracing)
    hot = Hot(handlers(parts), observer)
    return Application(Observed(Front(Methods(app), hot), observer), hot)


def _refusing(others: Sequence[OtherApi]) -> Refusal:
    """Errors as problem details, but under some addresses as their protocol has them."""

    def refuse(request: AnyRequest, error: Exception) -> Response[bytes]:
        path = request.scope["path"]
        for other in others:
            if path.startswith(f"{other.prefix}/"):
                return other.refusal(request, error)
        return on_error(request, error)

    return refuse


def _routes(parts: Parts) -> list[HTTPRouteHandler]:
    found = _plain(parts)
    if "api" in parts.roles:
        found += [*_collecting(parts), *_reading(parts)]
        found += [*tokens.routes(parts), *oauth2.routes(parts)]
        found += webhooks.routes(parts, functools.partial(identify, parts), _json)
        for prefix in ("/csc/v1", "/csc/v2"):
            found += oauth2.routes(parts, prefix, csc=True)
        found += [route for other in parts.others for route in other.routes]
    if "status" in parts.roles:
        found += status.routes(parts)
    return found


class Methods:
    """ASGI: OPTIONS names all methods of a path; the framework names those it heard of first."""

    def __init__(self, app: Litestar) -> None:
        self.inner = app
        self.routes = app.routes
        self._named = {
            _plain_path(one.path_format): ", ".join(sorted(one.methods))
            for one in app.routes
            if isinstance(one, HTTPRoute)
        }

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await self.inner(scope, receive, send)
            return

        async def naming(message: Any) -> None:
            named = self._named.get(_plain_path(scope.get("path_template", "")))
            if message["type"] == "http.response.start" and named is not None:
                others = [one for one in message["headers"] if one[0].lower() != b"allow"]
                message["headers"] = [*others, (b"allow", named.encode())]
            await send(message)

        await self.inner(scope, receive, naming)


def _plain_path(path: str) -> str:
    """A path without the types of its parts."""
    return re.sub(r":\w+\}", "}", path)


def _scope(request: AnyRequest) -> Scope:
    return cast("Scope", request.scope)


async def _stamp(response: Response[Any]) -> Response[Any]:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _json(request: AnyRequest, body: bytes | protocol.Answer) -> Response[bytes]:
    octets = body if isinstance(body, bytes) else _ENCODER.encode(body)
    headers = {"X-Request-Id": request_id(_scope(request))}
    return Response(octets, media_type="application/json", headers=headers, status_code=200)


def _picture(request: AnyRequest, digest: str, svg: bytes) -> Response[bytes]:
    """A seal's picture, or that the caller has it already (RFC 9110, 13.1.2)."""
    tag = f'"{digest}"'
    known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    same = any(one.removeprefix("W/") in {tag, "*"} for one in known)
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": "default-src 'none'",
        "X-Request-Id": request_id(_scope(request)),
    }
    if same:
        return Response(b"", media_type="image/svg+xml", headers=headers, status_code=304)
    return Response(svg, media_type="image/svg+xml", headers=headers, status_code=200)


def _collecting(parts: Parts) -> list[HTTPRouteHandler]:
    @post("/v1/validation", name="collect_validation")
    async def collect_validation(request: AnyRequest) -> Response[bytes]:
        caller = await identify(parts, request)
        sent = request.headers.get("content-type", "")
        asked = read(sent, await request.body(), protocol.CollectValidation)
        async with parts.admission.admitted(caller.account_id):
            return _json(request, await parts.signing.validation(caller.account_id, asked))

    return [collect_validation]


def _reading(parts: Parts) -> list[HTTPRouteHandler]:  # noqa: C901 - one small function a route
    async def who(request: AnyRequest) -> Principal:
        return await identify(parts, request)

    @get("/v1/seals")
    async def list_seals(request: AnyRequest) -> Response[bytes]:
        found = await parts.seals.all((await who(request)).account_id)
        return _json(request, protocol.Seals([parts.seals.describe(seal) for seal in found]))

    @get("/v1/seals/{seal_id:str}")
    async def show_seal(request: AnyRequest, seal_id: FromPath[str]) -> Response[bytes]:
        seal = await parts.seals.find((await who(request)).account_id, seal_id)
        return _json(request, parts.seals.describe(seal))

    @get("/v1/seals/{seal_id:str}/appearance")
    async def show_appearance(request: AnyRequest, seal_id: FromPath[str]) -> Response[bytes]:
        account = (await who(request)).account_id
        digest, svg = await parts.seals.appearance(account, seal_id)
        return _picture(request, digest, svg)

    @get("/v1/account")
    async def show_account(request: AnyRequest) -> Response[bytes]:
        account = await parts.account_store.find((await who(request)).account_id)
        left = await parts.account_store.balance(account.id)
        shown = protocol.Account(
            id=account.id,
            name=account.name,
            entitlements=sorted(account.entitlements),
            balance=protocol.Balance(left.free, left.paid),
        )
        return _json(request, shown)

    @get("/v1/signatures")
    async def list_signatures(request: AnyRequest) -> Response[bytes]:
        after = _cursor(request.query_params.get("after"))
        caller = await who(request)
        records, following = await parts.signing_store.page(caller.account_id, after, _PAGE)
        cursor = None if following is None else f"{following:016x}"
        page = protocol.SignatureRecords([_record(record) for record in records], next=cursor)
        return _json(request, page)

    @get("/v1/signatures/{signature_id:str}")
    async def show_signature(request: AnyRequest, signature_id: FromPath[str]) -> Response[bytes]:
        caller = await who(request)
        found = await parts.signing_store.record(caller.account_id, signature_id)
        return _json(request, _record(found))

    @get("/v1/usage")
    async def usage(request: AnyRequest) -> Response[bytes]:
        caller = await who(request)
        return _json(request, await _usage(parts, request, caller))

    @get("/v1/orders/{order_id:str}")
    async def show_order(request: AnyRequest, order_id: FromPath[str]) -> Response[bytes]:
        orders = await parts.account_store.orders((await who(request)).account_id)
        for order in orders:
            if order.id == order_id:
                return _json(request, _order(order))
        raise NotFound("this account has no order with that id")

    return [
        list_seals,
        show_seal,
        show_appearance,
        show_account,
        list_signatures,
        show_signature,
        usage,
        show_order,
    ]


def _plain(parts: Parts) -> list[HTTPRouteHandler]:
    @get("/healthz")
    async def healthz() -> Response[bytes]:
        return Response(b'{"status":"ok"}', media_type="application/json")

    @get("/readyz")
    async def readyz(request: AnyRequest) -> Response[bytes]:
        await asyncio.to_thread(parts.keystore.health)
        await parts.database.schema_version()
        return _json(request, b'{"status":"ready"}')

    @get("/metrics")
    async def metrics() -> Response[bytes]:
        parts.figures.ends([*await parts.authority.ends(), *await parts.seals.ends()])
        parts.figures.work(await parts.outcomes.all(), len(await alive(parts.database)))
        _, waiting = await parts.audit.ends()
        late = (datetime.now(UTC) - waiting).total_seconds() if waiting else 0.0
        parts.figures.audit_waits(max(0.0, late))
        if (kept := discipline()) is not None:
            parts.figures.clock(kept.offset, kept.error_bound, synchronised=kept.synchronised)
        own = parts.timestamps
        if isinstance(own, TimestampAuthority) and {"api", "tsa"} & parts.roles:
            standing = own.standing
            state = own.clock.state
            parts.figures.timestamping(
                standing.serial, standing.seconds, state, failures=standing.failures
            )
        parts.figures.load(parts.admission.running, parts.admission.waiting)
        return Response(parts.figures.render(), media_type="text/plain; version=0.0.4")

    @get("/openapi.json")
    async def openapi() -> Response[bytes]:
        return Response(document(), media_type="application/json")

    @get("/docs")
    async def docs() -> Response[bytes]:
        headers = {"Content-Security-Policy": documentation.policy()}
        return Response(documentation.page(), media_type="text/html", headers=headers)

    return [healthz, readyz, metrics, openapi, docs]


def _cursor(text: str | None) -> int:
    if text is None:
        return 0
    if _CURSOR.fullmatch(text) is None:
        raise InvalidValue("use the cursor of the page before", field="after")
    return int(text, 16)


def _record(record: Record) -> protocol.SignatureRecord:
    return protocol.SignatureRecord(
        id=record.id,
        call_id=record.call_id,
        seal_id=record.seal_id,
        hash_algorithm=record.digest.algorithm.value,
        hash=record.digest.value,
        level=record.level,
        signed_at=record.signed_at,
        timestamp_serial=record.token_serial,
    )


def _order(order: Order) -> protocol.OrderRow:
    return protocol.OrderRow(
        order.id, order.calls, order.unit_price, order.amount, order.recorded_at
    )


def _day(text: str | None, default: datetime, field: str) -> datetime:
    if text is None:
        return default
    try:
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise InvalidValue("dates look like 2026-01-31", field=field)


async def _usage(parts: Parts, request: AnyRequest, caller: Principal) -> protocol.Usage:
    """Calls and money by day, seal and token; paid calls in the order in which they were bought."""
    epoch = datetime(2000, 1, 1, tzinfo=UTC)
    begin = _day(request.query_params.get("from"), epoch, "from")
    last = _day(request.query_params.get("to"), datetime.now(UTC), "to")
    orders = await parts.account_store.orders(caller.account_id)
    prices = [order.unit_price for order in orders for _ in range(order.calls)]
    rows: dict[tuple[str, str, str], list[int | Decimal]] = defaultdict(lambda: [0, 0, Decimal(0)])
    used = 0
    end = last + timedelta(days=1) if last < _LAST_DAY else last
    for entry in await parts.account_store.usage(caller.account_id, epoch, end):
        paid = -entry.paid
        amount = sum(prices[used : used + paid], Decimal(0))
        used += paid
        if entry.booked_at < begin:
            continue
        row = rows[(entry.booked_at.date().isoformat(), entry.seal_id, entry.token_id)]
        row[0] += -entry.free
        row[1] += paid
        row[2] += amount
    left = await parts.account_store.balance(caller.account_id)
    return protocol.Usage(
        rows=[
            protocol.UsageRow(
                day, seal, token, int(free + paid), int(free), int(paid), Decimal(amount)
            )
            for (day, seal, token), (free, paid, amount) in sorted(rows.items())
        ],
        orders=[_order(order) for order in orders],
        unit_price=UNIT_PRICE,
        balance=protocol.Balance(left.free, left.paid),
    )
