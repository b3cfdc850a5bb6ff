"""I18: hostile files and bodies are refused typed, within 10 s and 512 MiB, and stop nothing."""

from __future__ import annotations

import os
import resource
import time
from functools import cache
from pathlib import Path

import attacks
import generated_pdfs
import hostile_bags
import hostile_pdfs
import pytest
from process_tree import peak

from hashseal.validation import limits
from hashseal_core.errors import PdfLimit
from hashseal_gateway.infra.confinement import (
    CPU_SECONDS,
    MEMORY,
    WALL_SECONDS,
    Confinement,
)

SECONDS = 10
PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
PDF = {"Content-Type": "application/pdf"}


NAMES = (
    "deep-arrays",
    "many-tokens",
    "own-child",
    "references",
    "field-ring",
    "object-stream-bomb",
    "section-bombs",
    "overlapping-strings",
    "lzw",
    "huge-numbers",
    "empty",
    "zeros",
)
"""One of each kind; all of them are read by the same code in `tests/e2e/test_i18_hostile_input.py`."""


@cache
def hostile(name: str) -> bytes:
    """Some take seconds to make."""
    return hostile_pdfs.HOSTILE[name]()


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_file(house, caller, name: str) -> None:
    document = hostile(name)
    before = house.left()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, at = time.process_time(), time.monotonic()
    nursery = house.gateway.documents._signer._confined._nursery.pid
    with peak(nursery) as children:
        answer = caller.sign(document)
    assert time.monotonic() - at < SECONDS + 5  # it has to come in, too
    assert children.largest < 512
    if answer.status_code == 200:
        assert answer.content.startswith(document)
        assert house.left() == before - 1
    else:
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["code"].startswith("pdf-") or not document, answer.text
        assert house.left() == before
    assert house.strays() == set()
    # The gateway itself reads none of it: neither seconds nor memory of its own.
    assert time.process_time() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 512 << 10
    assert caller.http.get("/healthz").status_code == 200


VERIFIED = (
    "deep-arrays",
    "references",
    "field-ring",
    "object-stream-bomb",
    "section-bombs",
    "zeros",
)


@pytest.mark.parametrize("name", VERIFIED)
def test_a_hostile_file_is_verified(house, caller, name: str) -> None:
    """Its own process, limits and time; there is a report, or a typed refusal."""
    document = hostile(name)
    with peak(os.getpid()) as used:
        before = set(used.each)
        answer = caller.http.post("/v1/verify", content=document, headers=PDF)
    assert max(size for pid, size in used.each.items() if pid not in before) < 512
    if answer.status_code == 200:
        assert answer.json()["report"]["verdict"] != "valid"
    else:
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["code"].startswith("pdf-"), answer.text
    assert house.strays() == set()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hundred", "103 certificates in 'Seal' and"),
        ("hundred in the token", "certificates in 'Seal' and its timestamps"),
        ("same name", "14 certificates are named"),
        ("same name in the token", "certificates are named"),
    ],
)
def test_hostile_certificates_are_verified(house, caller, name: str, told: str) -> None:
    """Refused for what they are, before anybody tries to build their chains."""
    document, _ = hostile_bags.made(name, attacks.prepared())
    spent = children_cpu()
    answer = caller.http.post("/v1/verify", content=document, headers=PDF)
    assert (answer.status_code, answer.json()["code"]) == (422, "pdf-limit"), answer.text
    assert told in answer.json()["detail"]
    assert children_cpu() - spent < SECONDS
    assert house.strays() == set()
    assert caller.http.get("/healthz").status_code == 200


def children_cpu() -> float:
    """Seconds of CPU of the children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


SLOW = """
import os, time
def rehearse():
    pass
def work(order, ask):
    what = order.decode()
    if what == "spin":
        while True:
            pass
    if what == "sleep":
        time.sleep(600)
    if what == "memory":
        kept = []
        while True:
            kept.append(bytearray(1 << 24))
    if what == "file":
        with open(os.environ["HASHSEAL_TEST_FILE"], "wb") as file:
            while True:
                file.write(bytes(1 << 20))
    if what == "die":
        os.kill(os.getpid(), 9)
    if what == "talk":
        os.write(4, b"nonsense" * 100)
    return b"done"
"""


@pytest.fixture
def confined(house, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "slow_module.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HASHSEAL_TEST_FILE", str(tmp_path / "big"))
    monkeypatch.setattr("hashseal_gateway.infra.confinement.WALL_SECONDS", 3)
    monkeypatch.setattr("hashseal_gateway.infra.confinement.CPU_SECONDS", 1)
    made = Confinement("slow_module", 2)
    house.do(made.begin())
    yield made
    house.do(made.end())


@pytest.mark.parametrize("what", ["spin", "sleep", "memory", "file", "die"])
def test_what_never_ends_is_ended(house, confined, what: str) -> None:
    async def nobody(_: bytes) -> bytes:
        raise AssertionError

    began = time.monotonic()
    with pytest.raises(PdfLimit):
        house.do(confined.run(what.encode(), 1000, nobody))
    assert time.monotonic() - began < SECONDS
    assert house.do(confined.run(b"", 1000, nobody)) == b"done"


def test_the_limits_are_those_of_the_promise() -> None:
    assert CPU_SECONDS < WALL_SECONDS <= SECONDS
    assert limits.CPU_SECONDS < SECONDS
    assert MEMORY == limits.MEMORY_OCTETS == 512 << 20


def test_a_nursery_that_was_killed_is_started_again(house, confined) -> None:
    async def nobody(_: bytes) -> bytes:
        raise AssertionError

    confined._nursery.kill()
    confined._nursery.wait()
    assert house.do(confined.run(b"", 1000, nobody)) == b"done"


MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="document"; filename="a"\r\n\r\n'
BODIES = {
    "no end": (MULTIPART, PART + PLAIN),
    "no parts": (MULTIPART, b"--b--\r\n"),
    "no boundary": ({"Content-Type": "multipart/form-data"}, b"--b--\r\n"),
    "two documents": (MULTIPART, (PART + PLAIN + b"\r\n") * 2 + b"--b--\r\n"),
    "many parts": (MULTIPART, (PART + b"x\r\n") * 5000 + b"--b--\r\n"),
    "long header": (MULTIPART, b"--b\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"),
    "other part": (MULTIPART, PART.replace(b"document", b"picture") + b"x\r\n--b--\r\n"),
    "deep options": (
        MULTIPART,
        PART
        + PLAIN
        + b'\r\n--b\r\nContent-Disposition: form-data; name="options"\r\n\r\n'
        + b"[" * 9000
        + b"\r\n--b--\r\n",
    ),
    "long options": (
        MULTIPART,
        b'--b\r\nContent-Disposition: form-data; name="options"\r\n\r\n'
        + b" " * 20_000
        + b"\r\n--b--\r\n",
    ),
    "not JSON": (
        MULTIPART,
        PART
        + PLAIN
        + b'\r\n--b\r\nContent-Disposition: form-data; name="options"\r\n\r\n\xff\xfe\r\n--b--\r\n',
    ),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_hostile_body(house, caller, what: str) -> None:
    headers, body = BODIES[what]
    answer = caller.http.post("/v1/documents", content=body, headers=headers)
    assert 400 <= answer.status_code < 500, (what, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    assert house.strays() == set()


def test_a_document_over_the_limit(house, caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless():
        for _ in range(101):
            yield bytes(1 << 20)

    answer = caller.http.post("/v1/documents", content=endless(), headers=PDF)
    assert (answer.status_code, answer.json()["code"]) == (413, "document-too-large")
    told = caller.http.post(
        "/v1/documents", content=b"x", headers={**PDF, "Content-Length": str(1 << 40)}
    )
    assert told.json()["code"] == "document-too-large"
    assert house.strays() == set()
