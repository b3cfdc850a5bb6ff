"""Ports of loopback that stay free until somebody binds them, however long that takes.

They lie below the ports that the kernel hands out by itself, and each test worker has a range.
"""

from __future__ import annotations

import itertools
import os
import socket

_LOWEST, _RANGE = 10_000, 4_000
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 5
_steps = itertools.count(os.getpid())


def free_port() -> int:
    """A port that nobody listens at; no other call of this process names it soon."""
    for step in _steps:
        port = _LOWEST + _worker * _RANGE + step % _RANGE
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError
