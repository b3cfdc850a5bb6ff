"""`make gateway`: service sandbox and gateway together on loopback, to try them.

    python tools/gateway.py [FOLDER]

The two never import each other: the service runs here behind a port of its own, the gateway is its
command, as a company would start it. Ctrl-C ends both; the folder is kept for the next time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hashseal_server.sandbox import Sandbox, sandbox

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path.home() / ".local" / "share" / "hashseal-gateway-try"
PREFIX = "HASHSEAL_GATEWAY_"
LOOPBACK = "127.0.0.1"
START_SECONDS = 60
PORTS = {"service": 8000, "gateway": 8080}


def port(name: str) -> int:
    """The usual port if it is free, else any that is."""
    for wanted in (PORTS[name], 0):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((LOOPBACK, wanted))
            found: int = trial.getsockname()[1]
            return found
    sys.exit("there is no free port")


def written(path: Path, text: str) -> Path:
    """A file that only its owner may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


def command(environment: dict[str, str], *words: str) -> dict[str, str]:
    """One command of the gateway; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "hashseal_gateway.cli", *words, "--json"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    said: dict[str, str] = json.loads(done.stdout)
    return said


def prepared(
    folder: Path, opened: Sandbox, service_url: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The gateway's environment, and who may log in: made at the first start, kept then."""
    data = folder / "gateway"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = x509.load_der_x509_certificate(opened.trust_anchor).public_bytes(Encoding.PEM)
    anchor = folder / "trust-anchor.pem"
    anchor.write_bytes(root)
    environment = {
        **os.environ,
        f"{PREFIX}DATA_DIR": str(data),
        f"{PREFIX}SERVICE_URL": service_url,
        f"{PREFIX}SERVICE_TOKEN_FILE": str(written(folder / "service-token", opened.token)),
        f"{PREFIX}TRUST_ANCHORS": str(anchor),
        f"{PREFIX}LOG_FORMAT": "text",
    }
    access = folder / "access.json"
    if not access.exists():
        command(environment, "init")
        name = f"admin-{secrets.token_hex(2)}"
        user = command(environment, "user", "create", name, "--role", "administrator")
        key = command(environment, "key", "create", "try it", "--role", "administrator")
        written(access, json.dumps({**user, "key": key["key"]}))
    return environment, json.loads(access.read_text())


async def until_ready(url: str, alive: Callable[[], bool]) -> None:
    """The gateway answers."""
    async with httpx2.AsyncClient() as client:
        for _ in range(10 * START_SECONDS):
            with contextlib.suppress(httpx2.HTTPError):
                if (await client.get(f"{url}/readyz")).status_code == 200:  # noqa: PLR2004
                    return
            if not alive():
                break
            await asyncio.sleep(0.1)
    sys.exit("the gateway did not start; what it said stands above")


def say(service_url: str, gateway_url: str, access: dict[str, str], seal: str) -> None:
    """Where both are, and what to do with them."""
    print(f"\nservice   {service_url}  (sandbox: its certificates say TEST)")
    print(f"gateway   {gateway_url}  (open it in a browser; API: {gateway_url}/openapi.json)")
    print(f"log in    {access['user']}  {access['password']}")
    print("\nsign a PDF:\n")
    print(f"curl --fail-with-body -H 'Authorization: Bearer {access['key']}' \\")
    print("  -H 'Content-Type: application/pdf' --data-binary @invoice.pdf \\")
    print(f"  -o invoice.signed.pdf '{gateway_url}/v1/documents?seal={seal}'\n")
    print("Ctrl-C ends both.", flush=True)


async def main(folder: Path) -> int:
    """Run both until a signal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with sandbox(folder / "service") as opened:
        service_port, gateway_port = port("service"), port("gateway")
        service_url = f"http://{LOOPBACK}:{service_port}"
        gateway_url = f"http://{LOOPBACK}:{gateway_port}"
        app: object = opened.app
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            host=LOOPBACK,
            port=service_port,
            log_level="warning",
            lifespan="off",
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(server._serve())  # noqa: SLF001 - signals are ours here
        environment, access = await asyncio.to_thread(prepared, folder, opened, service_url)
        words = [sys.executable, "-m", "hashseal_gateway.cli", "run", "--port", str(gateway_port)]
        process = await asyncio.create_subprocess_exec(
            *words, env=environment, stdout=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        try:
            await until_ready(gateway_url, lambda: process.returncode is None)
            say(service_url, gateway_url, access, opened.seal_ids["P-256"])
            ended = asyncio.create_task(process.wait())
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
            server.should_exit = True
            await serving
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)))
