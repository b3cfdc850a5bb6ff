"""The programs on the page about calling the gateway, taken from it, sign with a gateway that listens.

In between is somebody who loses the first answer and refuses the second request for now, so that
a program which does not repeat, or repeats wrongly, is found out by its bill.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import generated_pdfs
import httpx2
import pytest
from asn1crypto import pem
from gateway_command import Command, left, until_up
from ports import free_port

from hashseal import validation

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "how-to"
PAGE = FOLDER / "integrate-the-gateway.md"
MANAGING = FOLDER / "run-the-gateway.md"
PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
PROGRAMS = {
    "curl": ("sh", "sign.sh", ["sh"]),
    "Python": ("python", "sign.py", [sys.executable]),
    "Java": ("java", "Sign.java", ["java"]),
    "PHP": ("php", "sign.php", ["php"]),
}
"""Heading of the page: language of its block, name of the file, what runs it."""
FOR_NOW = {"code": "overloaded", "detail": "", "action": "", "request_id": "", "retryable": True}
pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("gateway-examples")]


@dataclass
class Between:
    """Hands requests on; the first answers of each work do not arrive as they are."""

    behind: str
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    answers: int = 0
    url: str = ""

    @property
    def trouble(self) -> str:
        """What happens to the next answer."""
        self.answers += 1
        return {1: "lost", 2: "for now"}.get(self.answers, "")


@pytest.fixture(scope="module")
def between(service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Between, str]]:
    command = Command(tmp_path_factory.mktemp("gateway"), service)
    command.environment["HASHSEAL_GATEWAY_LEVEL"] = "B-T"
    command.run("init")
    key = command.run("key", "create", "erp", "--seal", service.seals["P-256"])["key"]
    port = free_port()
    made = Between(f"http://127.0.0.1:{port}")
    client = httpx2.Client(base_url=made.behind, timeout=60)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handed_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            made.seen.append((f"{self.command} {self.path}", self.headers.get("idempotency-key")))
            trouble = made.trouble
            if trouble == "for now":
                self.answer(503, "application/problem+json", json.dumps(FOR_NOW).encode(), "1")
                return
            kept = {"authorization", "content-type", "idempotency-key", "prefer"}
            headers = {name: value for name, value in self.headers.items() if name.lower() in kept}
            got = client.request(self.command, self.path, content=body, headers=headers)
            if trouble == "lost":
                self.close_connection = True
                return
            self.answer(got.status_code, got.headers["content-type"], got.content, None)

        def answer(self, status: int, media_type: str, body: bytes, later: str | None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            if later:
                self.send_header("Retry-After", later)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = handed_on  # noqa: N815 - the names are the library's

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    with client, command.started("run", "--port", str(port)) as process:
        until_up(client, process)
        thread.start()
        yield made, key
        server.shutdown()
        server.server_close()
        thread.join(20)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The words that run each."""
    folder, found = tmp_path_factory.mktemp("programs"), {}
    page = PAGE.read_text()
    for heading, (language, name, words) in PROGRAMS.items():
        section = page[page.index(f"### {heading}\n") :]
        block = re.search(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        assert block, heading
        (folder / name).write_text(block[1])
        found[heading] = [*words, str(folder / name)]
    return found


@pytest.fixture(params=PROGRAMS)
def run(request: pytest.FixtureRequest, between: tuple[Between, str], programs, tmp_path: Path):
    made, key = between
    made.seen.clear()
    made.answers = 0

    def work(name: str, source: bytes, *more: str, secret: str = key, fails: bool = False):
        (tmp_path / "in.pdf").write_bytes(source)
        done = subprocess.run(
            [*programs[request.param], name, tmp_path / "in.pdf", tmp_path / "out.pdf", *more],
            env={**os.environ, "HASHSEAL_GATEWAY": made.url, "HASHSEAL_KEY": secret},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stderr

    return work


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


@pytest.mark.parametrize("later", [False, True], ids=["at-once", "later"])
def test_signed_once_whatever_is_lost(
    run, between, service, tmp_path: Path, name: str, later: bool
) -> None:
    made, before = between[0], left(service)
    run(name, PLAIN, *(["later"] if later else []))
    signed = tmp_path / "out.pdf"
    assert signed.read_bytes().startswith(PLAIN)
    report = validation.validate(signed, [pem.armor("CERTIFICATE", service.anchor_der)])
    assert (report.verdict, report.signatures[0].level) == ("valid", "B-T")
    asked = [one for one in made.seen if one[0].startswith("POST")]
    assert asked == [(f"POST /v1/documents?external_id={name}", name)] * 3
    assert left(service) == before - 1
    assert {one.name for one in tmp_path.iterdir()} == {"in.pdf", "out.pdf"}


@pytest.mark.parametrize("later", [False, True], ids=["at-once", "later"])
def test_what_is_refused_is_told_and_leaves_nothing(
    run, between, service, tmp_path: Path, name: str, later: bool
) -> None:
    made, before = between[0], left(service)
    made.answers = 2
    objects = generated_pdfs.one_page()
    script = b"/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >> >>"
    objects[1] = objects[1].replace(b">>", script)
    said = run(name, generated_pdfs.with_table(objects), *(["later"] if later else []), fails=True)
    assert "pdf-policy" in said
    assert "Remove what the detail names" in said
    assert sum(one[0].startswith("POST") for one in made.seen) == 1, "it was asked again"
    assert {one.name for one in tmp_path.iterdir()} == {"in.pdf"}
    assert left(service) == before


def test_a_wrong_key_is_told_at_once(run, between, tmp_path: Path, name: str) -> None:
    made, key = between
    made.answers = 2
    began = time.monotonic()
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    assert "token-invalid" in run(name, PLAIN, secret=wrong, fails=True)
    assert len(made.seen) == 1
    assert not (tmp_path / "out.pdf").exists()
    assert time.monotonic() - began < 30


def test_the_line_that_makes_a_key(service, tmp_path: Path) -> None:
    """That of the page about running the gateway, as it stands there but for the address."""
    command, seal = Command(tmp_path, service), service.seals["P-256"]
    page = MANAGING.read_text(encoding="utf-8").partition("## Users and keys by a program")[2]
    line = re.findall(r"```text\n(curl .*?)```", page, re.DOTALL)[0]
    with command.serving(role="administrator") as running:
        script = line.replace("https://gateway.example.com", running.url).replace("SEAL_ID", seal)
        environment = {**os.environ, "ADMIN_KEY": running.key}
        done = subprocess.run(
            ["sh", "-c", script], env=environment, check=True, capture_output=True, text=True
        )
        made = json.loads(done.stdout)
        command.watch.learn("key", made["text"])
        assert made["key"]["seals"] == [seal]
        headers = {"Authorization": f"Bearer {made['text']}"}
        seen = running.client.get("/v1/seals", headers=headers).json()["seals"]
        assert [one["id"] for one in seen] == [seal]
