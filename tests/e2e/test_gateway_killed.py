"""The gateway is killed at any moment: what it accepted is signed once and charged once.

Real processes on loopback: the service behind a port, `hashseal-gateway run` and `watch` as commands.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import generated_pdfs
import httpx2
import pytest
from gateway_command import Command, left, until_up
from ports import free_port

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
DOCUMENTS, KILLS = 16, 3


@pytest.fixture
def command(tmp_path: Path, service) -> Command:
    return Command(tmp_path, service)


@pytest.mark.timeout(600)
def test_documents_that_wait(command: Command, service) -> None:
    choose = random.Random("gateway")
    command.run("init")
    key = command.run("key", "create", "erp")["key"]
    before = left(service)
    port = free_port()
    accepted: dict[int, str] = {}
    client = httpx2.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=30
    )
    with client:
        for kill in range(KILLS + 1):
            with command.started("run", "--port", str(port)) as process:
                until_up(client, process)
                for number in range(DOCUMENTS * (kill + 1) // (KILLS + 1)):
                    if number not in accepted:
                        accepted[number] = send(client, service, number)
                if kill < KILLS:
                    time.sleep(choose.random() * 0.6)
                    process.kill()
                    continue
                check(client, accepted, command)
                command.look(figures=client.get("/metrics").content)
    assert left(service) == before - DOCUMENTS
    with command.started("run", "--port", str(port)) as process:
        pass  # SIGTERM at once ends it too


def send(client: httpx2.Client, service, number: int) -> str:
    answer = client.post(
        "/v1/documents",
        params={"seal": service.seals["P-256"], "reason": str(number)},
        content=PLAIN + b"%" + str(number).encode(),
        headers={
            "Content-Type": "application/pdf",
            "Prefer": "respond-async",
            "Idempotency-Key": f"document-{number}",
        },
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def check(client: httpx2.Client, accepted: dict[int, str], command: Command) -> None:
    assert len(accepted) == DOCUMENTS
    deadline = time.monotonic() + 120
    for number, identity in accepted.items():
        while (found := client.get(f"/v1/documents/{identity}").json())["state"] != "signed":
            assert found["state"] in {"accepted", "waiting"}, found
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        content = client.get(found["content_url"])
        assert content.content.startswith(PLAIN + b"%" + str(number).encode())
    entries = client.get("/v1/log", params={"limit": "1000"}).json()["entries"]
    assert sorted(one["document_id"] for one in entries) == sorted(accepted.values())
    there = command.data / "documents"
    assert {one.name for one in there.iterdir()} == set(accepted.values())
    while (names := {one.name for one in there.rglob("*") if one.is_file()}) != {"signed.pdf"}:
        assert time.monotonic() < deadline, names  # what the input leaves goes after the answer
        time.sleep(0.1)


@pytest.mark.timeout(600)
def test_the_watched_folder(command: Command, service, tmp_path: Path) -> None:
    choose = random.Random("folder")
    inbox, outbox = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    before = left(service)
    for number in range(DOCUMENTS):
        path = inbox / f"{number}.pdf"
        path.write_bytes(PLAIN + b"%" + str(number).encode())
        os.utime(path, (1, 1))
    (inbox / "bad.pdf").write_bytes(b"no document")
    words = ("watch", inbox, outbox, "--seal", service.seals["P-256"])
    for _ in range(KILLS):
        seen = len(list(outbox.glob("*.pdf"))) if outbox.is_dir() else 0
        with command.started(*words) as process:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and seen == len(list(outbox.glob("*.pdf"))):
                time.sleep(0.02)
            time.sleep(choose.random() * 0.05)
            process.kill()
    command.run(*words, "--once")
    assert [one.name for one in inbox.iterdir()] == []
    outputs = {one.name: one.read_bytes() for one in outbox.glob("*.pdf")}
    assert set(outputs) == {f"{number}.pdf" for number in range(DOCUMENTS)}
    for number in range(DOCUMENTS):
        assert outputs[f"{number}.pdf"].startswith(PLAIN + b"%" + str(number).encode())
        assert json.loads((outbox / f"{number}.pdf.json").read_text())["outcome"] == "signed"
    assert {one.name for one in (outbox / "failed").iterdir()} == {"bad.pdf", "bad.pdf.json"}
    assert [one for one in outbox.rglob("*") if one.name.endswith(".part")] == []
    assert left(service) == before - DOCUMENTS
