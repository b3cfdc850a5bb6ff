"""The example of the how-to signs through a listening service, without the SDK."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import generated_pdfs
import judgement
import pytest
import uvicorn
from hashseal_server.main import sandbox as open_sandbox

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Listening:
    url: str
    token: str
    seals: Mapping[str, str]
    anchor_der: bytes


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """The sandbox behind a port of the loopback interface."""
    opened: list[Listening] = []
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        async with open_sandbox(tmp_path_factory.mktemp("service")) as sandbox:
            config = uvicorn.Config(sandbox.app, port=0, log_level="warning", lifespan="off")
            server = uvicorn.Server(config)
            servers.append(server)
            running = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.02)
            port = server.servers[0].sockets[0].getsockname()[1]
            opened.append(
                Listening(
                    f"http://127.0.0.1:{port}",
                    sandbox.token,
                    dict(sandbox.seal_ids),
                    bytes(sandbox.trust_anchor),
                )
            )
            await running

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not opened and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert opened, "the service did not start"
    yield opened[0]
    servers[0].should_exit = True
    thread.join(20)


@pytest.mark.tools
@pytest.mark.parametrize("key", ["P-256", "RSA-3072"])
def test_the_example_signs(service: Listening, tmp_path: Path, key: str) -> None:
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(generated_pdfs.generate("table", tmp_path))
    outcome = subprocess.run(
        [
            *(sys.executable, ROOT / "docs" / "how-to" / "example.py"),
            *(service.url, service.token, service.seals[key], source, target),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stderr
    document = target.read_bytes()
    assert document.startswith(source.read_bytes())
    assert judgement.pdfsig(target) == [True]
    assert judgement.pyhanko(document, service.anchor_der, judgement.dss(document)) == [True]


def test_the_example_imports_nothing_of_ours() -> None:
    text = (ROOT / "docs" / "how-to" / "example.py").read_text(encoding="utf-8")
    assert "hashseal" not in text
