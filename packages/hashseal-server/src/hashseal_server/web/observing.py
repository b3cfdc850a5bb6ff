"""What an operator sees of each request: one log line, and figures for Prometheus.

Never a token, a hash, a name, or an address that holds an id: the route's pattern stands for it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any, Literal, TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from structlog.typing import FilteringBoundLogger

from hashseal_server.infra.tracing import Finish, Tracing
from hashseal_server.infra.work import Outcome

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_GROUPS = (1, 2, 4, 8, 16, 32, 64, 128)
_UNKNOWN = "(none)"
_INTERNAL = 500
LEVELS = {"info": 20, "error": 40}
_TOKEN = re.compile(r"hs_[0-9a-f]{8,}(_[0-9a-f]*)?")


def logger(
    form: Literal["json", "text"], least: Literal["info", "error"], stream: TextIO | None = None
) -> FilteringBoundLogger:
    """A logger to standard error; `json` for programs, `text` for people."""
    last: Any = structlog.processors.JSONRenderer(_json)
    if form == "text":
        last = structlog.dev.ConsoleRenderer(colors=False)
    made: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[least]),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_tokens,
            last,
        ],
    ).bind()  # once, not in each call
    return made


def _json(event: MutableMapping[str, Any], **_options: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _without_tokens(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A token that got into the text of an error does not get into the log."""
    for name, value in event.items():
        if isinstance(value, str) and "hs_" in value:
            event[name] = _TOKEN.sub("hs_(token)", value)
    return event


class _Work(Collector):
    """Background work as the database knows it: the same figures from every replica."""

    def __init__(self) -> None:
        self.outcomes: Sequence[Outcome] = ()
        self.executors = 0

    def collect(self) -> Iterator[Metric]:
        """What Prometheus asks a collector for."""
        runs = CounterMetricFamily("hashseal_job_runs", "Runs of background work", labels=["job"])
        failures = CounterMetricFamily("hashseal_job_failures", "Runs that failed", labels=["job"])
        last = GaugeMetricFamily(
            "hashseal_job_success_timestamp_seconds",
            "When background work last succeeded, Unix time",
            labels=["job"],
        )
        for one in self.outcomes:
            runs.add_metric([one.job], one.runs)
            failures.add_metric([one.job], one.failures)
            if one.succeeded_at is not None:
                last.add_metric([one.job], one.succeeded_at.timestamp())
        yield from (runs, failures, last)
        yield GaugeMetricFamily(
            "hashseal_background_workers",
            "Processes alive that do background work",
            value=self.executors,
        )


class Figures:
    """Counters and gauges of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "hashseal_requests",
            "Requests answered",
            ("method", "route", "status", "code"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "hashseal_request_seconds",
            "Seconds to answer",
            ("method", "route"),
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._calls = Gauge(
            "hashseal_calls", "Calls under way and waiting", ("state",), registry=self.registry
        )
        self._groups = Histogram(
            "hashseal_commit_group_size",
            "Calls recorded by one transaction",
            registry=self.registry,
            buckets=_GROUPS,
        )
        self._audit = Gauge(
            "hashseal_audit_waiting_seconds",
            "Age of the oldest audit record that is not chained",
            registry=self.registry,
        )
        self._clock = Gauge(
            "hashseal_clock_seconds",
            "What the kernel says of its clock: offset, and bound of its error",
            ("what",),
            registry=self.registry,
        )
        self._synchronised = Gauge(
            "hashseal_clock_synchronised",
            "1 when an NTP daemon keeps the clock",
            registry=self.registry,
        )
        self._expiry = Gauge(
            "hashseal_expiry_timestamp_seconds",
            "When a certificate or list ends, Unix time",
            ("what",),
            registry=self.registry,
        )
        self._work = _Work()
        self.registry.register(self._work)

        self._series: dict[tuple[str, str, int, str], tuple[Any, Any]] = {}

    def answered(self, method: str, route: str, status: int, code: str, seconds: float) -> None:
        """One request has been answered; `code` is a problem's, or empty."""
        series = self._series.get((method, route, status, code))
        if series is None:
            series = (
                self._requests.labels(method, route, str(status), code),
                self._seconds.labels(method, route),
            )
            self._series[method, route, status, code] = series
        series[0].inc()
        series[1].observe(seconds)

    def ends(self, what: str, at: float) -> None:
        """A certificate or list that ends at this Unix time."""
        self._expiry.labels(what).set(at)

    def committed(self, calls: int) -> None:
        """One transaction has recorded this many calls."""
        self._groups.observe(calls)

    def audit_waits(self, seconds: float) -> None:
        """How long the oldest audit record has waited to be chained, now."""
        self._audit.set(seconds)

    def clock(self, offset: float, error_bound: float, *, synchronised: bool) -> None:
        """What the kernel says of its clock, now; seconds."""
        self._clock.labels("offset").set(offset)
        self._clock.labels("error-bound").set(error_bound)
        self._synchronised.set(synchronised)

    def work(self, outcomes: Sequence[Outcome], executors: int) -> None:
        """What became of background work so far, and how many processes do it now."""
        self._work.outcomes, self._work.executors = outcomes, executors

    def load(self, running: int, waiting: int) -> None:
        """Calls under way and calls that wait, now."""
        self._calls.labels("running").set(running)
        self._calls.labels("waiting").set(waiting)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self.registry)


class Observed:
    """Wraps the application; what it knows after the answer is logged, counted and traced."""

    def __init__(
        self, app: App, log: FilteringBoundLogger, figures: Figures, tracing: Tracing
    ) -> None:
        self.inner = app
        self._log = log
        self._figures = figures
        self._tracing = tracing

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        status = _INTERNAL
        began = time.perf_counter()

        async def watching(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracing.request(_traceparent(scope)) as finish:
            try:
                await self.inner(scope, receive, watching)
            finally:
                self._tell(scope, status, time.perf_counter() - began, finish)

    def _tell(self, scope: Scope, status: int, seconds: float, finish: Finish) -> None:
        route = scope.get("path_template") or _UNKNOWN
        state = scope.get("state") or {}
        code = state.get("problem", "")
        method = scope["method"]
        self._figures.answered(method, route, status, code, seconds)
        self._log.info(
            "request",
            method=method,
            route=route,
            status=status,
            code=code or None,
            milliseconds=round(1000 * seconds, 1),
            request_id=state.get("request_id"),
            account=state.get("account"),
        )
        finish(
            f"{method} {route}",
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "error.type": code or None,
                "hashseal.request_id": state.get("request_id"),
            },
        )


def _traceparent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            text: str = value.decode("latin-1")
            return text
    return None
