"""A receiver of webhooks on loopback: answers as a test says, and keeps what it was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from serving import say, served
from standardwebhooks.webhooks import Webhook


@dataclass(frozen=True)
class Message:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def check(self, secret: str) -> object:
        """The content, if the library of Standard Webhooks accepts the signature."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """Answers with `statuses` in turn, the last one for ever; each with these headers."""

    statuses: list[int] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    slow: float = 0
    messages: list[Message] = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def hear(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self.lock:
            self.messages.append(Message(handler.path, headers, body))
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        time.sleep(self.slow)
        say(handler, status, b"some words", **self.headers)

    def wait(self, count: int, seconds: float = 30) -> list[Message]:
        """The messages, as soon as there are so many."""
        until = time.monotonic() + seconds
        while len(self.messages) < count:
            assert time.monotonic() < until, f"{len(self.messages)} messages of {count}"
            time.sleep(0.02)
        return self.messages


@contextmanager
def receiving(**given: object) -> Iterator[Receiver]:
    """A receiver that listens during the block."""
    made = Receiver(**given)  # type: ignore[arg-type]
    with served(made.hear) as made.port:
        yield made
