"""`hashseal-server run` as an operator runs it: workers, roles, an ordered end, checks at the start."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from ports import free_port
from sqlalchemy import create_engine, text

from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import ConfigurationInvalid
from hashseal_server import main
from hashseal_server.main import operator
from hashseal_server.settings import Settings

Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "HASHSEAL_DATA_DIR": str(tmp_path / "service")}


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start `run` with options and wait until it answers; ended at the end of the test."""
    begun: list[subprocess.Popen[str]] = []

    def run(*options: str) -> tuple[subprocess.Popen[str], str]:
        port = free_port()
        log = tmp_path / f"{port}.log"
        with log.open("ab") as said:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "hashseal_server.cli", "run", "--port", str(port)),
                    *options,
                ],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=said,
                text=True,
            )
        begun.append(process)
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            try:
                if httpx2.get(f"{url}/readyz", timeout=5).status_code == 200:
                    return process, url
            except httpx2.HTTPError:
                time.sleep(0.1)
        raise AssertionError(f"did not start: {process.poll()}\n{log.read_text()[-2000:]}")

    yield run
    for process in begun:
        if process.poll() is None:
            process.terminate()
        process.wait(60)


def operate(environment: dict[str, str], *words: str) -> dict[str, str]:
    """One of the operator's commands."""
    done = subprocess.run(
        [sys.executable, "-m", "hashseal_server.cli", *words, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def children(process: subprocess.Popen[str]) -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in found]


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A service with an account, founded once with the operator's commands; tests take a copy."""
    folder = tmp_path_factory.mktemp("operated") / "service"
    environment = {**os.environ, "HASHSEAL_DATA_DIR": str(folder)}
    operate(environment, "init")
    account = operate(environment, "account", "create", "Test Organisation")["id"]
    operate(environment, "order", "record", "--account", account, "--calls", "20000")
    seal = operate(
        environment, "seal", "create", "--account", account, "--name", "Test Seal",
        "--organisation", "Test Organisation", "--organisation-identifier", "NTRCH-1",
        "--country", "CH", "--algorithm", "RSA-3072",
    )  # fmt: skip
    token = operate(environment, "token", "create", "--account", account)
    return folder, {"token": token["token"], "seal": seal["id"]}


@pytest.fixture
def access(environment: dict[str, str], operated: tuple[Path, dict[str, str]]) -> dict[str, str]:
    folder, made = operated
    shutil.copytree(folder, environment["HASHSEAL_DATA_DIR"])
    return made


def sign(url: str, access: dict[str, str], key: str, size: int = 1) -> int | None:
    """The status of one call; None when the connection was refused, or reset before it was read."""
    hashes = [f"{n:042d}8=" for n in range(1, size + 1)]
    headers = {"authorization": f"Bearer {access['token']}", "idempotency-key": key}
    try:
        answer = httpx2.post(
            f"{url}/v1/documents/sign",
            json={"seal_id": access["seal"], "level": "B-B", "hashes": hashes},
            headers=headers,
            timeout=60,
        )
    except (httpx2.ConnectError, httpx2.ReadError):
        # Reset: the kernel had taken it, and no worker did before the end. A call that a worker has
        # read ends, when it is dropped, as RemoteProtocolError, which no test forgives.
        return None
    return answer.status_code


def test_workers_are_started_again_and_end_in_order(start: Start, access) -> None:
    process, url = start("--workers", "2")
    first = children(process)
    assert len(first) == 2
    assert sign(url, access, "before") == 200
    os.kill(first[0], signal.SIGKILL)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        now = children(process)
        if len(now) == 2 and first[0] not in now:
            break
        time.sleep(0.1)
    assert len(children(process)) == 2
    assert first[1] in children(process)
    assert sign(url, access, "after") == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    for pid in (*first, *now):
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_accepted_call_is_answered_when_the_end_is_ordered(
    start: Start, access, environment, workers: str
) -> None:
    process, url = start("--workers", workers)
    headers = {"authorization": f"Bearer {access['token']}"}
    waiting = HTTPConnection(urlsplit(url).netloc, timeout=60)
    with closing(waiting), ThreadPoolExecutor(24) as pool:
        waiting.request("GET", "/v1/events?wait=30", headers=headers)  # is with the kernel now
        calls = [pool.submit(sign, url, access, f"drain-{n}", 40) for n in range(24)]
        wait(calls, timeout=60, return_when=FIRST_COMPLETED)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        # Who waits for an event is let go, and does not hold the end up.
        assert json.load(waiting.getresponse())["events"] == []
        assert time.monotonic() - began < 25
        statuses = [call.result() for call in calls]
    assert process.wait(60) == 0
    assert set(statuses) <= {200, None}
    assert statuses.count(200) > 0
    usage = operate(environment, "audit", "verify")
    assert usage["intact"] is True

    async def signed() -> int:
        settings = Settings(data_dir=Path(environment["HASHSEAL_DATA_DIR"]))
        async with operator(settings) as opened, opened.database.read() as connection:
            return int(await connection.scalar(text("SELECT count(*) FROM idempotency_answer")))

    assert asyncio.run(signed()) == statuses.count(200)


def test_a_process_does_only_what_its_role_says(start: Start, access) -> None:
    _, url = start("--role", "status")
    assert httpx2.get(f"{url}/crl/issuing.crl").status_code == 200
    assert sign(url, access, "no") == 404
    assert httpx2.post(f"{url}/tsa", content=b"x").status_code == 404
    _, url = start("--role", "api", "--role", "worker")
    assert sign(url, access, "yes") == 200
    assert httpx2.get(f"{url}/crl/issuing.crl").status_code == 404


def test_two_replicas_share_the_background_work(start: Start, access, environment) -> None:
    _, one = start()
    _, other = start("--role", "worker", "--role", "status")
    until = time.monotonic() + 150
    seen = ""
    while time.monotonic() < until:
        seen = httpx2.get(f"{other}/metrics").text
        taken = re.search(r'runs_total\{job="take-over"\} (\d+)', seen)
        if taken and int(taken[1]) >= 3 and 'job="revocation-lists"}' in seen:
            break
        time.sleep(0.3)
    else:
        raise AssertionError(seen)
    assert "hashseal_background_workers 2.0" in seen
    assert re.search(r"failures_total\{job=\"[a-z-]+\"\} [^0]", seen) is None
    # Both tell the same of all, and every tick was done once.
    told = httpx2.get(f"{one}/metrics").text
    runs = {
        job: float(count) for job, count in re.findall(r'runs_total\{job="([a-z-]+)"\} (.+)', told)
    }
    assert {"take-over", "revocation-lists"} <= set(runs)
    folder = Path(environment["HASHSEAL_DATA_DIR"])
    engine = create_engine(f"sqlite:///{folder / 'work.db'}")
    with engine.connect() as connection:
        ticks = connection.execute(
            text("SELECT name, count(*) FROM workflow_status WHERE status != 'ENQUEUED' GROUP BY 1")
        ).all()
    engine.dispose()
    done = {name.removeprefix("hashseal."): count for name, count in ticks}
    assert all(done[job] - 1 <= count <= done[job] for job, count in runs.items())


WITHOUT_DBOS = """
import asyncio, pathlib, sys
from hashseal_server.sandbox import sandbox
async def use():
    async with sandbox(pathlib.Path(sys.argv[1])):
        pass
asyncio.run(use())
import hashseal_server.cli
print(sorted(name for name in sys.modules if name.partition(".")[0] in {"dbos", "psycopg"}))
"""


def test_neither_the_sandbox_nor_a_command_loads_dbos(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DBOS, str(tmp_path / "sandbox")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_each_worker_timestamps_with_a_unit_of_its_own(start: Start, access, environment) -> None:
    process, url = start("--workers", "3")
    until = time.monotonic() + 30
    while True:
        done = subprocess.run(
            [sys.executable, "-m", "hashseal_server.cli", "tsu", "list", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        units = [json.loads(line) for line in done.stdout.splitlines()]
        held = {unit["owner"] for unit in units if unit["state"] == "held"}
        if len(held) == 3:
            break
        assert time.monotonic() < until, units
    assert len(units) == 3  # made before the workers began
    # A process that lives elsewhere on the same database finds one as well.
    _, other = start("--role", "tsa")
    query = tsp.build_request(Digest(DigestAlgorithm.SHA256, bytes(range(32))))
    headers = {"content-type": "application/timestamp-query"}
    for address in (url, other):
        answer = httpx2.post(f"{address}/tsa", content=query, headers=headers, timeout=30)
        tsp.token_of_response(answer.content)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_a_port_that_is_taken_is_told(environment, access) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "hashseal_server.cli", "run", "--workers", "2"),
                *("--port", str(taken.getsockname()[1])),
            ],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_clock_and_the_chain_are_looked_at_before_serving(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        await api.sign("one")
        assert await api.operator.check() == []
        real = main.now
        with monkeypatch.context() as behind:
            behind.setattr(main, "now", lambda: real() - timedelta(hours=1))
            with pytest.raises(ConfigurationInvalid, match="clock"):
                await api.operator.check()
        with monkeypatch.context() as later:
            later.setattr(main, "now", lambda: real() + timedelta(minutes=5))
            (finding,) = await api.operator.check()
            assert "checkpoint" in finding
            await api.operator.audit.sequence()
            assert await api.operator.check() == []
        with monkeypatch.context() as years_later:
            years_later.setattr(main, "now", lambda: real() + timedelta(days=40 * 365))
            with pytest.raises(ConfigurationInvalid, match="unit"):
                await api.operator.check()

    service(scenario)
