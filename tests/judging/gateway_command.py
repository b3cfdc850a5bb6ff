"""`hashseal-gateway` as a command, in a process of its own that a test may kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import leaking
from ports import free_port

PREFIX = "HASHSEAL_GATEWAY_"
SHOWN = ("key", "password", "secret")
"""What commands show once."""


class Command:
    """`hashseal-gateway` with a data folder of its own, in which no secret may be left (I20)."""

    def __init__(self, folder: Path, service: Any) -> None:
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(service.token)
        self.data = folder / "gateway"
        self.log = folder / "gateway.log"
        self.log.touch()
        self.watch = leaking.Watch()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
            f"{PREFIX}DATA_DIR": str(self.data),
            f"{PREFIX}SERVICE_URL": service.url,
            f"{PREFIX}SERVICE_TOKEN_FILE": str(token),
        }

    def words(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, "-m", "hashseal_gateway.cli", *map(str, arguments)]

    def run(self, *arguments: str | Path, code: int = 0) -> dict:
        done = subprocess.run(
            self.words(*arguments, "--json"),
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        lines = done.stdout.splitlines()
        said = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
        for name in SHOWN:
            self.watch.learn(name, said.get(name))
        with self.log.open("a") as log:
            log.write(done.stderr)
        return said

    @contextmanager
    def started(self, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.words(*arguments), env=self.environment, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)
        self.look()

    def look(self, **more: bytes) -> None:
        """Nothing secret was left; `more` are places that only the test can look at."""
        places = {"log": self.log.read_bytes(), "files": leaking.files(self.data), **more}
        left = self.watch.leaks(places)
        assert not left, left

    @contextmanager
    def serving(self, *, role: str = "operator", **settings: str) -> Iterator[Running]:
        """`init`, a key, and `run` while the block runs."""
        self.environment |= {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}
        self.run("init")
        key = self.run("key", "create", "erp", "--role", role)["key"]
        url = f"http://127.0.0.1:{free_port()}"
        headers = {"Authorization": f"Bearer {key}"}
        with (
            httpx2.Client(base_url=url, headers=headers, timeout=120) as client,
            self.started("run", "--port", url.rpartition(":")[2]) as process,
        ):
            until_up(client, process)
            yield Running(url, key, client, process)


@dataclass(frozen=True)
class Running:
    """A gateway that answers, and how to get in."""

    url: str
    key: str
    client: httpx2.Client
    process: subprocess.Popen[bytes]

    def sign(
        self,
        document: bytes,
        seal: str,
        *,
        key: str | None = None,
        later: bool = False,
        **query: str,
    ) -> httpx2.Response:
        headers = {"Content-Type": "application/pdf"}
        headers |= {"Idempotency-Key": key} if key else {}
        headers |= {"Prefer": "respond-async"} if later else {}
        asked = {"seal": seal, **query}
        return self.client.post("/v1/documents", content=document, headers=headers, params=asked)

    def until(self, identity: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """Ask for a document until it is in one of these states."""
        deadline = time.monotonic() + seconds
        while (found := self.client.get(f"/v1/documents/{identity}").json())["state"] not in states:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found


def left(service: Any) -> int:
    headers = {"Authorization": f"Bearer {service.token}"}
    balance = httpx2.get(f"{service.url}/v1/account", headers=headers).json()["balance"]
    return balance["free"] + balance["paid"]


def until_up(client: httpx2.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        assert process.poll() is None
        with contextlib.suppress(httpx2.HTTPError):
            if client.get("/healthz").status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the gateway did not start")
