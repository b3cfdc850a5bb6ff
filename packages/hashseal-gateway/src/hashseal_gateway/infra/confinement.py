"""Work on files of others in processes that are limited and can be killed (I18).

The nursery (`hashseal_gateway.infra.nursery`) forks a child for each order: some milliseconds.
Here the children are asked, watched and, if they take too long, ended. Seconds count while a child
works, not while it waits for an answer of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from hashseal_core.errors import Overloaded, PdfLimit
from hashseal_gateway.infra import framing
from hashseal_gateway.infra.nursery import Limits, Order

Answer = Callable[[bytes], Awaitable[bytes]]
MEMORY = 512 << 20
CPU_SECONDS = 8
WALL_SECONDS = 10
_MORE_FOR_EACH = 16 << 20
"""A file that is larger than `_USUAL` has a second more for so many octets."""
_USUAL = 100 << 20
_GROWTH = 64 << 20
_START_SECONDS = 60
_FORK_SECONDS = 20


@dataclass(slots=True)
class _Child:
    handle: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    done: bool = False
    """It has said its last word, and ends by itself."""

    def end(self) -> None:
        if not self.done:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        os.close(self.handle)
        self.writer.close()


class Confinement:
    """Children of one module, at most so many at work at the same time; `begin` before use."""

    def __init__(self, module: str, at_once: int) -> None:
        self._module = module
        self._at_work = asyncio.Semaphore(at_once)
        self._one = asyncio.Lock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ended = False

    async def begin(self) -> None:
        """Start the nursery.

        Raises:
            Overloaded: it did not start.
        """
        async with self._one:
            await asyncio.to_thread(self._start)

    async def end(self) -> None:
        """End the nursery and what is left of its children."""
        async with self._one:
            self._ended = True
            await asyncio.to_thread(self._stop)

    async def run(self, order: bytes, size: int, answer: Answer) -> bytes:
        """What the module's `work` returns for this order; `size` is that of the file.

        Raises:
            PdfLimit: it needed more time or memory than it may have.
            HashsealError: `answer` raised it; the child was ended.
        """
        more = max(0, size - _USUAL) // _MORE_FOR_EACH
        limits = Limits(memory=MEMORY, file=2 * size + _GROWTH, cpu=CPU_SECONDS + more)
        left = float(WALL_SECONDS + more)
        async with self._child() as child:
            message: tuple[bytes, bytes] = (
                framing.ORDER,
                msgspec.msgpack.encode(Order(limits, order)),
            )
            while True:
                async with self._at_work:
                    began = time.monotonic()
                    kind, octets = await _exchange(child, message, left)
                    left -= time.monotonic() - began
                if kind == framing.DONE:
                    child.done = True
                    return octets
                message = framing.REPLY, await answer(octets)

    @asynccontextmanager
    async def _child(self) -> AsyncIterator[_Child]:
        mine, theirs = socket.socketpair()
        try:
            async with self._one:
                handle = await asyncio.to_thread(self._fork, theirs)
        except BaseException:
            mine.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=mine)
        child = _Child(handle, reader, writer)
        try:
            yield child
        finally:
            child.end()

    def _fork(self, channel: socket.socket) -> int:
        """A new child behind this channel; a nursery that has died is started again.

        Raises:
            Overloaded: there is none.
        """
        for _ in range(0 if self._ended else 2):
            try:
                if self._control is None:
                    self._start()
                if self._control is not None:
                    socket.send_fds(self._control, [b"f"], [channel.fileno()])
                    word, handles, _, _ = socket.recv_fds(self._control, 1, 1)
                    if word == b"p":
                        return handles[0]
            except OSError:
                pass
            self._stop()
        raise Overloaded("no process could be made to read files in")

    def _start(self) -> None:
        if self._control is not None:
            return
        mine, theirs = socket.socketpair()
        with theirs:
            self._nursery = subprocess.Popen(  # noqa: S603 - this very Python, fixed arguments
                [
                    *(sys.executable, "-m", "hashseal_gateway.infra.nursery"),
                    *(str(theirs.fileno()), self._module),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what a reader says of a file may hold its text
                pass_fds=[theirs.fileno()],
            )
        mine.settimeout(_START_SECONDS)
        if mine.recv(1) != b"r":
            mine.close()
            raise Overloaded("the process that files are read in does not start")
        mine.settimeout(_FORK_SECONDS)
        self._control = mine

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._nursery is not None:
            try:
                self._nursery.wait(2)
            except subprocess.TimeoutExpired:
                self._nursery.kill()
                self._nursery.wait()
            self._nursery = None


async def _exchange(
    child: _Child, message: tuple[bytes, bytes], seconds: float
) -> tuple[bytes, bytes]:
    """Send, and wait for what the child says next."""
    kind, octets = message

    async def there_and_back() -> tuple[bytes, bytes]:
        child.writer.write(framing.head(kind, octets) + octets)
        await child.writer.drain()
        found, length = framing.read_head(await child.reader.readexactly(framing.HEAD.size))
        return found, await child.reader.readexactly(length)

    try:
        return await asyncio.wait_for(there_and_back(), max(0.1, seconds))
    except TimeoutError:
        raise PdfLimit("the file takes more time to be read than it may") from None
    except (asyncio.IncompleteReadError, ConnectionError, framing.NotAMessage):
        raise PdfLimit("the file needs more memory or time to be read than it may have") from None
