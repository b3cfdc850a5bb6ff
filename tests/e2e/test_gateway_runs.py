"""`make gateway` and the gateway on PostgreSQL: real processes on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import generated_pdfs
import httpx2
import leaking
import pytest
from cluster import OWNER, Cluster
from gateway_command import PREFIX, Command, left, until_up
from needles import everything
from ports import free_port

from hashseal import validation
from hashseal_gateway.infra.db import Database

ROOT = Path(__file__).resolve().parents[2]
PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
PDF = {"Content-Type": "application/pdf"}


@pytest.fixture
def database() -> Iterator[str]:
    cluster = Cluster()
    cluster.start()
    cluster.sql(f"CREATE ROLE {OWNER} LOGIN")
    cluster.database("gateway")
    yield cluster.url("gateway", OWNER)
    cluster.stop()


def test_on_postgresql(service, database: str, tmp_path: Path) -> None:
    command = Command(tmp_path, service)
    command.environment[f"{PREFIX}DATABASE_URL"] = database
    command.run("init")
    key = command.run("key", "create", "erp", "--role", "administrator")["key"]
    port, seal = free_port(), service.seals["P-256"]
    before = left(service)
    client = httpx2.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=60
    )
    with client, command.started("run", "--port", str(port)) as process:
        until_up(client, process)
        put = client.put(f"/v1/seals/{seal}/defaults", json={"name": "invoices"})
        assert put.status_code == 200, put.text
        answers = [
            client.post(
                "/v1/documents?seal=invoices",
                content=PLAIN,
                headers={**PDF, "Idempotency-Key": "a"},
            )
            for _ in range(2)
        ]
        assert answers[0].status_code == 200, answers[0].text
        assert answers[0].content == answers[1].content
        later = {**PDF, "Idempotency-Key": "b", "Prefer": "respond-async"}
        made = client.post("/v1/documents?seal=invoices", content=PLAIN, headers=later).json()
        deadline = time.monotonic() + 60
        while (found := client.get(made["status_url"]).json())["state"] != "signed":
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        assert client.get(found["content_url"]).content.startswith(PLAIN)
        entries = client.get("/v1/log").json()["entries"]
        assert [one["outcome"] for one in entries] == ["signed", "signed"]
        assert client.get("/readyz").json()["ready"] is True
        figures = client.get("/metrics").content
        assert b"hashseal_gateway_requests" in figures
    rows = asyncio.run(everything_in(database))
    assert key.split("_")[1].encode() in rows, "the key's row was looked at"
    command.look(figures=figures, database=rows)
    assert left(service) == before - 2
    assert not list(command.data.glob("*.db"))


async def everything_in(url: str) -> bytes:
    database = Database(url)
    try:
        return await everything(database)
    finally:
        await database.close()


def test_make_gateway(tmp_path: Path) -> None:
    """The printed curl line, as it is printed."""
    source = tmp_path / "invoice.pdf"
    source.write_bytes(PLAIN)
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "tools" / "gateway.py"), str(tmp_path / "try")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
    )
    said = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        assert re.search(r"^service   http://127\.0\.0\.1:\d+", said, re.MULTILINE), said
        logs_in(said)
        curl = said[said.index("curl ") : said.index("\n\nCtrl-C")].replace("\\\n", " ")
        done = subprocess.run(shlex.split(curl), cwd=tmp_path, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        signed = tmp_path / "invoice.signed.pdf"
        assert signed.read_bytes().startswith(PLAIN)
        anchor = (tmp_path / "try" / "trust-anchor.pem").read_bytes()
        report = validation.validate(signed, [anchor])
        assert (report.verdict, report.signatures[0].level) == ("valid", "B-LT")
        poppler = subprocess.run(
            ["pdfsig", "-nocert", signed], capture_output=True, text=True, check=True
        )
        assert "Signature is Valid." in poppler.stdout
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        rest = process.stdout.read()
        process.stdout.close()
    shown = json.loads((tmp_path / "try" / "access.json").read_text())
    seen = leaking.Watch({shown["password"].encode(): "password"})
    # The key and the password are shown where they are to be seen, once, and nowhere else.
    before = said[: said.index("log in    ")]
    places = {"said": (before + rest).encode(), "files": leaking.files(tmp_path / "try")}
    assert seen.leaks(places) == []


def logs_in(said: str) -> None:
    """The first login that was printed gets in, at the address that was printed."""
    address = re.search(r"^gateway   (http://127\.0\.0\.1:\d+) ", said, re.MULTILINE)
    access = re.search(r"^log in    (admin-\w+)  (\S{12,})$", said, re.MULTILINE)
    assert address, said
    assert access, said
    with httpx2.Client(base_url=address[1], timeout=60, follow_redirects=True) as browser:
        first = browser.get("/")
        token = re.search(r'name="form_token" value="(\w+)"', first.text)
        assert token, (first.status_code, first.text)
        form = {"name": access[1], "password": access[2], "form_token": token[1]}
        opened = browser.post("/login", data=form, headers={"Origin": address[1]})
        assert opened.status_code == 200, opened.text
        assert "<h1>Dashboard</h1>" in opened.text
