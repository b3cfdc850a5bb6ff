"""The timestamp authority: one unit with one key, every token verified before it leaves."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

from hashseal_core import cms, tsp
from hashseal_core.algorithms import Digest
from hashseal_core.errors import (
    CmsInvalid,
    DerInvalid,
    FaultySignature,
    HashLength,
    HashsealError,
    InvalidRequest,
    TimestampInvalid,
    TimestampUnavailable,
    Unavailable,
)
from hashseal_core.problems import problem_of
from hashseal_server.keystore.port import KeyStore
from hashseal_server.tsa.clock import MonotonicClock
from hashseal_server.tsa.token import ACCURACY_MS, ALGORITHM, SIZE_BOUND_SPARE, token

UNACCEPTED_POLICY, UNACCEPTED_EXTENSION = 15, 16
_SERIAL_BITS = 159


class Unit(Protocol):
    """A timestamping unit: its key and its chain."""

    @property
    def key(self) -> str: ...
    @property
    def chain(self) -> tuple[bytes, ...]: ...


class TimestampAuthority:
    """Issues tokens with one unit."""

    def __init__(
        self, *, keystore: KeyStore, clock: MonotonicClock, unit: Unit, policy: str
    ) -> None:
        self._keystore = keystore
        self._clock = clock
        self._policy = policy
        self._key = unit.key
        self._chain: Sequence[bytes] = unit.chain[:-1]  # the root is the validator's own

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
    ) -> bytes:
        """A verified token over `digest`, DER.

        Raises:
            TimestampUnavailable: clock or key cannot be trusted now.
        """
        content = tsp.TokenContent(
            policy=self._policy,
            digest=digest,
            serial=1 << (_SERIAL_BITS - 1) | secrets.randbits(_SERIAL_BITS - 1),
            generated_at=self._clock.read(),
            accuracy_ms=ACCURACY_MS,
            nonce=nonce,
        )
        try:
            made = token(
                content, self._chain, lambda tbs: self._keystore.sign(self._key, tbs, ALGORITHM)
            )
            checked = tsp.check_token(made, digest, nonce=nonce).signed_data
        except (FaultySignature, TimestampInvalid, CmsInvalid, Unavailable) as error:
            raise TimestampUnavailable("the token could not be signed") from error
        if not certificate_wanted:
            return cms.assemble(
                signature_algorithm=ALGORITHM,
                signed_attributes_der=checked.signed_attributes_der,
                signature_value=checked.signature_value,
                certificates=self._chain,
                content_type=cms.CONTENT_TST_INFO,
                content=checked.content,
                embed_certificates=False,
            )
        return made

    def respond(self, request_der: bytes) -> bytes:  # noqa: PLR0911 - one per failInfo
        """A TimeStampResp, whatever comes in: granted, or refused with the right failInfo."""
        try:
            request = tsp.parse_request(request_der)
            if request.policy not in {None, self._policy}:
                return tsp.refused(UNACCEPTED_POLICY, "this policy is not offered")
            return tsp.granted(
                self.token(
                    request.digest,
                    nonce=request.nonce,
                    certificate_wanted=request.certificate_wanted,
                )
            )
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
