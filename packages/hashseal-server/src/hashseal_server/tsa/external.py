"""Timestamps of other authorities, over HTTP (RFC 3161, 3.4): every token is verified before use.

The authorities are asked in the order in which the operator names them. One that fails is asked
last for a while, so that one that is away costs each call nothing. Where evidence is needed, one
whose unit is revoked, or has a status that cannot be shown now, has failed, too.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509

from hashseal_core import tsp
from hashseal_core.algorithms import Digest
from hashseal_core.certificates import UNREADABLE
from hashseal_core.errors import (
    ConfigurationInvalid,
    EvidenceUnavailable,
    HashsealError,
    TimestampInvalid,
    TimestampUnavailable,
)
from hashseal_server.infra.outbound import Answer, require_permitted_form
from hashseal_server.tsa.path import chain_to_anchor
from hashseal_server.tsa.token import MadeToken, Suitable

TOKEN_SIZE_BOUND = 8192
"""Octets of the largest token: what clients reserve for a document timestamp."""
TOLERANCE = timedelta(seconds=60)
"""Between an authority's clock and ours, besides the accuracy that the token states."""
_SPARE = 512
_NONCE_BITS = 64
_TOGETHER = 16
_SECONDS = 25.0
_SHOWN_SECONDS = 8.0
"""For the status of one unit, as long as there is another authority to ask."""
_PENALTY_SECONDS = 30.0
_REMEMBERED = 100


class Poster(Protocol):
    """See `hashseal_server.infra.outbound`."""

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        media_type: str,
        largest: int,
        accept: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class RemoteAuthority:
    """Where a timestamp authority is, and the value of the Authorization header, if it wants one.

    Raises:
        OutboundRefused: the form of the URL.
        ConfigurationInvalid: a secret would travel in clear.
    """

    url: str
    authorization: str | None = None

    def __post_init__(self) -> None:
        require_permitted_form(self.url)
        if self.authorization is not None and not self.url.lower().startswith("https://"):
            raise ConfigurationInvalid(
                "an authority that is told a secret must be called by https://",
                field="timestamp_authentication_files",
            )

    @property
    def name(self) -> str:
        """Host and port: what may be logged."""
        return self.url.split("/")[2]


@dataclass(frozen=True, slots=True)
class Trust:
    """What the operator accepts: trust anchors (DER), and one policy or any."""

    anchors: tuple[bytes, ...]
    policy: str | None = None


def authorization(secret: bytes) -> str:
    """The header for `basic user:password` or `bearer token`, as it stands in a secret file.

    Raises:
        ConfigurationInvalid: it is neither.
    """
    scheme, _, value = secret.partition(b" ")
    value = value.strip()
    if scheme.lower() == b"basic" and b":" in value[1:]:
        return f"Basic {base64.b64encode(value).decode('ascii')}"
    if scheme.lower() == b"bearer" and value.isascii() and value and not set(value) & set(b" \t"):
        return f"Bearer {value.decode('ascii')}"
    raise ConfigurationInvalid(
        "the file must hold one line, `basic user:password` or `bearer token`",
        field="timestamp_authentication_files",
    )


def verified(
    response: bytes,
    digest: Digest,
    nonce: int,
    trust: Trust,
    asked: tuple[datetime, datetime],
) -> tuple[MadeToken, tuple[bytes, ...]]:
    """The token of a TimeStampResp and the chain of its unit, after every check. Pure.

    `asked` are the times, by our clock, before the request was sent and after the answer came.

    Raises:
        TimestampUnavailable: the authority refused.
        HashsealError: the token is not what was asked for, or does not hold.
    """
    token_der = tsp.token_of_response(response)
    if len(token_der) > TOKEN_SIZE_BOUND:
        raise TimestampInvalid(f"the token has more than {TOKEN_SIZE_BOUND} octets")
    try:
        token = tsp.check_token(token_der, digest, nonce=nonce)
    except UNREADABLE as error:
        raise TimestampInvalid("the unit's certificate cannot be read") from error
    content = token.content
    if trust.policy is not None and content.policy != trust.policy:
        raise TimestampInvalid("the token is under another policy")
    _require_plausible(content, asked)
    chain = chain_to_anchor(
        token.signing_certificate,
        token.signed_data.certificates,
        trust.anchors,
        content.generated_at,
    )
    return MadeToken(token_der, content, token.signing_certificate), chain


async def _require(suitable: Suitable, unit: bytes, seconds: float | None) -> None:
    """Make sure of a unit, within a time if there is another."""
    try:
        async with asyncio.timeout(seconds):
            await suitable(unit)
    except TimeoutError as error:
        raise EvidenceUnavailable("the status of its unit is not known in time") from error


def _require_plausible(content: tsp.TokenContent, asked: tuple[datetime, datetime]) -> None:
    """The stated time is ours, as far as the two clocks can be compared."""
    if not 0 <= content.accuracy_ms <= TOLERANCE // timedelta(milliseconds=1):
        raise TimestampInvalid("the token states an accuracy that is of no use")
    allowed = TOLERANCE + timedelta(milliseconds=content.accuracy_ms)
    if not asked[0] - allowed <= content.generated_at <= asked[1] + allowed:
        off = (content.generated_at - asked[1]).total_seconds()
        raise TimestampInvalid(f"the token's time is {off:+.0f} s from the time of this service")


class ExternalTimestamps:
    """Takes the place of the timestamp authority in the signing path.

    Args:
        authorities: in the order in which they are asked.
        trust: what must hold for their tokens.
        outbound: the way out.
        now: our clock, aware UTC.
        failed: told the name of an authority and why its token could not be used.
    """

    local = None
    token_size_bound = TOKEN_SIZE_BOUND

    def __init__(
        self,
        authorities: Sequence[RemoteAuthority],
        trust: Trust,
        outbound: Poster,
        *,
        now: Callable[[], datetime],
        failed: Callable[[str, HashsealError], None] = lambda _name, _error: None,
    ) -> None:
        self.authorities = tuple(authorities)
        self._trust = trust
        self._outbound = outbound
        self._now = now
        self._failed = failed
        self._penalties: dict[str, float] = {}
        self._chains: dict[bytes, tuple[bytes, ...]] = {}
        self._places = asyncio.Semaphore(_TOGETHER)

    async def ready(self) -> None:
        """Nothing has to be made ready here."""

    @property
    def policy(self) -> str | None:
        """The policy that is asked for and must be stated, if one was set."""
        return self._trust.policy

    async def issue(
        self,
        digest: Digest,
        *,
        nonce: int | None = None,
        suitable: Suitable | None = None,
        insisting: bool = True,
    ) -> MadeToken:
        """A token over `digest` by the first authority whose token holds and whose unit does.

        It has this nonce, or a new one. Without `insisting` a token whose unit is not suitable is
        given when no other can be had.

        Raises:
            EvidenceUnavailable: there were tokens, but none of a suitable unit.
            StorageUnavailable: whether a unit is suitable cannot be looked up.
            TimestampUnavailable: there is none in time.
        """
        spare: MadeToken | None = None
        try:
            async with asyncio.timeout(_SECONDS), self._places:
                left = self._in_order()
                while left:
                    authority = left.pop(0)
                    try:
                        token = await self.ask(authority, digest, nonce=nonce)
                    except HashsealError as error:
                        self._has_failed(authority, error)
                        continue
                    spare = spare or token
                    try:
                        if suitable is not None:
                            seconds = _SHOWN_SECONDS if left else None
                            await _require(suitable, token.tsu_certificate, seconds)
                    except EvidenceUnavailable as error:
                        self._has_failed(authority, error)
                    else:
                        return token
        except TimeoutError as error:
            if spare is None:
                raise TimestampUnavailable(
                    f"no timestamp authority gave a token within {_SECONDS:.0f} s"
                ) from error
        if spare is None:
            raise TimestampUnavailable("no timestamp authority gave a token that can be used")
        if insisting:
            raise EvidenceUnavailable(
                "no timestamp authority gave a token of a unit whose status can be shown"
            )
        return spare

    def _has_failed(self, authority: RemoteAuthority, error: HashsealError) -> None:
        """Tell it, and ask this one last for a while."""
        self._penalties[authority.url] = time.monotonic() + _PENALTY_SECONDS
        self._failed(authority.name, error)

    async def ask(
        self, authority: RemoteAuthority, digest: Digest, *, nonce: int | None = None
    ) -> MadeToken:
        """A token of this very authority.

        Raises:
            OutboundRefused, OutboundFailed: it cannot be reached.
            HashsealError: its answer cannot be used.
        """
        nonce = secrets.randbits(_NONCE_BITS) if nonce is None else nonce
        begun = self._now()
        secret = authority.authorization
        answer = await self._outbound.post(
            authority.url,
            tsp.build_request(digest, nonce=nonce, policy=self._trust.policy),
            media_type="application/timestamp-query",
            largest=TOKEN_SIZE_BOUND + _SPARE,
            accept="application/timestamp-reply",
            headers={"Authorization": secret} if secret is not None else None,
        )
        token, chain = verified(answer.body, digest, nonce, self._trust, (begun, self._now()))
        self._penalties.pop(authority.url, None)
        self._remember(chain)
        return token

    def chain_of(self, tsu_certificate: bytes) -> tuple[bytes, ...] | None:
        """The chain that was found for a unit of this process's tokens, DER, root last."""
        return self._chains.get(tsu_certificate)

    def chains_with(self, serial: int) -> list[tuple[bytes, ...]]:
        """The chains of this process's units whose certificate has this serial number."""
        return [
            chain
            for unit, chain in self._chains.items()
            if x509.load_der_x509_certificate(unit).serial_number == serial
        ]

    def recognised(self, chain: Sequence[bytes]) -> tuple[bytes, ...] | None:
        """The chain (DER) of a unit whose tokens would be taken now; None if they would not."""
        try:
            begin, end = tsp.tsu_validity(chain[0])
            at = self._now()
            if not begin <= at <= end:
                return None
            found = chain_to_anchor(chain[0], chain[1:], self._trust.anchors, at)
        except (HashsealError, *UNREADABLE):
            return None
        self._remember(found)
        return found

    def _remember(self, chain: tuple[bytes, ...]) -> None:
        self._chains.pop(chain[0], None)
        if len(self._chains) >= _REMEMBERED:
            del self._chains[next(iter(self._chains))]
        self._chains[chain[0]] = chain

    def _in_order(self) -> list[RemoteAuthority]:
        """Those that failed lately come last."""
        at = time.monotonic()
        return sorted(self.authorities, key=lambda one: self._penalties.get(one.url, 0.0) > at)
