"""A signer process on its Unix socket: one thread, one request at a time, callers checked.

Requests of several connections wait in the kernel; while one is being worked on, nothing else is.
A module that does not come back takes its process with it: the supervisor starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import struct

from hashseal_core.errors import HashsealError
from hashseal_server.keystore.folder import SignerFolder
from hashseal_server.keystore.messages import HEAD, size_of
from hashseal_server.keystore.signer import Signer

_CREDENTIALS = struct.Struct("3i")
_MAX_CONNECTIONS = 512
_BACKLOG = 256
_END_SECONDS = 5.0
STUCK_SECONDS = 180
"""Longer than any token takes, also for the largest RSA key."""


def peer(connection: socket.socket) -> tuple[int, int]:
    """User and group of the process at the other end (SO_PEERCRED)."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, group = _CREDENTIALS.unpack(raw)
    return user, group


class SignerServer:
    """Serves one `Signer` in a folder until SIGTERM or SIGINT."""

    def __init__(
        self, signer: Signer, folder: SignerFolder, *, stuck: float = STUCK_SECONDS
    ) -> None:
        self._signer = signer
        self._folder = folder
        self._stuck = stuck
        self._writers: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def run(self) -> None:
        """Return after an ordered end: the request under way is answered.

        Raises:
            ConfigurationInvalid: the folder has no place left.
        """
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        with self._folder.place() as path:
            server = await asyncio.start_unix_server(self._attend, path, backlog=_BACKLOG)
            self._folder.open_to_callers(path)
            async with server:
                await ended.wait()
                server.close()
                attending = [task for task in self._writers.values() if task is not None]
                for writer in tuple(self._writers):
                    writer.close()
                if attending:
                    await asyncio.wait(attending, timeout=_END_SECONDS)

    def _answer(self, request: bytes) -> bytes:
        """SIGALRM ends a process that hangs, also inside the module: no handler is set for it."""
        signal.setitimer(signal.ITIMER_REAL, self._stuck)
        try:
            return self._signer.answer(request)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        if len(self._writers) >= _MAX_CONNECTIONS or not self._folder.admits(*peer(connection)):
            writer.close()
            return
        self._writers[writer] = asyncio.current_task()
        try:
            writer.write(self._signer.hello())
            await writer.drain()
            while True:
                size = size_of(await reader.readexactly(HEAD))
                writer.write(self._answer(await reader.readexactly(size)))
                await writer.drain()
        except (HashsealError, OSError, EOFError):
            pass  # another protocol, or the caller has gone
        finally:
            self._writers.pop(writer, None)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
