"""The end of the gateway while a document is worked on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import FrameType

import generated_pdfs
from premises import premises

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())


def waiting_threads() -> list[str]:
    """Threads that wait for an attempt on the gateway's loop; at exit Python would wait for them."""
    found = []
    for frame in sys._current_frames().values():
        one: FrameType | None = frame
        while one is not None:
            if one.f_code.co_name == "_on_loop":
                found.append(one.f_code.co_filename)
            one = one.f_back
    return found


def test_no_thread_outlives_the_gateway(tmp_path: Path) -> None:
    with premises(tmp_path) as home:
        program = home.client()
        assert program.get("/v1/seals").status_code == 200  # the seal is known, the call waits
        home.wire.delay = 60.0
        answer = program.post(
            "/v1/documents",
            content=PLAIN,
            headers={"Content-Type": "application/pdf", "Prefer": "respond-async"},
            params={"seal": home.service.seal_ids["P-256"]},
        )
        assert answer.status_code == 202, answer.text
        until = time.monotonic() + 20
        while not waiting_threads() and time.monotonic() < until:
            time.sleep(0.05)
        assert waiting_threads()
    until = time.monotonic() + 5
    while waiting_threads() and time.monotonic() < until:
        time.sleep(0.05)
    assert waiting_threads() == []
