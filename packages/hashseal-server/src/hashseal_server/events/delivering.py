"""Deliver events to webhooks: claim what is due, call, judge, record.

At least once: a delivery is claimed for longer than an attempt can take, and is attempted again,
under the same id of the message, when whoever claimed it has not recorded anything by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from hashseal_core import events as wire
from hashseal_core import webhooks
from hashseal_core.errors import ConfigurationInvalid
from hashseal_server.events.model import Due, Endpoint, Outcome, Recorded, State, Verdict
from hashseal_server.events.schedule import judge
from hashseal_server.events.service import Encryption

CLAIMED = timedelta(seconds=40)
"""Longer than an attempt can take."""
AT_ONCE, AT_ONCE_EACH = 32, 8
"""Deliveries of one piece of work; and those of one account among them, if others wait too."""

Post = Callable[[str, bytes, Mapping[str, str], str], Awaitable[Outcome | None]]
"""Sends body and headers to an address of an account; never raises for what the other end does.

None when it was not called, for want of something here.
"""
Tell = Callable[[str, Mapping[str, object]], None]


class Store(Protocol):
    """What is kept; see `hashseal_server.events.outbox`."""

    async def claim(
        self, now: datetime, until: datetime, *, most: int, each: int
    ) -> Sequence[Due]: ...
    async def record(self, due: Due, at: datetime, outcome: Outcome, verdict: Verdict) -> bool: ...


class Delivering:
    """The deliveries of all accounts.

    Args:
        store: where they wait.
        post: how an address is called.
        encryption: under which the secrets are kept.
        now: the time, UTC.
        jitter: a random number from 0 to 1.
        tell: what an operator should see.
        claimed: for how long a delivery is nobody else's.
    """

    def __init__(
        self,
        *,
        store: Store,
        post: Post,
        encryption: Encryption,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
        tell: Tell,
        claimed: timedelta = CLAIMED,
    ) -> None:
        self._store = store
        self._post = post
        self._encryption = encryption
        self._now = now
        self._jitter = jitter
        self._tell = tell
        self._claimed = claimed

    async def piece(self, _at: datetime, _ended: str | None) -> None:
        """Attempt what is due, side by side; a piece of background work.

        One piece a tick: slow receivers must not keep a tick for ever.

        Raises:
            StorageUnavailable: what was attempted may be attempted again.
        """
        now = self._now()
        due = await self._store.claim(now, now + self._claimed, most=AT_ONCE, each=AT_ONCE_EACH)
        done = await asyncio.gather(*map(self._attempt, due), return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one

    async def _attempt(self, due: Due) -> None:
        at = self._now()
        if due.endpoint is None or due.endpoint.disabled is not None:
            await self._store.record(due, at, Outcome(0), Verdict(State.FAILED))
            return
        outcome = await self._call(due.event, due.endpoint, at)
        if outcome is None:
            return  # no failure of the receiver's: it is due again when the claim ends
        ended = self._now()
        verdict = judge(
            outcome,
            tries=due.tries + 1,
            failing_since=due.endpoint.failing_since,
            at=ended,
            jitter=self._jitter(),
        )
        recorded = await self._store.record(due, at, outcome, verdict)
        if recorded and verdict.disable is not None:
            fields = {"webhook": due.endpoint.id, "account": due.event.account_id}
            self._tell("webhook-disabled", {**fields, "why": verdict.disable})

    async def _call(self, event: Recorded, endpoint: Endpoint, at: datetime) -> Outcome | None:
        try:
            secrets = self._secrets(endpoint, at)
        except ConfigurationInvalid as error:
            self._tell("webhook-secret", {"webhook": endpoint.id, "why": error.detail})
            return Outcome(0, error="secret-unusable")
        body = body_of(event)
        headers = webhooks.headers(event.id, at, body, secrets)
        return await self._post(endpoint.url, body, headers, event.account_id)

    def _secrets(self, endpoint: Endpoint, at: datetime) -> list[bytes]:
        kept = [endpoint.secret]
        if endpoint.previous and endpoint.previous_until and at < endpoint.previous_until:
            kept.append(endpoint.previous)
        return [self._encryption.decrypt(one, endpoint.id) for one in kept]


def describe(event: Recorded) -> wire.Event:
    """As the API and webhooks show it."""
    return wire.Event(
        event.id, event.type, event.at.astimezone(UTC), msgspec.json.decode(event.data)
    )


def body_of(event: Recorded) -> bytes:
    """The body of a message: the same octets at each attempt."""
    return msgspec.json.encode(describe(event))
