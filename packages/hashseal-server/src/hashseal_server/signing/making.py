"""The signatures of one call, wherever the keys are; each is verified first (I7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

from hashseal_core import cms, tsp
from hashseal_core.algorithms import Digest, KeyAlgorithm, Level
from hashseal_core.errors import TimestampUnavailable
from hashseal_server.keystore import verified
from hashseal_server.keystore.port import DocumentOrder, KeyStore, Signers
from hashseal_server.seals.model import Seal
from hashseal_server.signing.assembly import algorithm_of, assemble
from hashseal_server.signing.model import MadeSignature
from hashseal_server.tsa.token import MadeToken, Suitable

_MILLISECONDS: Mapping[KeyAlgorithm, float] = {
    KeyAlgorithm.P256: 0.25,
    KeyAlgorithm.P384: 1.5,
    KeyAlgorithm.P521: 2.5,
    KeyAlgorithm.RSA2048: 0.7,
    KeyAlgorithm.RSA3072: 2.0,
    KeyAlgorithm.RSA4096: 4.5,
}
"""About what one signature with its timestamp takes; whatever is longer than `_LONG` in all is made
in a thread, so that the event loop goes on. For the others the change of thread costs more."""
_LONG = 5.0
_TOGETHER = 16
"""Tokens of one call that are asked of signers, or of another authority, at a time."""
_TOKENS_SECONDS = 45.0
"""For all of them: a little less than clients wait."""
_Made = TypeVar("_Made")


class Timestamps(Protocol):
    """See `hashseal_server.tsa`; `local` makes a token at once, if that can be done here.

    `suitable` raises when a unit (certificate, DER) does not do; then another one is tried, if
    there is one.
    """

    @property
    def local(self) -> Callable[[Digest], MadeToken] | None: ...
    async def ready(self) -> None: ...
    async def issue(
        self, digest: Digest, *, nonce: int | None = None, suitable: Suitable | None = None
    ) -> MadeToken: ...


@dataclass(frozen=True, slots=True)
class Making:
    """What the signatures of a call are made from."""

    call_id: str
    seal: Seal
    digests: list[Digest]
    signing_time: datetime | None

    def assemble(
        self, index: int, digest: Digest, value: bytes, token: MadeToken | None
    ) -> MadeSignature:
        name = f"{self.call_id}-{index}"
        return assemble(name, self.seal, digest, value, token, self.signing_time)


class Maker:
    """Makes them; `signers` are asked where the keys are behind them."""

    def __init__(
        self, keystore: KeyStore, timestamps: Timestamps, signers: Signers | None = None
    ) -> None:
        self._keystore = keystore
        self._timestamps = timestamps
        self._signers = signers

    async def make(
        self, making: Making, level: Level, suitable: Suitable | None = None
    ) -> tuple[MadeSignature, ...]:
        """Every signature of the call; each is verified before it goes further (I7).

        Args:
            making: what they are made from.
            level: whether there are tokens.
            suitable: what a unit must be; of those at hand that make tokens at once it is not
                asked.
        """
        seal, digests = making.seal, making.digests
        stamp = self._timestamps.local if level.has_timestamp else _no_token
        if self._signers is None and stamp is not None:
            return await _in_turn(partial(self._make_here, making, stamp), seal, digests)
        values = await self._values(making)
        tokens: list[MadeToken] | list[None] = [None] * len(values)
        if level.has_timestamp:
            tokens = await self._tokens([tsp.imprint_of(value) for value in values], suitable)
        return tuple(
            making.assemble(index, *parts)
            for index, parts in enumerate(zip(digests, values, tokens, strict=True))
        )

    def _make_here(
        self, making: Making, stamp: Callable[[Digest], MadeToken | None]
    ) -> tuple[MadeSignature, ...]:
        """The same with every key at hand."""
        made = []
        for index, digest in enumerate(making.digests):
            value = self._value(making, digest)
            made.append(making.assemble(index, digest, value, stamp(tsp.imprint_of(value))))
        return tuple(made)

    def _value(self, making: Making, digest: Digest) -> bytes:
        seal, certificate = making.seal, making.seal.chain[0]
        return verified.sign(
            self._keystore,
            seal.key,
            cms.signed_attributes(digest, certificate, signing_time=making.signing_time),
            algorithm_of(seal, digest),
            certificate,
        )

    async def _values(self, making: Making) -> Sequence[bytes]:
        """The signature values, wherever the key is."""
        seal, digests = making.seal, making.digests
        if self._signers is None:
            return await _in_turn(
                lambda: [self._value(making, digest) for digest in digests], seal, digests
            )
        return await verified.sign_documents(
            self._signers,
            DocumentOrder(
                account=seal.account_id,
                key=seal.key,
                certificate=seal.chain[0],
                algorithm=algorithm_of(seal, digests[0]),
                digests=digests,
                signing_time=making.signing_time,
            ),
        )

    async def _tokens(self, imprints: list[Digest], suitable: Suitable | None) -> list[MadeToken]:
        """A token for each, some at a time; a token's time is that of its turn.

        Raises:
            TimestampUnavailable: one is not there; the others are no longer asked for.
        """
        places = asyncio.Semaphore(_TOGETHER)

        async def issue(imprint: Digest) -> MadeToken:
            async with places:
                return await self._timestamps.issue(imprint, suitable=suitable)

        asked = [asyncio.ensure_future(issue(imprint)) for imprint in imprints]
        try:
            async with asyncio.timeout(_TOKENS_SECONDS):
                return await asyncio.gather(*asked)
        except TimeoutError as error:
            raise TimestampUnavailable("the timestamps of this call take too long") from error
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)


def _no_token(_imprint: Digest) -> None:
    """What level B-B has."""


async def _in_turn(work: Callable[[], _Made], seal: Seal, digests: Sequence[Digest]) -> _Made:
    """Signatures with keys at hand: at once if they are few, else in a thread."""
    if len(digests) * _MILLISECONDS[seal.key_algorithm] > _LONG:
        return await asyncio.to_thread(work)
    return work()
