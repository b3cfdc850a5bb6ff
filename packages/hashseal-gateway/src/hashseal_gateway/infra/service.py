"""The signing service, as the gateway sees it: the public API through the SDK, and nothing else.

Seals are remembered for a short while, since each signing asks for one. A revoked seal that is
still remembered is refused by the service itself.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from pathlib import Path
from typing import TypeVar

import httpx2
import msgspec

from hashseal.client import wire
from hashseal.client.http import AsyncClient
from hashseal.client.wire import OK, Reply, Request
from hashseal_core import protocol
from hashseal_core.errors import (
    AnswerMismatch,
    ConfigurationInvalid,
    EntitlementMissing,
    HashsealError,
    ServiceUnreachable,
    TokenInvalid,
    TokenMissing,
)

_REMEMBERED_SECONDS = 30.0
_MOMENT_SECONDS = 1.0
_QUICK_SECONDS = 1.0
"""A failure that comes sooner is tried again at once: a connection that was kept too long."""
_SEALS = "/v1/seals"
_PICTURES = 64
_Model = TypeVar("_Model", bound=msgspec.Struct)


class Service:
    """One account at one service."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float = 30.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._client = AsyncClient(url, token, transport=transport, attempts=1, timeout=timeout)
        self._remembered: dict[str, tuple[float, Reply]] = {}
        self._pictures: dict[str, bytes] = {}

    async def send(self, request: Request) -> Reply:
        """One request; descriptions of seals may be some seconds old.

        Raises:
            ServiceUnreachable: no answer at all.
            ConfigurationInvalid: the service does not know this gateway.
        """
        about_seals = request.method == "GET" and request.path.startswith(_SEALS)
        about_seals = about_seals and not request.path.endswith("/appearance")
        if about_seals:
            at, reply = self._remembered.get(request.path, (0.0, None))
            if reply is not None and time.monotonic() - at < _REMEMBERED_SECONDS:
                return reply
        reply = await self._send(request)
        _require_known(reply)
        if about_seals and reply.status == OK:
            self._remembered[request.path] = time.monotonic(), reply
        return reply

    async def _send(self, request: Request) -> Reply:
        began = time.monotonic()
        try:
            return await self._client.send(request)
        except ServiceUnreachable:
            if time.monotonic() - began > _QUICK_SECONDS:
                raise
        return await self._client.send(request)

    async def ask(self, request: Request, model: type[_Model]) -> _Model:
        """The answer as a value.

        Raises:
            HashsealError: what the service raised.
            AnswerMismatch: the answer is not of the documented shape.
        """
        try:
            return wire.read(await self.send(request), model)
        except AnswerMismatch:
            self.forget()
            raise

    def forget(self) -> None:
        """Descriptions of seals are not to be trusted, and asked for again."""
        self._remembered.clear()

    async def seals(self, *, newer: bool = False) -> list[protocol.Seal]:
        """Every seal of the account; with `newer` as they were a moment ago, not some seconds.

        Raises:
            HashsealError: they cannot be had.
        """
        request = wire.list_seals()
        at, _ = self._remembered.get(request.path, (0.0, None))
        if newer and time.monotonic() - at > _MOMENT_SECONDS:
            self._remembered.pop(request.path, None)
        return (await self.ask(request, protocol.Seals)).seals

    async def picture(self, seal_id: str, digest: str | None) -> bytes:
        """A seal's picture, SVG; one of a known digest (SHA-256, hexadecimal) is fetched once.

        Raises:
            AnswerMismatch: it is another one.
            HashsealError: it cannot be had.
        """
        if digest is not None and digest in self._pictures:
            return self._pictures[digest]
        svg = wire.read_octets(await self.send(wire.show_appearance(seal_id)))
        found = hashlib.sha256(svg).hexdigest()
        if digest not in {None, found}:
            raise AnswerMismatch("the seal's picture is not the one that its description names")
        while len(self._pictures) >= _PICTURES:
            del self._pictures[next(iter(self._pictures))]
        self._pictures[found] = svg
        return svg

    async def account(self) -> protocol.Account:
        """Name and balance.

        Raises:
            HashsealError: they cannot be had.
        """
        return await self.ask(Request("GET", "/v1/account"), protocol.Account)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _require_known(reply: Reply) -> None:
    """What is wrong between gateway and service is not the caller's to mend."""
    if reply.status not in {401, 403}:
        return
    try:
        wire.read_octets(reply)
    except (TokenMissing, TokenInvalid, EntitlementMissing) as error:
        raise ConfigurationInvalid(
            f"the signing service does not admit this gateway ({error.code}); "
            "its administrator must look at service_token_file",
            field="service_token_file",
        ) from error
    except HashsealError:
        return


def transport_for(ca_file: Path | None) -> httpx2.AsyncBaseTransport | None:
    """TLS that trusts the certificates of this file; None is the system's.

    Raises:
        ConfigurationInvalid: they cannot be read.
    """
    if ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationInvalid(
            f"{ca_file} holds no certificates that can be read", field="service_ca_file"
        ) from error
    return httpx2.AsyncHTTPTransport(verify=context)
