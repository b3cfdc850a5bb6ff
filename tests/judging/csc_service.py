"""A service on a port of the loopback interface that offers the CSC API, raw credentials too."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import leaking
import uvicorn
from ports import free_port
from spans import Remembered

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.main import now, operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.remote_signing import raw_credentials
from hashseal_server.settings import Settings
from hashseal_server.web.observing import logger

SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
KEYS = (KeyAlgorithm.P256, KeyAlgorithm.RSA3072)


@dataclass
class CscService:
    """What a client knows; seals and raw credentials by the name of their key."""

    url: str
    token: str = ""
    other_token: str = ""
    foreign_token: str = ""
    anchor_der: bytes = b""
    seals: dict[str, str] = field(default_factory=dict)
    raws: dict[str, str] = field(default_factory=dict)
    watch: leaking.Watch = field(default_factory=leaking.Watch)

    def post(
        self, path: str, body: Any, *, version: str = "v2", token: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        """Status and JSON of an answer; `headers` have underscores for hyphens."""
        request = urllib.request.Request(
            f"{self.url}/csc/{version}/{path}" if not path.startswith("/") else self.url + path,
            data=body if isinstance(body, bytes) else json.dumps(body).encode(),
            headers={
                "content-type": "application/json",
                "authorization": f"Bearer {token or self.token}",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                octets = error.read()
            self.watch.refusals.append(octets + repr(error.headers.items()).encode())
            return error.code, json.loads(octets)

    def get(self, path: str) -> Any:
        request = urllib.request.Request(
            self.url + path, headers={"authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def authorised(self, credential: str, *digests: bytes, **more: Any) -> str:
        """A SAD for these SHA-256 digests."""
        hashes = [base64.b64encode(one).decode() for one in digests]
        body = {"credentialID": credential, "numSignatures": len(hashes), "hashes": hashes, **more}
        status, answer = self.post("credentials/authorize", body)
        assert status == 200, answer
        self.watch.learn("SAD", answer["SAD"])
        return str(answer["SAD"])

    def left(self) -> int:
        balance = self.get("/v1/account")["balance"]
        return int(balance["free"] + balance["paid"])


@contextmanager
def csc_service(folder: Path, **other: Any) -> Iterator[CscService]:
    """Serve until the block ends; then look for secrets that were left behind (I20)."""
    port = free_port()
    made = CscService(f"http://127.0.0.1:{port}")
    servers: list[uvicorn.Server] = []
    ready, looked = threading.Event(), threading.Event()
    left: list[str] = []

    async def serve() -> None:
        settings = Settings(
            data_dir=folder,
            public_url=made.url,
            requests_per_minute=0,
            **{"raw_signing": True, **other},
        )
        log, spans = io.StringIO(), Remembered()
        async with operator(settings) as served:
            opened = replace(served, tracing=spans)
            await opened.initialise()
            account = await opened.accounts.create("Test Organisation")
            foreign = await opened.accounts.create("Other Organisation")
            made.token = (await opened.accounts.create_token(account.id)).text
            made.other_token = (await opened.accounts.create_token(account.id)).text
            made.foreign_token = (await opened.accounts.create_token(foreign.id)).text
            made.anchor_der = await opened.authority.trust_anchor()
            book, raws = await opened.seals(), raw_credentials(opened, now)
            for key in KEYS:
                seal = await book.create(account.id, SUBJECT, kind="official", algorithm=key)
                made.seals[key.value] = seal.id
                if settings.raw_signing:
                    raw = await raws.create(account.id, SUBJECT, algorithm=key)
                    made.raws[key.value] = raw.id
            app = (await opened.app(logger("json", "info", log))).asgi
            config = uvicorn.Config(
                app, port=port, lifespan="off", log_level="warning", access_log=False
            )
            servers.append(uvicorn.Server(config))
            running = asyncio.create_task(servers[0].serve())
            while not servers[0].started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.02)
            ready.set()
            await running
            more = {"figures": app._observer.figures.render(), "traces": spans.text().encode()}
            left.extend(
                made.watch.leaks(await leaking.places(opened, log.getvalue(), made.watch, **more))
            )
            looked.set()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    deadline = time.monotonic() + 90
    while not ready.wait(0.1) and thread.is_alive() and time.monotonic() < deadline:
        pass
    assert ready.is_set(), "the service did not start"
    try:
        yield made
    finally:
        servers[0].should_exit = True
        thread.join(20)
    assert looked.is_set(), "the service did not end well enough to be looked through"
    assert not left, left
