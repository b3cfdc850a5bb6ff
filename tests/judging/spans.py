"""Traces that stay in memory, made as for a collector, so that a test can look at what they say."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hashseal_server.infra.tracing import OtlpTracing


class Remembered(OtlpTracing):
    """The service's own tracing; only where the spans go is another place."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9/nobody")
        super().close()
        self._kept = InMemorySpanExporter()
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self._tracer = self._provider.get_tracer("hashseal_server")

    def text(self) -> str:
        """Every span so far."""
        return "\n".join(one.to_json(indent=None) for one in self._kept.get_finished_spans())
