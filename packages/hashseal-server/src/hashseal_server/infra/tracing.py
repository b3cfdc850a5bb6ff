"""Traces of calls for OpenTelemetry; nothing is loaded or made unless an address is set.

A span says how long a step took, under which route and with which outcome: never a token, a hash, a
name, or an address that holds an id. The caller's `traceparent` (W3C Trace Context) is taken up.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TypeAlias

from hashseal_core.errors import ConfigurationInvalid

Attributes: TypeAlias = Mapping[str, str | int | None]
Finish: TypeAlias = Callable[[str, Attributes], None]


class Tracing(Protocol):
    """What the web and signing layers call."""

    def request(self, traceparent: str | None) -> AbstractContextManager[Finish]:
        """A span for one request; what is handed out takes its name and attributes."""

    def step(self, name: str) -> AbstractContextManager[object]:
        """A span inside the one that is open."""

    def close(self) -> None:
        """Send what is left."""


class NoTracing:
    """The default."""

    def __init__(self) -> None:
        self._nothing: AbstractContextManager[Finish] = nullcontext(lambda _name, _attributes: None)

    def request(self, traceparent: str | None) -> AbstractContextManager[Finish]:
        """See `Tracing`."""
        del traceparent
        return self._nothing

    def step(self, name: str) -> AbstractContextManager[object]:
        """See `Tracing`."""
        del name
        return self._nothing

    def close(self) -> None:
        """See `Tracing`."""


class OtlpTracing:
    """Spans over OTLP/HTTP (protobuf) to `url`, in batches and beside the calls.

    Raises:
        ConfigurationInvalid: the extra `traces` is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            resources = importlib.import_module("opentelemetry.sdk.resources")
            sdk = importlib.import_module("opentelemetry.sdk.trace")
            export = importlib.import_module("opentelemetry.sdk.trace.export")
            otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
            context = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
            api = importlib.import_module("opentelemetry.trace")
        except ImportError as error:
            raise ConfigurationInvalid(
                "traces need `pip install hashseal-server[traces]`", field="traces_url"
            ) from error
        self._provider: Any = sdk.TracerProvider(
            resource=resources.Resource.create({"service.name": "hashseal-server"})
        )
        exporter = otlp.OTLPSpanExporter(endpoint=url, timeout=5)
        self._provider.add_span_processor(export.BatchSpanProcessor(exporter))
        self._tracer: Any = self._provider.get_tracer("hashseal_server")
        self._propagator: Any = context.TraceContextTextMapPropagator()
        self._server: Any = api.SpanKind.SERVER

    @contextmanager
    def request(self, traceparent: str | None) -> Iterator[Finish]:
        """See `Tracing`; of an exception nothing is told, as in `step`."""
        carrier = {"traceparent": traceparent} if traceparent else {}
        parent = self._propagator.extract(carrier)
        with self._tracer.start_as_current_span(
            "request", context=parent, kind=self._server, record_exception=False,
            set_status_on_exception=False,
        ) as span:  # fmt: skip

            def finish(name: str, attributes: Attributes) -> None:
                span.update_name(name)
                span.set_attributes({k: v for k, v in attributes.items() if v is not None})

            yield finish

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """See `Tracing`; an exception's text could hold anything, so only its kind is told."""
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                raise

    def close(self) -> None:
        """See `Tracing`."""
        self._provider.shutdown()


def tracing(url: str | None) -> Tracing:
    """Traces to this address, or none.

    Raises:
        ConfigurationInvalid: as `OtlpTracing`.
    """
    return OtlpTracing(url) if url else NoTracing()
