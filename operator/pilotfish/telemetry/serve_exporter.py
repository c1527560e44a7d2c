"""Exports spans of Ray Serve over OTLP. Ray imports `span_processors` by name in each of its processes."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def span_processors() -> list[SpanProcessor]:
    """The span processors that Serve adds to its tracer provider. OTEL_* variables configure the endpoint."""
    return [BatchSpanProcessor(OTLPSpanExporter())]
