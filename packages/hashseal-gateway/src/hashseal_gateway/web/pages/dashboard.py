"""The first page: what the account has left, what was signed, what waits, what failed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from hashseal_core import protocol
from hashseal_core.errors import HashsealError, ServiceUnreachable
from hashseal_gateway.documents.model import Document
from hashseal_gateway.log.model import FAILED, Day, Search
from hashseal_gateway.users.model import Permission
from hashseal_gateway.web.pages.journal import reason_of
from hashseal_gateway.web.pages.rendering import page
from hashseal_gateway.web.pages.visitors import visitor_of
from hashseal_gateway.web.parts import AnyRequest, Parts

DAYS, SHOWN = 7, 5
PROMPT_SECONDS = 4
"""What a page waits for the service; what it does not know by then it says."""
FEW_CALLS = 100


@dataclass(frozen=True, slots=True)
class Account:
    """What the service says of the account, or why it does not."""

    found: protocol.Account | None
    error: HashsealError | None

    @property
    def left(self) -> int:
        """Calls that can still be made."""
        return 0 if self.found is None else self.found.balance.free + self.found.balance.paid


def routes(parts: Parts) -> list[HTTPRouteHandler]:
    """The handler."""

    @get("/")
    async def show_dashboard(request: AnyRequest) -> Response[Any]:
        visitor = await visitor_of(parts, request)
        caller = None if visitor.may(Permission.SEE_EVERYTHING) else visitor.caller.id
        first = parts.now().date() - timedelta(days=DAYS - 1)
        account, days, waiting, states, failures = await asyncio.gather(
            _account(parts),
            parts.log_store.days(first, DAYS, caller),
            parts.document_store.longest_waiting(SHOWN, caller),
            parts.document_store.counts(caller),
            parts.log_store.find(Search(outcome=FAILED, caller_id=caller), SHOWN),
        )
        return page(
            visitor,
            "dashboard.html",
            account=account,
            few=FEW_CALLS,
            days=days,
            most=max(1, *(one.signed + one.failed for one in days)),
            week=Day(first, sum(one.signed for one in days), sum(one.failed for one in days)),
            waiting=[(one, _why(one)) for one in waiting],
            waiting_count=states.get("waiting", 0) + states.get("accepted", 0),
            failures=[(one, reason_of(one)) for one in failures],
            everything=caller is None,
        )

    return [show_dashboard]


async def _account(parts: Parts) -> Account:
    try:
        async with asyncio.timeout(PROMPT_SECONDS):
            return Account(await parts.service.account(), None)
    except TimeoutError:
        return Account(None, ServiceUnreachable(f"no answer within {PROMPT_SECONDS} seconds"))
    except HashsealError as error:
        return Account(None, error)


def _why(document: Document) -> str:
    return "" if document.problem is None else document.problem.detail
