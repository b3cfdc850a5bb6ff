"""Children are kept alive, and given up when they do not start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from hashseal_core.errors import ConfigurationInvalid
from hashseal_server.infra.supervisor import Supervisor, listen


def child(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-S", "-c", code])


def test_children_that_end_at_once_are_given_up() -> None:
    started = []

    def start() -> subprocess.Popen[bytes]:
        started.append(child("raise SystemExit(3)"))
        return started[-1]

    with pytest.raises(ConfigurationInvalid, match="workers end"):
        Supervisor(start, 2).run()
    assert 5 <= len(started) <= 8
    assert all(one.poll() is not None for one in started)


def test_a_child_that_dies_is_replaced_and_all_end_in_order() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(child("import time; time.sleep(60)"))
        return started[-1]

    def disturb() -> None:
        for _ in range(7):  # more than would be taken for a failure to start, had they ended so
            time.sleep(0.5)
            [one for one in started if one.poll() is None][-1].kill()
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        Supervisor(start, 2).run()
    finally:
        thread.join()
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    assert len(started) == 9
    assert [one.poll() for one in started].count(-signal.SIGKILL) == 7
    assert [one.poll() for one in started].count(-signal.SIGTERM) == 2


def test_an_address_that_is_taken_is_told() -> None:
    with (
        listen("127.0.0.1", 0) as first,
        pytest.raises(ConfigurationInvalid, match="cannot listen"),
    ):
        listen("127.0.0.1", first.getsockname()[1])
