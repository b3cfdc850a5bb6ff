"""The only way out: HTTP to addresses that an administrator configured, and to no other.

A name is resolved once for a connection; every address it has must be permitted, and the connection
goes to one of these addresses, whatever the name means a moment later: to the first that answers,
each being tried a moment after the one before (RFC 8305). TLS checks the name all the same. Nothing
is followed, decompressed, remembered or read from the environment: `httpcore2` does the exchange
without the conveniences of a client.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from ipaddress import ip_address
from itertools import zip_longest
from pathlib import Path
from typing import TypeAlias

import httpcore2

from hashseal_core.errors import ConfigurationInvalid, OutboundFailed, OutboundRefused
from hashseal_server.infra.destination import (
    Address,
    Destination,
    Network,
    destination,
    is_permitted,
    require_permitted_form,
)
from hashseal_server.infra.resolving import OWNER, Names, Resolve

__all__ = ["Answer", "Outbound", "Resolve", "require_permitted_form"]

Connect: TypeAlias = Callable[[], Coroutine[None, None, httpcore2.AsyncNetworkStream]]

_OK = 200
_CONNECTIONS = 32
_KEPT, _KEPT_SECONDS = 8, 4.0
_TRIED_ADDRESSES = 4
_NEXT_SECONDS = 0.25
"""After so long the next address is tried beside those that have not answered (RFC 8305, 5)."""
_DIGITS = 6

# Its debug lines hold headers, so also the secrets that authenticate the service elsewhere.
logging.getLogger("httpcore2").setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back with status 200.

    Attributes:
        status: 200.
        media_type: of the Content-Type header, in lower case, without parameters.
        body: whole.
    """

    status: int
    media_type: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The head of an answer, whatever its status; `retry_after` in seconds, if that was said."""

    status: int
    retry_after: int | None


def addresses_of(host: str) -> list[str]:
    """What the system's resolver says, in its order, each address once."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to permitted addresses only; asked for a name, it resolves it once."""

    def __init__(self, allowed: Sequence[Network], seconds: float, resolve: Resolve) -> None:
        self._allowed = tuple(allowed)
        self._seconds = seconds
        # In threads of its own: a resolver that hangs must not take those that others work in.
        self._names = Names(resolve, seconds)
        self._tcp = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers.

        Raises:
            OutboundRefused: one of the addresses is not permitted.
            httpcore2.ConnectError, TimeoutError: none answers.
            OutboundFailed: too many names are being looked up.
        """
        del timeout

        async def connect(address: Address) -> httpcore2.AsyncNetworkStream:
            return await self._tcp.connect_tcp(
                str(address), port, None, local_address, socket_options
            )

        addresses = _in_turn(await self._permitted(host))
        async with asyncio.timeout(self._seconds):
            return await _first([partial(connect, one) for one in addresses[:_TRIED_ADDRESSES]])

    async def _permitted(self, host: str) -> list[Address]:
        try:
            addresses = [ip_address(host)]
        except ValueError:
            try:
                names = await self._names.addresses(host)
            except TimeoutError:
                raise
            except (OSError, UnicodeError) as error:
                raise httpcore2.ConnectError("the name cannot be resolved") from error
            addresses = [ip_address(name) for name in names]
        for address in addresses:
            if not is_permitted(address, self._allowed):
                raise OutboundRefused(
                    f"{host} leads to {address}, which is no public address; "
                    "name its network in outbound_networks if it may be called"
                )
        return addresses

    def close(self) -> None:
        self._names.close()


def _in_turn(addresses: Sequence[Address]) -> list[Address]:
    """The resolver's order, but the versions of IP by turns: one of them may lead nowhere."""
    first = [one for one in addresses if one.version == addresses[0].version]
    other = [one for one in addresses if one.version != addresses[0].version]
    return [one for pair in zip_longest(first, other) for one in pair if one is not None]


async def _first(attempts: Sequence[Connect]) -> httpcore2.AsyncNetworkStream:
    """The connection that is there first; an attempt begins when the one before fails or is slow.

    Raises:
        httpcore2.ConnectError, httpcore2.ConnectTimeout: every attempt failed; the last one's.
    """
    failure: BaseException = httpcore2.ConnectError("the name has no address")
    waiting = list(attempts)
    begun: list[asyncio.Task[httpcore2.AsyncNetworkStream]] = []
    won: asyncio.Task[httpcore2.AsyncNetworkStream] | None = None
    try:
        while won is None and (waiting or not all(one.done() for one in begun)):
            if waiting:
                begun.append(asyncio.create_task(waiting.pop(0)()))
            done, _ = await asyncio.wait(
                [one for one in begun if not one.done()],
                timeout=_NEXT_SECONDS if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for one in [one for one in begun if one in done]:
                error = one.exception()
                if error is not None:
                    failure = error
                elif won is None:
                    won = one
    finally:
        others = [one for one in begun if one is not won]
        for one in others:
            one.cancel()
        for late in await asyncio.gather(*others, return_exceptions=True):
            if isinstance(late, httpcore2.AsyncNetworkStream):
                await late.aclose()
    if won is None:
        raise failure
    return won.result()


class Outbound:
    """Calls of one process to the outside.

    Args:
        allowed: networks that are not public and may be called all the same.
        connect_seconds: for resolving, for connecting, and for the TLS handshake, each.
        total_seconds: for the whole exchange, the last octet of the body included.
        roots: file with the certificates (PEM) that TLS trusts; without it the system's.
        resolve: how names become addresses.

    Raises:
        ConfigurationInvalid: `roots` cannot be read.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        connect_seconds: float = 5,
        total_seconds: float = 10,
        roots: Path | None = None,
        resolve: Resolve = addresses_of,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._backend = _Pinned(allowed, connect_seconds, resolve)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=_trust(roots),
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=self._backend,
        )

    async def get(
        self,
        url: str,
        *,
        largest: int,
        accept: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """GET; the body has at most `largest` octets.

        Raises:
            OutboundRefused: the form of the URL or an address behind it is not permitted.
            OutboundFailed: unreachable, too slow, too large, compressed, or not answered 200.
        """
        return await self._exchange("GET", url, None, largest, accept, headers or {})

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        media_type: str,
        largest: int,
        accept: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST `body` as `media_type`; the answer's body has at most `largest` octets.

        Raises:
            OutboundRefused: as `get`.
            OutboundFailed: as `get`.
        """
        sent = {**(headers or {}), "Content-Type": media_type}
        return await self._exchange("POST", url, body, largest, accept, sent)

    async def notify(
        self, url: str, body: bytes, *, media_type: str, headers: Mapping[str, str], owner: str
    ) -> Acknowledgement:
        """POST to somebody who is to be told something; any status will do, no body is read.

        `owner` chose the address; names of one owner never take the threads of all.

        Raises:
            OutboundRefused: as `get`.
            OutboundFailed: unreachable, too slow, or not HTTP; `busy`, nobody was called.
        """
        sent = {**headers, "Content-Type": media_type}
        before = OWNER.set(owner)
        try:
            async with self._exchanging("POST", url, body, None, sent) as (response, _):
                said = {name.lower(): value for name, value in response.headers}
                after = said.get(b"retry-after", b"")
                known = after.isdigit() and len(after) <= _DIGITS  # a date is passed over
                return Acknowledgement(response.status, int(after) if known else None)
        finally:
            OWNER.reset(before)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()
        self._backend.close()

    async def _exchange(
        self,
        method: str,
        url: str,
        body: bytes | None,
        largest: int,
        accept: str | None,
        headers: Mapping[str, str],
    ) -> Answer:
        async with self._exchanging(method, url, body, accept, headers) as (response, where):
            return await _received(response, where, largest)

    @asynccontextmanager
    async def _exchanging(
        self,
        method: str,
        url: str,
        body: bytes | None,
        accept: str | None,
        headers: Mapping[str, str],
    ) -> AsyncIterator[tuple[httpcore2.Response, Destination]]:
        """The response to a request; whatever is done with it in the block counts to its time."""
        where = destination(url)
        sent: list[tuple[bytes | str, bytes | str]] = [
            ("Host", where.authority),
            ("User-Agent", "hashseal"),
            ("Accept", accept or "*/*"),
            ("Accept-Encoding", "identity"),
            *headers.items(),
        ]
        try:
            async with (
                asyncio.timeout(self._total_seconds),
                self._pool.stream(
                    method,
                    httpcore2.URL(
                        scheme=where.scheme,
                        host=where.host,
                        port=where.port,
                        target=where.target,
                    ),
                    headers=sent,
                    content=body,
                    extensions={"timeout": {"connect": self._connect_seconds}},
                ) as response,
            ):
                yield response, where
        except (TimeoutError, httpcore2.TimeoutException) as error:
            raise OutboundFailed(
                f"{where.authority} does not answer in time", reason="timeout"
            ) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            reason, words = _reason(error)
            raise OutboundFailed(f"{where.authority} {words}", reason=reason) from error


async def _received(response: httpcore2.Response, where: Destination, largest: int) -> Answer:
    """The body of a 200, as long as it is within the limit and not encoded."""
    headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
    if response.status != _OK:
        raise OutboundFailed(
            f"{where.authority} answered {response.status} instead of 200", reason="status"
        )
    if headers.get(b"content-encoding", "identity").strip().lower() != "identity":
        raise OutboundFailed(f"{where.authority} answered with a compressed body")
    body = bytearray()
    async for part in response.aiter_stream():
        body += part
        if len(body) > largest:
            raise OutboundFailed(f"{where.authority} answered with more than {largest} octets")
    media_type = headers.get(b"content-type", "").partition(";")[0].strip().lower()
    return Answer(response.status, media_type or None, bytes(body))


def _reason(error: Exception) -> tuple[str, str]:
    """What went wrong, in a word and for whoever operates the service; nothing of what was sent."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return "tls", f"has a TLS certificate that is not trusted: {cause.verify_message}"
    if isinstance(error, httpcore2.ProtocolError):
        return "protocol", "does not speak HTTP as it should"
    return "unreachable", "cannot be reached"


@cache
def _system_trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _trust(roots: Path | None) -> ssl.SSLContext:
    """Verify certificates and host names against the system's roots, or against these alone."""
    if roots is None:
        return _system_trust()
    try:
        return ssl.create_default_context(cafile=roots)
    except OSError as error:
        raise ConfigurationInvalid(
            "the file holds no certificates (PEM) that can be read", field="outbound_ca_file"
        ) from error
