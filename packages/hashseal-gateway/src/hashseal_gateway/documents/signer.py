"""Has orders done in confined processes, and answers what they ask meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import msgspec

from hashseal.client.wire import Reply, Request
from hashseal_core.errors import AnswerMismatch, HashsealError, Internal
from hashseal_gateway.documents import messages

_Kind = TypeVar("_Kind", bound=messages.Outcome)
_Preparing = TypeVar("_Preparing", messages.Sign, messages.Prepare)
Store = Callable[[messages.Record], Awaitable[None]]
"""Keeps what must be there before a call; an error keeps the call from being made."""


class Confined(Protocol):
    """Does an order in a process that can be killed."""

    async def run(
        self, order: bytes, size: int, answer: Callable[[bytes], Awaitable[bytes]]
    ) -> bytes: ...


class Service(Protocol):
    """The signing service."""

    async def send(self, request: Request) -> Reply: ...
    async def picture(self, seal_id: str, digest: str | None) -> bytes: ...
    def forget(self) -> None: ...


async def _nothing_to_record(_: messages.Record) -> None:
    raise Internal("nothing was expected to be recorded")


class Signer:
    """Orders in, outcomes out."""

    def __init__(self, confined: Confined, service: Service) -> None:
        self._confined = confined
        self._service = service

    async def signed(
        self,
        order: messages.Sign | messages.Resume,
        size: int,
        record: Store = _nothing_to_record,
    ) -> messages.Signed:
        """A signed file.

        Raises:
            HashsealError: nothing was made.
        """
        if isinstance(order, messages.Sign):
            order = await self._illustrated(order)
        return await self._done(order, size, record, messages.Signed)

    async def prepared(self, order: messages.Prepare, size: int) -> messages.Prepared:
        """A prepared file.

        Raises:
            HashsealError: nothing was made.
        """
        order = await self._illustrated(order)
        return await self._done(order, size, _nothing_to_record, messages.Prepared)

    async def unpacked(self, order: messages.Unpack) -> messages.Unpacked:
        """The files of an archive.

        Raises:
            HashsealError: something may have been written into its folder.
        """
        return await self._done(order, order.most_octets, _nothing_to_record, messages.Unpacked)

    async def _illustrated(self, order: _Preparing) -> _Preparing:
        """With the very picture that was settled, if the seal is to be seen."""
        if order.options.appearance is None:
            return order
        picture = await self._service.picture(order.seal_id, order.options.picture)
        return msgspec.structs.replace(order, picture=picture)

    async def _done(
        self, order: messages.Order, size: int, record: Store, kind: type[_Kind]
    ) -> _Kind:
        async def answer(octets: bytes) -> bytes:
            try:
                made = await self._answer(messages.read_question(octets), record)
            except HashsealError as error:
                return msgspec.msgpack.encode(messages.Failed.of(error))
            return msgspec.msgpack.encode(made)

        octets = await self._confined.run(msgspec.msgpack.encode(order), size, answer)
        outcome = messages.read_outcome(octets)
        if isinstance(outcome, messages.Failed):
            if outcome.code == AnswerMismatch.code:
                self._service.forget()
            raise outcome.error()
        if not isinstance(outcome, kind):
            raise Internal("a confined process did something else than it was ordered")
        return outcome

    async def _answer(
        self, question: messages.Call | messages.Record, record: Store
    ) -> messages.Reply | None:
        if isinstance(question, messages.Record):
            await record(question)
            return None
        request = Request(question.method, question.path, question.body, question.headers)
        reply = await self._service.send(request)
        return messages.Reply(reply.status, reply.body, reply.retry_after)
