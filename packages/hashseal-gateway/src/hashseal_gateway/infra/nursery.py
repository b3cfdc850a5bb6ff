"""The process that others' files are read in: `python -m hashseal_gateway.infra.nursery FD MODULE`.

It loads a module once, then forks a child for each order that comes over the socket FD. The child
sets its limits before it opens anything, works, and ends: nothing of one file is there when the
next is read. The module has a function `work(order, ask)`; `ask` hands octets to the gateway, which
alone has the network, the token and the database, and gives back the answer. Its other function,
`rehearse()`, does before the first fork what each child would otherwise have to do anew.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

import msgspec

from hashseal_gateway.infra import framing

Ask = Callable[[bytes], bytes]
Work = Callable[[bytes, Ask], bytes]
_FILES = 64


class Limits(msgspec.Struct, frozen=True):
    """What one child may have: octets of memory and of one file, seconds of CPU."""

    memory: int
    file: int
    cpu: int


class Order(msgspec.Struct, frozen=True):
    """What a child is to do; `order` is the module's own."""

    limits: Limits
    order: bytes


def main() -> None:
    """Fork a child for each socket that comes, until nobody is left to send one."""
    control = socket.socket(fileno=int(sys.argv[1]))
    module = importlib.import_module(sys.argv[2])
    work: Work = module.work
    module.rehearse()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the gateway says when it ends
    signal.signal(signal.SIGCHLD, _reap)
    gc.collect()
    gc.freeze()
    control.send(b"r")
    while True:
        word, handles, _, _ = socket.recv_fds(control, 1, 1)
        if not word:
            return
        child = os.fork()
        if child == 0:
            _child(control, handles[0], work)
        _introduce(control, child)
        os.close(handles[0])


def _reap(*_: object) -> None:
    """Take what has ended, so that its CPU time is counted as the gateway's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _introduce(control: socket.socket, child: int) -> None:
    """Hand the gateway a handle by which it can end this very child, and no other."""
    try:
        handle = os.pidfd_open(child)
    except ProcessLookupError:  # ended before it had its order
        control.send(b"x")
        return
    socket.send_fds(control, [b"p"], [handle])
    os.close(handle)


def _child(control: socket.socket, handle: int, work: Work) -> NoReturn:
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        with socket.socket(fileno=handle) as channel:
            _serve(channel, work)
        status = 0
    except (EOFError, ConnectionError, framing.NotAMessage):
        pass  # the gateway has gone
    finally:
        atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter would do, without taking itself down
        os._exit(status)


def _serve(channel: socket.socket, work: Work) -> None:
    _, octets = _receive(channel)
    order = msgspec.msgpack.decode(octets, type=Order)
    _limit(order.limits)

    def ask(question: bytes) -> bytes:
        _send(channel, framing.ASK, question)
        return _receive(channel)[1]

    _send(channel, framing.DONE, work(order.order, ask))


def _limit(limits: Limits) -> None:
    """Private memory, not maps of files: a large file is mapped, and costs what is touched."""
    os.umask(0o077)
    for what, most in (
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_CPU, limits.cpu),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _send(channel: socket.socket, kind: bytes, octets: bytes) -> None:
    channel.sendall(framing.head(kind, octets) + octets)


def _receive(channel: socket.socket) -> tuple[bytes, bytes]:
    kind, length = framing.read_head(_exactly(channel, framing.HEAD.size))
    return kind, _exactly(channel, length)


def _exactly(channel: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        piece = channel.recv(length - len(found))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)


if __name__ == "__main__":
    main()
