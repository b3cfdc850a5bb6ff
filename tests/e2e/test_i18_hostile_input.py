"""I18: hostile files and requests are refused with a typed error, within 10 s and 512 MiB."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import generated_pdfs
import hostile_pdfs
import httpx2
import pytest

SECONDS, OCTETS = 10, 512 << 20
MEASURING = {"COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"}
"""The limits are for the program, not for the program under a tracer."""
PREPARE = """
import json, sys
from pathlib import Path
from hashseal import pdf
from hashseal_core.errors import HashsealError
source, target = map(Path, sys.argv[1:])
try:
    pdf.inspect(source)
    pdf.prepare(source, target, pdf.SignatureOptions(contents_size=4096))
    print("prepared")
except HashsealError as error:
    print(error.code)
"""


def bounded() -> None:
    """CPU seconds and address space, as the operating system enforces them."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (OCTETS, OCTETS))


@pytest.mark.parametrize("name", hostile_pdfs.HOSTILE)
def test_a_hostile_file_is_prepared_or_refused_within_the_limits(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(hostile_pdfs.HOSTILE[name]())
    before = source.stat()
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, str(source), str(target)],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=bounded,
        env={name: value for name, value in os.environ.items() if name not in MEASURING},
        timeout=120,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    said = done.stdout.strip()
    assert said == "prepared" or said.startswith("pdf-"), said
    assert target.exists() == (said == "prepared")
    assert source.stat().st_mtime_ns == before.st_mtime_ns


def test_the_command_refuses_them_all_and_signs_the_good_one(tmp_path: Path) -> None:
    """One call over hostile files and a good one: nothing half-written, no traceback."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    names = ("ring", "references", "trailers", "section-bombs", "overlapping-strings", "empty")
    for name in names:
        (folder / f"{name}.pdf").write_bytes(hostile_pdfs.HOSTILE[name]())
    (folder / "good.pdf").write_bytes(generated_pdfs.with_table(generated_pdfs.one_page()))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "hashseal.cli", "sign", *sorted(map(str, folder.iterdir()))),
            *("-o", str(out), "--sandbox", "--json"),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "HASHSEAL_SANDBOX_DIR": str(tmp_path / "sandbox")},
        timeout=200,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {Path(row["file"]).stem for row in told} == {*names, "good"}
    refused = {Path(row["file"]).stem: row["code"] for row in told if "code" in row}
    assert set(refused) <= set(names)
    assert all(code.startswith("pdf-") for code in refused.values()), refused
    signed = {path.name.split(".")[0] for path in out.iterdir()}
    assert signed == {*names, "good"} - set(refused)


DEEP = b"[" * 100_000
BODIES = {
    "deep arrays": b'{"hashes": ' + DEEP,
    "deep objects": b'{"a":' * 40_000,
    "not text": bytes(range(128, 256)) * 20,
    "surrogates": b'{"seal_id": "\\ud800", "hashes": ["AAAA"]}',
    "huge number": b'{"hashes": ' + b"9" * 200_000 + b"}",
    "many hashes": json.dumps({"seal_id": "x", "hashes": ["AAAA"] * 30_000}).encode(),
    "same key again": b'{"seal_id":"x",' * 1 + b'"seal_id":"y","seal_id":"z","hashes":[]}',
    "too long": b'{"seal_id": "' + b"x" * (300 << 10) + b'"}',
    "nothing": b"",
    "null": b"null",
    "NaN": b'{"seal_id": NaN, "hashes": [Infinity]}',
}


@pytest.mark.parametrize("what", BODIES)
def test_a_hostile_body_is_refused(service, what: str) -> None:
    headers = {
        "Authorization": f"Bearer {service.token}",
        "Content-Type": "application/json",
        "Idempotency-Key": "hostile",
    }
    with httpx2.Client(base_url=service.url, headers=headers, timeout=SECONDS) as client:
        before = client.get("/v1/account").json()["balance"]
        for path in ("/v1/documents/sign", "/v1/timestamps", "/v1/validation"):
            answer = client.post(path, content=BODIES[what])
            assert 400 <= answer.status_code < 500, (path, answer.status_code)
            assert answer.headers["content-type"].startswith("application/problem+json")
        assert client.get("/v1/account").json()["balance"] == before
        assert client.get("/healthz").status_code == 200


RAW = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50,
    "long line": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 30_000 + b"\r\n",
    "two lengths": b"POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
    b"Content-Length: 4\r\n\r\nabcd",
    "length and chunks": b"POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "endless chunks": b"POST /v1/documents/sign HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"10000\r\n" * 1
    + b"x" * 0x10000
    + b"\r\n"
    + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 40,
    "bad chunk": b"POST /tsa HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "huge length": b"POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Type: application/timestamp-query"
    b"\r\nContent-Length: 99999999999999\r\n\r\n",
    "NUL in path": b"GET /v1/seals/%00%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("what", RAW)
def test_a_hostile_connection_does_not_stop_the_service(service, what: str) -> None:
    place = urlsplit(service.url)
    with socket.create_connection((place.hostname, place.port), timeout=SECONDS) as connection:
        connection.settimeout(2)
        try:
            connection.sendall(RAW[what])
            answer = connection.recv(1 << 16)
        except (TimeoutError, ConnectionError):
            answer = b""
        assert b" 200 " not in answer.split(b"\r\n", 1)[0]
        assert b" 500 " not in answer.split(b"\r\n", 1)[0]
    assert httpx2.get(f"{service.url}/healthz", timeout=SECONDS).status_code == 200


@pytest.mark.parametrize("path", ["/tsa", "/ocsp"])
def test_hostile_der_is_refused(service, path: str) -> None:
    kind = {"/tsa": "application/timestamp-query", "/ocsp": "application/ocsp-request"}[path]
    bodies = [
        b"",
        b"\x30\x80" * 2000,
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x88" + b"\xff" * 8,
        b"\xff" * 4096,
        b"\x30\x82\x0f\xfc" + b"\x02\x01\x01" * 1364,
    ]
    with httpx2.Client(base_url=service.url, timeout=SECONDS) as client:
        for body in bodies:
            answer = client.post(path, content=body, headers={"Content-Type": kind})
            assert answer.status_code in {200, 400}, answer.status_code
            assert len(answer.content) < 500  # a refusal: nothing was signed
        assert client.get("/healthz").status_code == 200
