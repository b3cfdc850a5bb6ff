"""A listener that nobody should call, and a watch over every connection that Python begins."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Canary:
    """Counts connections on one port of 127.0.0.1, 127.0.0.2 and ::1, and answers each."""

    def __init__(self) -> None:
        self.connections: list[str] = []
        self._sockets = [self._listen(socket.AF_INET, "127.0.0.1", 0)]
        self.port: int = self._sockets[0].getsockname()[1]
        self._sockets.append(self._listen(socket.AF_INET, "127.0.0.2", self.port))
        if socket.has_ipv6:
            with contextlib.suppress(OSError):  # a machine without ::1 has nobody to call there
                self._sockets.append(self._listen(socket.AF_INET6, "::1", self.port))
        for one in self._sockets:
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _listen(self, family: int, host: str, port: int) -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, port))
            made.listen()
        except OSError:
            made.close()
            raise
        return made

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                self.connections.append(str(listening.getsockname()[0]))
                with contextlib.suppress(OSError):
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ncanary"
                    )

    def close(self) -> None:
        """Stop listening."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def canary() -> Iterator[Canary]:
    """A listener for the length of a block."""
    made = Canary()
    try:
        yield made
    finally:
        made.close()


class Watch:
    """What Python's sockets of this process were asked to do: an audit hook, not a patch.

    `connections` are the addresses of `connect`, `names` what was asked of the resolver.

    A process with such a hook can measure no coverage: Python 3.11 runs the hook while it installs
    the trace function of a new thread, and if another thread begins just then it never runs. So
    the hook comes with the first use, and `tools/test.py` runs the tests that use it unmeasured.
    """

    def __init__(self) -> None:
        self.connections: list[Any] = []
        self.names: list[str] = []
        self._on = False
        self._installed = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._on and event == "socket.connect":
            self.connections.append(arguments[1])
        elif self._on and event == "socket.getaddrinfo":
            self.names.append(str(arguments[0]))

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Begin anew, and listen for the length of a block."""
        if not self._installed:
            sys.addaudithook(self._hear)  # never removed, so one for the process
            self._installed = True
        self.connections.clear()
        self.names.clear()
        self._on = True
        try:
            yield self
        finally:
            self._on = False


WATCH = Watch()
