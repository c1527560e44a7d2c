"""Spans of Ray Serve itself, exported over OTLP. Ray imports `span_processors` by name in each of its processes."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def span_processors() -> list[SpanProcessor]:
    """What Serve adds to its tracer provider; the address comes from the standard OTEL_* variables."""
    return [BatchSpanProcessor(OTLPSpanExporter())]
