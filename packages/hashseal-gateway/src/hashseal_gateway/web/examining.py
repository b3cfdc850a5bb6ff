"""A file that somebody brings, looked at: for the API and for the page."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from hashseal.validation.report import Report
from hashseal_core.errors import InvalidValue
from hashseal_gateway.documents.attribution import attributed
from hashseal_gateway.documents.model import Received
from hashseal_gateway.users.model import Caller
from hashseal_gateway.web.parts import AnyRequest, Parts, body_of
from hashseal_gateway.web.report_words import ReportWords, in_words
from hashseal_gateway.web.upload import Taken, take


@dataclass(frozen=True, slots=True)
class Examined:
    """A file that was looked at, and what was found; `name` is its sender's."""

    received: Received
    name: str | None
    report: Report
    judged_at: datetime


async def examined(
    parts: Parts,
    caller: Caller,
    request: AnyRequest,
    *,
    fields: Collection[str] = (),
    allow: Callable[[Taken], None] = lambda _: None,
) -> Examined:
    """The report on the file that a request brings; nothing of it is kept.

    `fields` are those of a page's form, of which `allow` refuses what is not to be done.

    Raises:
        HashsealError: there is no report.
    """
    identity = secrets.token_hex(12)
    async with parts.admission.admitted():
        folder = parts.folder.new_place(identity)
        try:
            taken = await take(body_of(request), folder, parts.limits, fields=fields)
            allow(taken)
            if not taken.documents:
                raise InvalidValue("choose a document first", field="document")
            received, name = taken.documents[0]
            password = taken.options.password or taken.fields.get("password") or None
            judged_at = parts.now()
            report = await parts.verifier.report(received.path, password)
        finally:
            await asyncio.to_thread(parts.folder.discard, identity)
    report = await attributed(report, received.digest, parts.seals, parts.log_store, caller.seals)
    return Examined(received, name, report, judged_at)


def words_of(parts: Parts, found: Examined) -> ReportWords:
    """The report for a person."""
    return in_words(
        found.report,
        digest=found.received.digest,
        size=found.received.size,
        name=found.name,
        judged_at=found.judged_at,
        anchors=parts.verifier.anchors,
    )
