"""What an administrator sees of each request: one log line, and figures for Prometheus.

Never a key, a digest, a name of a file or of a person, or an address that holds an id.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from structlog.typing import FilteringBoundLogger

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
_LEVELS = {"info": 20, "error": 40}
_SECRET = re.compile(r"hsg?_[0-9a-f]{8,}(_[0-9a-f]*)?")
_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_NONE = "(none)"


def logger(
    form: Literal["json", "text"], least: Literal["info", "error"], stream: TextIO | None = None
) -> FilteringBoundLogger:
    """A logger to standard error; `json` for programs, `text` for people."""
    last: Any = structlog.processors.JSONRenderer(_json)
    if form == "text":
        last = structlog.dev.ConsoleRenderer(colors=False)
    made: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[least]),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_secrets,
            last,
        ],
    ).bind()
    return made


def _json(event: MutableMapping[str, Any], **_options: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _without_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str) and "hs" in value:
            event[name] = _SECRET.sub("(key)", value)
    return event


class Figures:
    """Counters and gauges of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "hashseal_gateway_requests",
            "Requests answered",
            ("method", "route", "status", "code"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "hashseal_gateway_request_seconds",
            "Seconds to answer",
            ("method", "route"),
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._load = Gauge(
            "hashseal_gateway_documents_under_way",
            "Documents of calls that are under way, and that wait for a place",
            ("state",),
            registry=self.registry,
        )
        self._documents = Gauge(
            "hashseal_gateway_documents",
            "Asynchronous documents by state",
            ("state",),
            registry=self.registry,
        )

    def answered(self, method: str, route: str, status: int, code: str, seconds: float) -> None:
        """One request has been answered; `code` is a problem's, or empty."""
        self._requests.labels(method, route, str(status), code).inc()
        self._seconds.labels(method, route).observe(seconds)

    def load(self, running: int, waiting: int) -> None:
        """Documents of calls, now."""
        self._load.labels("running").set(running)
        self._load.labels("waiting").set(waiting)

    def documents(self, counts: Mapping[str, int]) -> None:
        """Asynchronous documents, now."""
        self._documents.clear()
        for state, count in counts.items():
            self._documents.labels(state).set(count)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self.registry)


class Observed:
    """Wraps an ASGI application: what is known after an answer is logged and counted."""

    def __init__(self, app: App, log: FilteringBoundLogger, figures: Figures) -> None:
        self._app = app
        self._log = log
        self._figures = figures

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        state = scope.setdefault("state", {})

        async def watching(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            seconds = time.perf_counter() - began
            route, code = scope.get("path_template") or _NONE, state.get("problem", "")
            self._figures.answered(scope["method"], route, status, code, seconds)
            self._log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                code=code or None,
                milliseconds=round(1000 * seconds, 1),
                request_id=state.get("request_id"),
                caller=state.get("caller"),
            )
