"""Gateway, watched folder, service and the whole database are killed: signed once, charged once, whole.

Real processes on loopback: a replica of the service and `hashseal-gateway run` and `watch`, all on one
PostgreSQL cluster. Afterwards none of the scenario's secrets, and nothing of the documents, is anywhere (I20,
I16). `HASHSEAL_FAULT_KILLS` makes it long.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import generated_pdfs
import httpx2
import judgement
import leaking
import needles
import pytest
from books import check_audit, check_books
from callers import reachable, set_up
from cluster import OWNER, Cluster
from fleet import Fleet
from gateway_command import PREFIX, Command, until_up
from ports import free_port

from hashseal_gateway.infra.db import Database
from hashseal_server.main import operator
from hashseal_server.settings import Settings

KILLS = min(int(os.environ.get("HASHSEAL_FAULT_KILLS", "6")), 100)
AT_ONCE, LATER, LOCKED, WATCHED = 8, 14, 4, 12
WORD, PASSWORD = "canarytextq7w3", "password-of-a-file-4711"
WAYS = ("gateway", "watch", "service", "database", "gateway and service", "everything")


@dataclass
class Stand:
    """All processes; `start` begins those that are not there."""

    folder: Path
    cluster: Cluster
    fleet: Fleet
    command: Command
    seal: str
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        words = {
            "gateway": ("run", "--port", str(self.port)),
            "watch": (
                *("watch", self.folder / "in", self.folder / "out"),
                *("--originals", self.folder / "originals", "--seal", self.seal),
            ),
        }
        for name, said in words.items():
            if name not in self.running or self.running[name].poll() is not None:
                with self.command.log.open("ab") as log:
                    self.running[name] = subprocess.Popen(
                        self.command.words(*said),
                        env=self.command.environment,
                        stdout=log,
                        stderr=log,
                    )

    def kill(self, way: str) -> None:
        """SIGKILL; what is not a process of the gateway is started again."""
        everything = way == "everything"
        if way == "database":
            self.watching()
        if everything or way == "database":
            self.cluster.kill()
        if everything or "service" in way:
            self.fleet.send(0, signal.SIGKILL)
        for name in ("gateway", "watch"):
            if everything or name in way:
                self.running[name].kill()
                self.running[name].wait()
        time.sleep(0.1)
        if everything or way == "database":
            self.cluster.start()
        if everything or "service" in way:
            self.fleet.spawn(0)
        for name, process in self.running.items():
            assert everything or name in way or process.poll() is None, f"{name} ended by itself"
        self.start()

    def watching(self) -> None:
        """Until `watch` has opened the database: it does not begin without, and ends."""
        lock = self.command.data / ".watch"
        deadline = time.monotonic() + 60
        while not lock.exists() or f":{lock.stat().st_ino} " not in Path("/proc/locks").read_text():
            assert time.monotonic() < deadline, "watch does not begin"
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            process.wait(60)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster(fsync="on", max_connections="400")
    made.start()
    made.prepare()
    yield made
    made.stop()


@dataclass
class Business:
    """A business system that sends each document until it is taken, under one key."""

    client: httpx2.Client
    seal: str
    documents: dict[str, bytes]
    answers: dict[str, bytes] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    error: BaseException | None = None

    def work(self) -> None:
        try:
            for name, document in self.documents.items():
                self._send(name, document)
        except BaseException as error:
            self.error = error
            raise

    def _send(self, name: str, document: bytes) -> None:
        options: dict[str, str] = {"seal": self.seal, "reason": name}
        if name.startswith("locked"):
            options["password"] = PASSWORD
        headers = {"Idempotency-Key": name}
        if not name.startswith("once"):
            headers["Prefer"] = "respond-async"
        parts = {"document": (f"{name}.pdf", document), "options": (None, json.dumps(options))}
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            try:
                answer = self.client.post("/v1/documents", files=parts, headers=headers)
            except httpx2.HTTPError as error:
                self.failures[type(error).__name__] += 1
                time.sleep(0.1)
                continue
            if answer.status_code == 200:
                self.answers[name] = answer.content
                return
            if answer.status_code == 202:
                self.accepted[name] = answer.json()["id"]
                return
            assert answer.status_code == 503, answer.text
            self.failures[answer.json()["code"]] += 1
            time.sleep(0.1)
        raise AssertionError(f"{name} was never taken: {self.failures}")


def documents(folder: Path) -> dict[str, bytes]:
    made = {}
    for kind, count in (("once", AT_ONCE), ("later", LATER), ("locked", LOCKED)):
        for number in range(count):
            text = f"{WORD} {kind} {number}"
            made[f"{kind}-{number}"] = generated_pdfs.with_table(
                generated_pdfs.one_page(text=text, title=WORD)
            )
    for name in [one for one in made if one.startswith("locked")]:
        made[name] = generated_pdfs.through_qpdf(
            made[name], folder, "--encrypt", PASSWORD, "owner", "256", "--"
        )
    names = list(made)
    random.Random("order").shuffle(names)
    return {name: made[name] for name in names}


def prepare(folder: Path) -> None:
    (folder / "in").mkdir()
    for number in range(WATCHED):
        path = folder / "in" / f"{number}.pdf"
        path.write_bytes(watched(number))
        os.utime(path, (1, 1))
    (folder / "in" / "bad.pdf").write_bytes(b"no document")


def watched(number: int) -> bytes:
    return generated_pdfs.with_table(generated_pdfs.one_page(text=f"{WORD} watched {number}"))


@pytest.mark.tools
@pytest.mark.timeout(3600)
def test_signed_once_and_charged_once(cluster: Cluster, tmp_path: Path) -> None:
    url = cluster.database("service", "prepared")
    settings = Settings(
        data_dir=tmp_path / "service",
        database_url=url,
        public_url="http://pki.example.com",
        requests_per_minute=0,
    )
    access, *_ = asyncio.run(set_up(settings))
    cluster.database("gateway")
    fleet = Fleet(settings.data_dir, url, 1)
    fleet.start()
    command = Command(tmp_path, SimpleNamespace(url=fleet.url(0), token=access.token))
    command.environment |= {
        f"{PREFIX}DATABASE_URL": cluster.url("gateway", OWNER),
        f"{PREFIX}SERVICE_TIMEOUT": "5",
    }
    command.run("init")
    key = command.run("key", "create", "erp", "--role", "administrator")["key"]
    stand = Stand(tmp_path, cluster, fleet, command, access.seal, free_port())
    prepare(tmp_path)
    client = httpx2.Client(
        base_url=f"http://127.0.0.1:{stand.port}",
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    try:
        with client:
            stand.start()
            business = Business(client, access.seal, documents(tmp_path))
            thread = threading.Thread(target=business.work, daemon=True)
            thread.start()
            done = kill_at_random(stand, client, business)
            thread.join(250)
            assert business.error is None, business.error
            assert not thread.is_alive()
            finish(stand, client, business, tmp_path)
    finally:
        stand.stop()
        fleet.stop()
    asyncio.run(judge_books(settings, AT_ONCE + LATER + LOCKED + WATCHED))
    print(f"\n{dict(done)}; clients saw {dict(business.failures)}")
    watch = leaking.Watch()
    for name, value in (("key", key), ("token", access.token), ("password", PASSWORD)):
        watch.learn(name, value)
    watch.learn("text of a document", WORD)
    assert watch.leaks(asyncio.run(places(settings, command, cluster))) == []


def kill_at_random(stand: Stand, client: httpx2.Client, business: Business) -> Counter[str]:
    choose = random.Random("everything")
    done: Counter[str] = Counter()
    until_up(client, stand.running["gateway"])
    ways: list[str] = []
    for _ in range(KILLS):
        if not ways:
            ways = choose.sample(WAYS, len(WAYS))
        before = len(business.answers) + len(business.accepted)
        deadline = time.monotonic() + 30
        while len(business.answers) + len(business.accepted) < before + 2:
            if time.monotonic() > deadline or len(business.accepted) == LATER + LOCKED:
                break
            time.sleep(0.02)
        time.sleep(choose.random() * 0.3)
        way = ways.pop()
        stand.kill(way)
        done[way] += 1
        until_up(client, stand.running["gateway"])
    return done


def finish(stand: Stand, client: httpx2.Client, business: Business, folder: Path) -> None:
    """Every document is signed, whole; nothing else is left."""
    deadline = time.monotonic() + 200
    found: dict[str, dict[str, Any]] = {}
    for name, identity in business.accepted.items():
        while (state := client.get(f"/v1/documents/{identity}").json())["state"] != "signed":
            assert state["state"] in {"accepted", "waiting"}, state
            assert time.monotonic() < deadline, state
            time.sleep(0.1)
        found[name] = state
        business.answers[name] = client.get(state["content_url"]).content
    while list((folder / "in").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert set(business.answers) == set(business.documents)
    for name, content in business.answers.items():
        require_whole(
            content, business.documents[name], folder, PASSWORD if "locked" in name else ""
        )
    entries = client.get("/v1/log", params={"limit": "1000", "outcome": "signed"}).json()["entries"]
    assert Counter(one["way"] for one in entries)["async"] == LATER + LOCKED
    assert Counter(one["document_id"] for one in entries if one["way"] == "async") == Counter(
        business.accepted.values()
    )
    outputs = {one.name for one in (folder / "out").glob("*.pdf")}
    assert outputs == {f"{number}.pdf" for number in range(WATCHED)}
    for number in range(WATCHED):
        name = f"{number}.pdf"
        require_whole((folder / "out" / name).read_bytes(), watched(number), folder, "")
        assert json.loads((folder / "out" / f"{name}.json").read_text())["outcome"] == "signed"
        assert (folder / "originals" / name).read_bytes() == watched(number)
    assert {one.name for one in (folder / "out" / "failed").iterdir()} == {
        "bad.pdf",
        "bad.pdf.json",
    }
    assert not list(folder.rglob("*.part"))


def require_whole(content: bytes, source: bytes, folder: Path, password: str) -> None:
    assert content.startswith(source)
    path = folder / "judged.pdf"
    path.write_bytes(content)
    said = judgement.run("pdfsig", "-nocert", "-no-ocsp", "-upw", password, path).stdout
    assert said.count("Signature is Valid.") == 1, said
    check = judgement.run("qpdf", f"--password={password}", "--check", path)
    assert check.returncode == 0, check.stderr
    assert content.endswith(b"%%EOF\n")
    path.unlink()


async def judge_books(settings: Settings, documents: int) -> None:
    await reachable(settings)
    async with operator(settings, migrate=False) as opened:
        assert await check_books(opened.database) == documents
        await check_audit(opened.audit, documents)


async def places(settings: Settings, command: Command, cluster: Cluster) -> dict[str, bytes]:
    """Everything that was written by service and gateway, but for the documents themselves."""
    database = Database(cluster.url("gateway", OWNER))
    kept = command.data / "documents"
    folder = [
        one.read_bytes()
        for one in command.data.rglob("*")
        if one.is_file() and one.name != "secret" and kept not in one.parents
    ]
    try:
        found = {
            "gateway's database": await needles.everything(database),
            "gateway's jobs": cluster.sql(JOBS, database="gateway").encode(),
        }
    finally:
        await database.close()
    async with operator(settings, migrate=False) as opened:
        return {
            **found,
            "gateway's log": command.log.read_bytes(),
            "gateway's folder": b"\n".join(folder),
            "service's database": await needles.everything(opened.database),
            "service's folder": leaking.files(settings.data_dir),
        }


JOBS = "SELECT w::text FROM gateway_jobs.workflow_status AS w"
