"""Timestamp queries of callers, handed on to the authorities that are configured.

What leaves is a token of one of them, verified as those in signatures are. A query is written anew
from what was read of it: only a hash and a nonce of bounded size go out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hashseal_core import tsp
from hashseal_core.errors import HashsealError, TimestampInvalid, TimestampUnavailable
from hashseal_server.tsa.external import ExternalTimestamps
from hashseal_server.tsa.refusals import UNACCEPTED_POLICY, refusal
from hashseal_server.tsa.token import Suitable

LARGEST_NONCE_BITS = 256
_TOGETHER = 4
"""Queries under way: fewer than places there are, so that calls that sign always find some."""
_SECONDS = 40.0
"""For place and token; clients wait for a minute."""
_ADOPTED = 100


class Relay:
    """Answers queries with other authorities' tokens.

    Args:
        external: the authorities.
        adopt: records a unit's chain (DER, root last), so that every process can give evidence.
        suitable: whether evidence of a unit can be had: whoever extends a file needs it. Where it
            cannot be had of any unit, callers have a token all the same; they may not need it.
    """

    def __init__(
        self,
        external: ExternalTimestamps,
        adopt: Callable[[Sequence[bytes]], Awaitable[None]],
        suitable: Suitable,
    ) -> None:
        self._external = external
        self._adopt = adopt
        self._suitable = suitable
        self._adopted: set[bytes] = set()
        self._places = asyncio.Semaphore(_TOGETHER)

    async def respond(self, request_der: bytes) -> bytes:
        """A TimeStampResp, whatever comes in: granted, or refused with the right failInfo."""
        try:
            request = tsp.parse_request(request_der)
            if request.policy not in {None, self._external.policy}:
                return tsp.refused(UNACCEPTED_POLICY, "this policy is not offered")
            if not request.certificate_wanted:
                # RFC 3161, 2.4.1: without certReq no certificates; but the token is the
                # authority's and stays as it was verified.
                raise TimestampInvalid("ask for the certificate (certReq)")
            if (request.nonce or 0).bit_length() > LARGEST_NONCE_BITS:
                raise TimestampInvalid(f"a nonce has {LARGEST_NONCE_BITS} bits at most")
            return tsp.granted(await self._token(request))
        except HashsealError as error:
            return refusal(error)

    async def _token(self, request: tsp.TimestampRequest) -> bytes:
        """A token whose unit is known to every process from now on."""
        try:
            async with asyncio.timeout(_SECONDS), self._places:
                made = await self._external.issue(
                    request.digest,
                    nonce=request.nonce,
                    suitable=self._suitable,
                    insisting=False,
                )
        except TimeoutError as error:
            raise TimestampUnavailable("too many timestamps are under way") from error
        unit = made.tsu_certificate
        chain = self._external.chain_of(unit)
        if chain is not None and unit not in self._adopted:
            await self._adopt(chain)
            if len(self._adopted) >= _ADOPTED:
                self._adopted.clear()
            self._adopted.add(unit)
        return made.der
