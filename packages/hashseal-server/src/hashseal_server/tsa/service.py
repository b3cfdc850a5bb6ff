"""The timestamp authority: the unit of this process, every token verified before it leaves."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from hashseal_core import tsp
from hashseal_core.algorithms import Digest
from hashseal_core.errors import (
    FaultySignature,
    HashsealError,
    KeystoreRefused,
    TimestampUnsigned,
    Unavailable,
)
from hashseal_server.keystore import verified
from hashseal_server.keystore.port import KeyStore, Signers
from hashseal_server.tsa.clock import TrustedClock, milliseconds
from hashseal_server.tsa.custody import Custody, Standing, Term
from hashseal_server.tsa.refusals import UNACCEPTED_POLICY, refusal
from hashseal_server.tsa.token import (
    ACCURACY_MS,
    ALGORITHM,
    MadeToken,
    Suitable,
    TimestampingUnit,
    TokenParts,
)

_SERIAL_BITS = 159
_PROMPT = 1_000_000_000
"""Nanoseconds after which a signature comes too late for the time that it is over."""


class Background(Protocol):
    """See `hashseal_server.tsa.timekeeper`."""

    async def begin(self, log: FilteringBoundLogger) -> None: ...
    async def end(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Begun:
    """A token under way: whose it is, and when its time was read (elapsed)."""

    term: Term
    at: int


class TimestampAuthority:
    """Issues tokens with the unit of this process; its key is in the key store, or behind signers.

    It states times between `begin` and `end`; `timekeeper` feeds a clock that wants evidence.
    """

    def __init__(
        self,
        *,
        keystore: KeyStore,
        clock: TrustedClock,
        custody: Custody,
        policy: str,
        signers: Signers | None = None,
        timekeeper: Background | None = None,
    ) -> None:
        self._keystore = keystore
        self._signers = signers
        self._custody = custody
        self._policy = policy
        self._timekeeper = timekeeper
        self.clock = clock

    @property
    def tsu_certificate(self) -> bytes:
        """The certificate of the unit that is owned now, DER.

        Raises:
            TimestampUnavailable: none is.
        """
        return self._custody.current().unit.chain[0]

    @property
    def local(self) -> Callable[[Digest], MadeToken] | None:
        """Makes a token at once; None when the key is behind signers."""
        return self.token if self._signers is None else None

    @property
    def standing(self) -> Standing:
        """Which unit is owned, and for how long, or why none."""
        return self._custody.standing()

    async def begin(self, log: FilteringBoundLogger) -> None:
        """Look after clock and unit from now, in this event loop; without a unit it refuses."""
        if self._timekeeper is not None:
            await self._timekeeper.begin(log)
        await self._custody.begin(log)

    async def end(self) -> None:
        """State no more times."""
        await self._custody.end()
        if self._timekeeper is not None:
            await self._timekeeper.end()

    async def ready(self) -> None:
        """Look after the unit at once if it is not owned, as after a sleep; never fails."""
        await self._custody.ready()

    def token(
        self,
        digest: Digest,
        *,
        nonce: int | None = None,
        certificate_wanted: bool = True,
    ) -> MadeToken:
        """A token over `digest` whose signature has been verified, with a key of the key store.

        Raises:
            TimestampUnavailable: clock or unit cannot be trusted now.
            TimestampUnsigned: the key did not sign, or not rightly, or not in time.
        """
        begun, content, encoded = self._begin(digest, nonce)
        unit = begun.term.unit
        attributes = _attributes(encoded, unit)
        try:
            value = verified.sign(self._keystore, unit.key, attributes, ALGORITHM, unit.chain[0])
        except (FaultySignature, KeystoreRefused, Unavailable) as error:
            raise TimestampUnsigned("the token could not be signed") from error
        return self._finish(begun, content, encoded, value, certificate_wanted=certificate_wanted)

    async def issue(
        self,
        digest: Digest,
        *,
        nonce: int | None = None,
        certificate_wanted: bool = True,
        suitable: Suitable | None = None,
    ) -> MadeToken:
        """The same, wherever the key is; there is no other unit if this one is not `suitable`.

        Raises:
            TimestampUnavailable: clock or unit cannot be trusted now.
            TimestampUnsigned: the key did not sign, or not rightly, or not in time.
        """
        del suitable
        await self._custody.ready()
        if self._signers is None:
            return self.token(digest, nonce=nonce, certificate_wanted=certificate_wanted)
        begun, content, encoded = self._begin(digest, nonce)
        unit = begun.term.unit
        try:
            value = await verified.sign_timestamp(
                self._signers, unit.key, encoded, unit.chain[0], ALGORITHM
            )
        except (FaultySignature, KeystoreRefused, Unavailable) as error:
            raise TimestampUnsigned("the token could not be signed") from error
        return self._finish(begun, content, encoded, value, certificate_wanted=certificate_wanted)

    def _begin(self, digest: Digest, nonce: int | None) -> tuple[_Begun, tsp.TokenContent, bytes]:
        """Whose token it will be, what it will say, and that as DER."""
        term = self._custody.current()
        began = self.clock.elapsed()
        stated = self.clock.read()
        self._custody.require(term, milliseconds(stated))
        if not term.unit.begins_at <= stated <= term.unit.ends_at:
            raise TimestampUnsigned("the unit's key may not be used now")
        content = tsp.TokenContent(
            policy=self._policy,
            digest=digest,
            serial=1 << (_SERIAL_BITS - 1) | secrets.randbits(_SERIAL_BITS - 1),
            generated_at=stated,
            accuracy_ms=ACCURACY_MS,
            nonce=nonce,
        )
        return _Begun(term, began), content, tsp.tst_info(content)

    def _finish(
        self,
        begun: _Begun,
        content: tsp.TokenContent,
        encoded: bytes,
        value: bytes,
        *,
        certificate_wanted: bool,
    ) -> MadeToken:
        """The token, if the unit is still owned: the process may have slept while it was signed."""
        self._custody.require(begun.term)
        if self.clock.elapsed() - begun.at > _PROMPT:
            raise TimestampUnsigned("the signature took too long for the time that it is over")
        unit = begun.term.unit
        around = unit.frame if certificate_wanted else unit.bare
        made = around.assemble(_attributes(encoded, unit), value, encoded)
        return MadeToken(made, content, unit.chain[0], TokenParts(encoded, value, unit.serial))

    async def respond(self, request_der: bytes) -> bytes:
        """A TimeStampResp, whatever comes in: granted, or refused with the right failInfo."""
        try:
            request = tsp.parse_request(request_der)
            if request.policy not in {None, self._policy}:
                return tsp.refused(UNACCEPTED_POLICY, "this policy is not offered")
            made = await self.issue(
                request.digest,
                nonce=request.nonce,
                certificate_wanted=request.certificate_wanted,
            )
            return tsp.granted(made.der)
        except HashsealError as error:
            return refusal(error)


def _attributes(encoded: bytes, unit: TimestampingUnit) -> bytes:
    return tsp.signed_attributes(encoded, unit.chain[0], ALGORITHM.digest)
