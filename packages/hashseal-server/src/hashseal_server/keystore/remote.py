"""Signer processes from the side of the service: a pool of connections, typed errors, recovery.

A signer works on one request at a time. Each takes what is due from the signer with the fewest
calls under way, and a few calls wait at each so that it never idles. A call is repeated only when
its request surely did not reach a signer; everything that comes back is still to be verified with
the certificate's public key.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from hashseal_core.algorithms import Digest, KeyAlgorithm, SignatureAlgorithm
from hashseal_core.errors import KeystoreRefused, KeystoreUnavailable
from hashseal_server.keystore.authorisation import Authoriser, Kind
from hashseal_server.keystore.folder import sockets
from hashseal_server.keystore.messages import (
    HEAD,
    MAKING_SECONDS,
    Answer,
    Destroy,
    Generate,
    Health,
    Hello,
    Key,
    PublicKey,
    Request,
    SignDated,
    SignDigests,
    SignDocuments,
    SignStructure,
    SignTimestamp,
    Values,
    frame,
    parts_of,
    read_answer,
    read_hello,
    size_of,
)
from hashseal_server.keystore.port import DocumentOrder
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.reference import purpose_of

CHUNK = 32
"""Digests in one request: a call of a thousand leaves room for others at every signer."""
_CONNECTIONS = 4
_LOOK_SECONDS = 0.5
_PAUSE_SECONDS = 0.05
_REQUESTS: Mapping[Kind, type[SignDocuments | SignDated | SignDigests]] = {
    Kind.DOCUMENTS: SignDocuments,
    Kind.DATED: SignDated,
    Kind.RAW: SignDigests,
}


class _Connection:
    """One connection to one signer; one request at a time."""

    def __init__(
        self, hello: Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.hello = hello
        self._reader = reader
        self._writer = writer
        self._end = select.poll()
        self._end.register(writer.get_extra_info("socket").fileno(), select.POLLRDHUP)

    @property
    def lost(self) -> bool:
        """The signer has gone; nothing that is written now would reach it."""
        gone = self._reader.at_eof() or self._writer.is_closing()
        return gone or bool(self._end.poll(0))  # the event loop may not have seen it yet

    async def ask(self, framed: bytes) -> bytes:
        """The answer to a request.

        Raises:
            OSError, EOFError: the signer ended meanwhile; it may have signed.
        """
        self._writer.write(framed)
        await self._writer.drain()
        size = size_of(await self._reader.readexactly(HEAD))
        return await self._reader.readexactly(size)

    def close(self) -> None:
        """Give up; an answer that comes late is nobody's."""
        self._writer.close()


@dataclass(slots=True)
class _Peer:
    """A signer process, by its socket: idle connections, and how many calls are under way."""

    path: Path
    purposes: frozenset[Purpose] | None = None
    idle: list[_Connection] = field(default_factory=list)
    busy: int = 0

    def close(self) -> None:
        """Close what is idle."""
        while self.idle:
            self.idle.pop().close()


class RemoteSigners:
    """All signer processes in `folder`, for one event loop.

    `timeout` in seconds bounds each call but that which makes a key; a signer that is not there is
    waited for `patience` seconds. Without an `authoriser` no documents can be signed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        now: Callable[[], datetime],
        authoriser: Callable[[], Authoriser] | None = None,
        timeout: float = 10.0,
        patience: float = 2.0,
        connections: int = _CONNECTIONS,
    ) -> None:
        self._folder = folder
        self._now = now
        self._authoriser = authoriser
        self._timeout = timeout
        self._patience = patience
        self._connections = connections
        self._peers: dict[Path, _Peer] = {}
        self._looked_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def sign_documents(self, order: DocumentOrder) -> list[bytes]:
        """The signature values over the signed attributes of each digest, not yet verified.

        Raises:
            KeystoreRefused: key, account, certificate and algorithm do not go together.
            KeystoreUnavailable: no signer answered in time; nothing is known to be signed.
        """
        kind = Kind.DOCUMENTS if order.signing_time is None else Kind.DATED
        return await self._sign(order, kind)

    async def sign_digests(self, order: DocumentOrder) -> list[bytes]:
        """The signature values over the digests themselves, not yet verified.

        Raises:
            KeystoreRefused, KeystoreUnavailable: as `sign_documents`, and for every key that is not
                made for that.
        """
        return await self._sign(order, Kind.RAW)

    async def _sign(self, order: DocumentOrder, kind: Kind) -> list[bytes]:
        if len(order.digests) <= CHUNK:
            return await self._sign_part(order, order.digests, kind)
        parts = [order.digests[at : at + CHUNK] for at in range(0, len(order.digests), CHUNK)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._attempt(order, part, kind)) for part in parts]
        outcomes = [task.result() for task in tasks]
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [value for outcome in outcomes if isinstance(outcome, list) for value in outcome]

    async def _attempt(
        self, order: DocumentOrder, digests: Sequence[Digest], kind: Kind
    ) -> list[bytes] | KeystoreRefused | KeystoreUnavailable:
        """Errors as values: a task group would wrap them."""
        try:
            return await self._sign_part(order, digests, kind)
        except (KeystoreRefused, KeystoreUnavailable) as error:
            return error

    async def _sign_part(
        self, order: DocumentOrder, digests: Sequence[Digest], kind: Kind
    ) -> list[bytes]:
        if self._authoriser is None:
            raise KeystoreRefused("this process may not authorise signatures")
        authoriser = self._authoriser()

        def request(hello: Hello) -> Request:
            granted = authoriser.authorise(
                boot=hello.boot,
                account=order.account,
                key=order.key,
                certificate=order.certificate,
                algorithm=order.algorithm,
                digests=digests,
                now=self._now(),
                kind=kind,
                signing_time=order.signing_time,
            )
            return _REQUESTS[kind](granted, order.certificate)

        purpose = Purpose.RAW if kind is Kind.RAW else Purpose.SEAL
        return list(_values(await self._call(purpose, request), len(digests)))

    async def sign_timestamp(
        self, key: str, tst_info: bytes, certificate: bytes, algorithm: SignatureAlgorithm
    ) -> bytes:
        """The signature value over the signed attributes of a token, not yet verified.

        Raises:
            KeystoreRefused: not a TSTInfo of now, or not the key's certificate.
            KeystoreUnavailable: no signer answered in time.
        """
        asked = SignTimestamp(key, tst_info, certificate, *parts_of(algorithm))
        (value,) = _values(await self._call(purpose_of(key), lambda _: asked), 1)
        return value

    async def sign_structure(
        self, key: str, to_be_signed: bytes, algorithm: SignatureAlgorithm
    ) -> bytes:
        """The signature value over a structure of the authority, not yet verified.

        Raises:
            KeystoreRefused: the key does not sign this form.
            KeystoreUnavailable: no signer answered in time.
        """
        asked = SignStructure(key, to_be_signed, *parts_of(algorithm))
        (value,) = _values(await self._call(purpose_of(key), lambda _: asked), 1)
        return value

    async def generate(
        self, purpose: Purpose, algorithm: KeyAlgorithm, account: str = ""
    ) -> tuple[str, bytes]:
        """Make a key for an account, or for the operator: reference, SubjectPublicKeyInfo (DER).

        Raises:
            KeystoreRefused, KeystoreUnavailable: none that anybody will ever name.
        """
        made = await self._call(
            purpose, lambda _: Generate(purpose, algorithm, account), MAKING_SECONDS
        )
        return _key(made)

    async def public_key(self, key: str) -> bytes:
        """SubjectPublicKeyInfo, DER.

        Raises:
            KeystoreRefused: no such key.
            KeystoreUnavailable: no signer answered in time.
        """
        return _key(await self._call(purpose_of(key), lambda _: PublicKey(key)))[1]

    async def destroy(self, key: str) -> None:
        """Remove a key that was made just now.

        Raises:
            KeystoreRefused: it is in use.
            KeystoreUnavailable: no signer answered in time.
        """
        await self._call(purpose_of(key), lambda _: Destroy(key))

    async def health(self, purpose: Purpose) -> None:
        """Make a real signature in one of the signers that serve this purpose.

        Raises:
            KeystoreUnavailable: it failed.
        """
        await self._call(purpose, lambda _: Health())

    async def close(self) -> None:
        """Close every connection."""
        for known in self._peers.values():
            known.close()
        await asyncio.sleep(0)  # sockets are closed when the loop comes round

    async def _call(
        self,
        purpose: Purpose,
        request: Callable[[Hello], Request],
        timeout: float | None = None,  # noqa: ASYNC109 - not the caller's to bound
    ) -> Answer:
        try:
            async with asyncio.timeout(timeout or self._timeout):
                known, connection = await self._take(purpose)
                try:
                    answer = await connection.ask(frame(request(connection.hello)))
                except BaseException:
                    connection.close()  # whatever comes now belongs to nobody
                    raise
                else:
                    known.idle.append(connection)
                finally:
                    known.busy -= 1
                    self._wake()
        except TimeoutError as error:
            raise KeystoreUnavailable("no signer answered in time") from error
        except (OSError, EOFError) as error:
            raise KeystoreUnavailable("the signer ended while it was asked") from error
        return read_answer(answer)

    async def _take(self, purpose: Purpose) -> tuple[_Peer, _Connection]:
        """A connection of one's own; for `patience` seconds a signer that is not there may come."""
        until = time.monotonic() + self._patience
        while True:
            self._look()
            serving = [
                one for one in self._peers.values() if purpose in (one.purposes or {purpose})
            ]
            free = [one for one in serving if one.busy < self._connections]
            for known in sorted(free, key=lambda one: one.busy):
                known.busy += 1
                try:
                    connection = await self._connection(known)
                except BaseException:
                    known.busy -= 1
                    raise
                if connection is not None and purpose in connection.hello.purposes:
                    return known, connection
                known.busy -= 1
                if connection is not None:
                    known.idle.append(connection)
            if any(one.busy for one in serving):
                await self._turn()
            elif time.monotonic() < until:
                await asyncio.sleep(_PAUSE_SECONDS)
                self._looked_at = float("-inf")
            else:
                raise KeystoreUnavailable("no signer is there")

    async def _turn(self) -> None:
        """Wait until a call has ended, or a new signer may have come."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await asyncio.wait((turn,), timeout=_LOOK_SECONDS)
        if turn.done():
            return
        turn.cancel()
        with contextlib.suppress(ValueError):
            self._waiting.remove(turn)

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _connection(self, known: _Peer) -> _Connection | None:
        while known.idle:
            connection = known.idle.pop()
            if not connection.lost:
                return connection
            connection.close()
        try:
            reader, writer = await asyncio.open_unix_connection(known.path)
        except OSError:
            return None
        try:
            size = size_of(await reader.readexactly(HEAD))
            hello = read_hello(await reader.readexactly(size))
        except (OSError, EOFError, KeystoreUnavailable):
            writer.close()
            return None
        except BaseException:
            writer.close()
            raise
        known.purposes = frozenset(hello.purposes)
        return _Connection(hello, reader, writer)

    def _look(self) -> None:
        """See which sockets are there, now and then."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        found = sockets(self._folder)
        for path in found:
            self._peers.setdefault(path, _Peer(path))
        for path in self._peers.keys() - set(found):
            if not self._peers[path].busy:
                self._peers.pop(path).close()


def _values(answer: Answer, count: int) -> tuple[bytes, ...]:
    if not isinstance(answer, Values) or len(answer.values) != count:
        raise KeystoreUnavailable("the signer's answer is not to what was asked")
    return answer.values


def _key(answer: Answer) -> tuple[str, bytes]:
    if not isinstance(answer, Key):
        raise KeystoreUnavailable("the signer's answer is not to what was asked")
    return answer.reference, answer.spki
