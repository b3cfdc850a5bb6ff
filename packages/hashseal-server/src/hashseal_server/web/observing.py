"""What an operator sees of each request: one log line, and figures for Prometheus.

Never a token, a hash, a name, or an address that holds an id: the route's pattern stands for it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import (
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from datetime import datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from structlog.typing import FilteringBoundLogger

from hashseal_server.infra.tracing import Tracing
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
_TOKEN = re.compile(r"hsc?_[0-9a-f]{8,}(_[0-9a-f]*)?")
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


class Log(FilteringBoundLogger, Protocol):
    """What the service writes its log with."""

    def request(self, **values: object) -> None:
        """One line for a request; no value may come from its caller."""


def logger(
    form: Literal["json", "text"], least: Literal["info", "error"], stream: TextIO | None = None
) -> Log:
    """A logger to standard error; `json` for programs, `text` for people."""
    last: Any = structlog.processors.JSONRenderer(_json)
    if form == "text":
        last = structlog.dev.ConsoleRenderer(colors=False)
    made: Log = structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stderr),
        wrapper_class=_with_requests(form, least),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_tokens,
            last,
        ],
    ).bind()  # once, not in each call
    return made


def _with_requests(form: Literal["json", "text"], least: Literal["info", "error"]) -> type[Any]:
    """A bound logger that writes a request's line of JSON without the chain of processors."""
    bound: type[Any] = structlog.make_filtering_bound_logger(LEVELS[least])

    class Bound(bound):  # type: ignore[misc]
        def request(self, **values: object) -> None:
            if least == "error":
                return
            if form == "text":
                self.info("request", **values)
                return
            values |= {"event": "request", "level": "info", "timestamp": _timestamp(time.time())}
            self._logger.msg(msgspec.json.encode(values).decode())

    return Bound


def _timestamp(at: float) -> str:
    """As structlog writes it: ISO 8601 in UTC, with microseconds."""
    second = int(at)
    return f"{_second(second)}.{int(1e6 * (at - second)):06}Z"


@lru_cache(maxsize=2)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


def _json(event: MutableMapping[str, Any], **_options: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _without_tokens(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A token that got into the text of an error does not get into the log."""
    for name, value in event.items():
        if isinstance(value, str) and ("hs_" in value or "hsc_" in value):
            event[name] = _TOKEN.sub("hs_(token)", value)
        elif isinstance(value, str) and "whsec_" in value:
            event[name] = _SECRET.sub("whsec_(secret)", value)
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


class _Timestamping(Collector):
    """The unit of this process, and its clock, when somebody looks."""

    def __init__(self) -> None:
        self.unit = ""
        self.lease_seconds = 0.0
        self.clock = ""
        self.failures = 0

    def collect(self) -> Iterator[Metric]:
        """What Prometheus asks a collector for."""
        lease = GaugeMetricFamily(
            "hashseal_timestamping_lease_seconds",
            "For how long this process owns its timestamping unit; 0: it issues no tokens",
            labels=["unit"],
        )
        lease.add_metric([self.unit or _UNKNOWN], self.lease_seconds)
        clock = GaugeMetricFamily(
            "hashseal_timestamping_clock",
            "What is thought of the clock; tokens are issued in the state `trusted` alone",
            labels=["state"],
        )
        for state in ("unknown", "trusted", "suspect", "settling"):
            clock.add_metric([state], float(state == self.clock))
        yield from (lease, clock)
        yield GaugeMetricFamily(
            "hashseal_timestamping_unit_failures",
            "How often in a row it failed lately to make a timestamping unit; it is tried again",
            value=self.failures,
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
        self._timestamping = _Timestamping()

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

    def ends(self, found: Iterable[tuple[str, datetime]]) -> None:
        """The certificates and lists in use, and when each ends; others are told no more."""
        self._expiry.clear()
        for what, at in found:
            self._expiry.labels(what).set(at.timestamp())

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

    def timestamping(
        self, unit: int | None, lease_seconds: float, clock: str, *, failures: int
    ) -> None:
        """Serial number of the unit that this process owns and for how long; its clock's state.

        `failures` is how often in a row it failed lately to make a unit.
        """
        if not self._timestamping.clock:
            self.registry.register(self._timestamping)
        shown = self._timestamping
        shown.unit = "" if unit is None else f"{unit:x}"
        shown.lease_seconds, shown.clock, shown.failures = lease_seconds, clock, failures

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


class Observer:
    """What is known after an answer is logged, counted and traced."""

    def __init__(self, log: Log, figures: Figures, tracing: Tracing) -> None:
        self.log = log
        self.figures = figures
        self.tracing = tracing

    def watch(self, method: str, traceparent: str | None, state: Mapping[str, Any]) -> Watched:
        """Tell of one request when the block ends.

        `state` may hold the id of the request, its account and the code of its problem by then.
        """
        return Watched(self, method, traceparent, state)


class Watched:
    """One request; whoever answers it says the route and the status."""

    __slots__ = ("_began", "_finish", "_method", "_observer", "_span", "_state", "route", "status")

    def __init__(
        self, observer: Observer, method: str, traceparent: str | None, state: Mapping[str, Any]
    ) -> None:
        self.route, self.status = _UNKNOWN, _INTERNAL
        self._observer, self._method, self._state = observer, method, state
        self._span = observer.tracing.request(traceparent)

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        self._finish = self._span.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        try:
            self._tell(time.perf_counter() - self._began)
        finally:
            self._span.__exit__(kind, error, where)

    def _tell(self, seconds: float) -> None:
        code = self._state.get("problem", "")
        identity = self._state.get("request_id")
        self._observer.figures.answered(self._method, self.route, self.status, code, seconds)
        self._observer.log.request(
            method=self._method,
            route=self.route,
            status=self.status,
            code=code or None,
            milliseconds=round(1000 * seconds, 1),
            request_id=identity,
            account=self._state.get("account"),
        )
        self._finish(
            f"{self._method} {self.route}",
            {
                "http.request.method": self._method,
                "http.route": self.route,
                "http.response.status_code": self.status,
                "error.type": code or None,
                "hashseal.request_id": identity,
            },
        )


class Observed:
    """Wraps an ASGI application."""

    def __init__(self, app: App, observer: Observer) -> None:
        self.inner = app
        self._observer = observer

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        with self._observer.watch(scope["method"], _traceparent(scope), state) as told:

            async def watching(message: Any) -> None:
                if message["type"] == "http.response.start":
                    told.status = message["status"]
                await send(message)

            try:
                await self.inner(scope, receive, watching)
            finally:
                told.route = scope.get("path_template") or _UNKNOWN


def _traceparent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            text: str = value.decode("latin-1")
            return text
    return None
