"""The kernel's account of its clock, against what the system's own tool prints."""

from __future__ import annotations

import sys
import time

import pytest

from hashseal_server.infra import timekeeping
from hashseal_server.infra.timekeeping import discipline


@pytest.mark.skipif(sys.platform != "linux", reason="adjtimex is Linux's")
def test_the_kernel_answers() -> None:
    first = discipline()
    assert first is not None
    assert abs(first.offset) < 3600
    assert first.error_bound >= 0
    time.sleep(1.1)
    second = discipline()
    assert second is not None
    # Without a correction the bound grows by 500 µs a second, up to 16 s; a daemon sets it back.
    assert second.error_bound >= first.error_bound or second.synchronised


def test_elsewhere_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timekeeping.sys, "platform", "darwin")
    assert discipline() is None
