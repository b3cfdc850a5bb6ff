"""The timestamp authority: one unit with one key, every token verified before it leaves."""

from __future__ import annotations

import secrets
from typing import Protocol

from hashseal_core import tsp
from hashseal_core.algorithms import Digest
from hashseal_core.errors import (
    DerInvalid,
    FaultySignature,
    HashLength,
    HashsealError,
    InvalidRequest,
    KeystoreRefused,
    TimestampInvalid,
    TimestampUnavailable,
    Unavailable,
)
from hashseal_core.problems import problem_of
from hashseal_server.keystore import verified
from hashseal_server.keystore.port import KeyStore, Signers
from hashseal_server.tsa.clock import MonotonicClock
from hashseal_server.tsa.token import (
    ACCURACY_MS,
    ALGORITHM,
    SIZE_BOUND_SPARE,
    MadeToken,
    frame,
    to_be_signed,
)

UNACCEPTED_POLICY, UNACCEPTED_EXTENSION = 15, 16
_SERIAL_BITS = 159


class Unit(Protocol):
    """A timestamping unit: its key and its chain."""

    @property
    def serial(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def chain(self) -> tuple[bytes, ...]: ...


class TimestampAuthority:
    """Issues tokens with one unit, whose key is in the key store, or behind signers.

    Raises:
        TimestampInvalid: the unit's certificate is not for timestamps.
    """

    def __init__(
        self,
        *,
        keystore: KeyStore,
        clock: MonotonicClock,
        unit: Unit,
        policy: str,
        signers: Signers | None = None,
    ) -> None:
        self._keystore = keystore
        self._signers = signers
        self._clock = clock
        self._policy = policy
        self._key = unit.key
        self._serial = unit.serial
        self._chain = unit.chain[:-1]  # the root is the validator's own
        self._frame = frame(self._chain)
        self._bare = frame(self._chain, embed_certificates=False)
        self._validity = tsp.tsu_validity(self._chain[0])

    @property
    def tsu_certificate(self) -> bytes:
        """The unit's certificate, DER."""
        return self._chain[0]

    @property
    def token_size_bound(self) -> int:
        """Octets that no token exceeds."""
        return sum(len(certificate) for certificate in self._chain) + 2 * SIZE_BOUND_SPARE + 256

    def token(
        self,
        digest: Digest,
        *,
        nonce: int | None = None,
        certificate_wanted: bool = True,
    ) -> MadeToken:
        """A token over `digest` whose signature has been verified, with a key of the key store.

        Raises:
            TimestampUnavailable: clock or key cannot be trusted now.
        """
        content, encoded = self._begin(digest, nonce)
        attributes = to_be_signed(self._frame, encoded)
        try:
            value = verified.sign(self._keystore, self._key, attributes, ALGORITHM, self._chain[0])
        except (FaultySignature, Unavailable) as error:
            raise TimestampUnavailable("the token could not be signed") from error
        return self._finish(content, encoded, value, certificate_wanted=certificate_wanted)

    async def issue(
        self,
        digest: Digest,
        *,
        nonce: int | None = None,
        certificate_wanted: bool = True,
    ) -> MadeToken:
        """The same, wherever the key is.

        Raises:
            TimestampUnavailable: clock or key cannot be trusted now.
        """
        if self._signers is None:
            return self.token(digest, nonce=nonce, certificate_wanted=certificate_wanted)
        content, encoded = self._begin(digest, nonce)
        try:
            value = await verified.sign_timestamp(
                self._signers, self._key, encoded, self._chain[0], ALGORITHM
            )
        except (FaultySignature, KeystoreRefused, Unavailable) as error:
            raise TimestampUnavailable("the token could not be signed") from error
        return self._finish(content, encoded, value, certificate_wanted=certificate_wanted)

    def _begin(self, digest: Digest, nonce: int | None) -> tuple[tsp.TokenContent, bytes]:
        """What the token will say, and that as DER."""
        content = tsp.TokenContent(
            policy=self._policy,
            digest=digest,
            serial=1 << (_SERIAL_BITS - 1) | secrets.randbits(_SERIAL_BITS - 1),
            generated_at=self._clock.read(),
            accuracy_ms=ACCURACY_MS,
            nonce=nonce,
        )
        if not self._validity[0] <= content.generated_at <= self._validity[1]:
            raise TimestampUnavailable("the unit's certificate is not valid now")
        return content, tsp.tst_info(content)

    def _finish(
        self, content: tsp.TokenContent, encoded: bytes, value: bytes, *, certificate_wanted: bool
    ) -> MadeToken:
        around = self._frame if certificate_wanted else self._bare
        made = around.assemble(to_be_signed(self._frame, encoded), value, encoded)
        return MadeToken(made, content, encoded, value, self._serial)

    async def respond(self, request_der: bytes) -> bytes:  # noqa: PLR0911 - one per failInfo
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
        except tsp.UnacceptedExtension as error:
            return tsp.refused(UNACCEPTED_EXTENSION, error.detail)
        except (DerInvalid, HashLength) as error:
            return tsp.refused(5, error.detail)
        except TimestampInvalid as error:
            return tsp.refused(2, error.detail)
        except (InvalidRequest, Unavailable) as error:
            return tsp.refused(problem_of(error).tsp, error.detail)
        except HashsealError:
            return tsp.refused(25, "system failure")
