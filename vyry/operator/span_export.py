"""Spans by OpenTelemetry (the extra `otel`): to an OTLP receiver over HTTP, from a thread of its own."""

import secrets
import time
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from vyry.telemetry import Verb
from vyry.tracing import TraceContext


_EXPORT_SECONDS: Final = 5.0
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


class OpenTelemetrySpans:
    """SpanSink of OpenTelemetry. `share` of the posts are traced."""

    def __init__(self, exporter: SpanExporter, share: float, *, service: str, version: str) -> None:
        self._share = round(share * (1 << 32))
        self._provider = TracerProvider(
            resource=Resource({"service.name": service, "service.version": version}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("vyry")

    def is_sampled(self) -> bool:
        """Whether the next post is traced."""
        return secrets.randbits(32) < self._share

    def add(self, verb: Verb, parent: TraceContext | None, seconds: float, count: int) -> TraceContext:
        """See SpanSink."""
        end = time.time_ns()
        span = self._tracer.start_span(
            verb,
            context=_parent(parent),
            start_time=end - round(seconds * 1_000_000_000),
            attributes={"vyry.batch.size": count},
        )
        span.end(end)
        made = span.get_span_context()
        return TraceContext(made.trace_id.to_bytes(16, "big"), made.span_id.to_bytes(8, "big"))

    def close(self) -> None:
        """Export what waits. Blocks for a few seconds while the receiver is down."""
        self._provider.shutdown()


def otlp_exporter(url: str) -> SpanExporter:
    """An exporter to this OTLP receiver."""
    return OTLPSpanExporter(endpoint=url, timeout=_EXPORT_SECONDS)


def _parent(context: TraceContext | None) -> Context | None:
    if context is None:
        return None
    trace, span = (int.from_bytes(each, "big") for each in (context.trace, context.span))
    return set_span_in_context(NonRecordingSpan(SpanContext(trace, span, is_remote=True, trace_flags=_SAMPLED)))
