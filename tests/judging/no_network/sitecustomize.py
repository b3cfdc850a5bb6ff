"""On PYTHONPATH: Python processes, and those that they start, may open no socket to anywhere."""

from __future__ import annotations

import sys


def _refuse(event: str, _arguments: object) -> None:
    if event in {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"}:
        raise PermissionError(f"{event}: there is no network here")


sys.addaudithook(_refuse)
