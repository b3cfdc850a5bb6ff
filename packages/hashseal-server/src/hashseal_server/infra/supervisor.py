"""Several worker processes behind one listening socket, started again when they end."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence

from hashseal_core.errors import ConfigurationInvalid

DRAIN_SECONDS = 40.0
_QUICK = 5.0
"""A worker that ends sooner than this after its start failed to start."""
_PATIENCE = 5
_PAUSE = 0.1


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that child processes may inherit.

    Raises:
        ConfigurationInvalid: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise ConfigurationInvalid(
            f"cannot listen on {host} port {port}: {error.strerror}", field="port"
        ) from error
    made.listen(2048)
    made.set_inheritable(True)
    return made


class Supervisor:
    """Keeps `count` children alive until SIGTERM or SIGINT; then lets them finish.

    `start` makes one child. The children get SIGTERM and have `DRAIN_SECONDS` to end.
    """

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]], count: int) -> None:
        self._start = start
        self._count = count
        self._children: list[tuple[subprocess.Popen[bytes], float]] = []
        self._ending = False
        self._failures = 0

    def run(self) -> None:
        """Return after an ordered end.

        Raises:
            ConfigurationInvalid: the children end at once again and again.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        while not self._ending:
            self._look_after()
            if self._failures >= _PATIENCE:
                self._drain()
                raise ConfigurationInvalid("workers end as soon as they are started; see the log")
            time.sleep(_PAUSE)
        self._drain()

    def _end(self, _number: int, _frame: object) -> None:
        self._ending = True

    def _look_after(self) -> None:
        now = time.monotonic()
        for child, started in list(self._children):
            if child.poll() is not None:
                self._children.remove((child, started))
                killed = child.returncode == -signal.SIGKILL  # from outside: no failure of its own
                self._failures += now - started < _QUICK and not killed
        if self._children and all(now - started >= _QUICK for _, started in self._children):
            self._failures = 0
        while len(self._children) < self._count and not self._ending:
            if self._failures:
                time.sleep(min(2.0, 0.2 * self._failures))
            self._children.append((self._start(), time.monotonic()))

    def _drain(self) -> None:
        for child, _ in self._children:
            child.send_signal(signal.SIGTERM)
        until = time.monotonic() + DRAIN_SECONDS
        for child, _ in self._children:
            try:
                child.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def command(
    words: Sequence[str], listening: socket.socket
) -> Callable[[], subprocess.Popen[bytes]]:
    """Starts this command with the socket's number as its last argument."""

    def start() -> subprocess.Popen[bytes]:
        number = listening.fileno()
        return subprocess.Popen(  # noqa: S603 - this very program
            [*words, str(number)], pass_fds=(number,), start_new_session=True
        )

    return start
