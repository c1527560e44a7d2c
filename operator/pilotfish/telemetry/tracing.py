"""OpenTelemetry traces, configured by the standard OTEL_* variables. Off without an endpoint."""

from collections.abc import Mapping, MutableMapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pilotfish import __version__

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
CONTEXT_HEADERS = ("traceparent", "tracestate")

Attributes = Mapping[str, str | int | float | bool]
Parent = Mapping[str, str] | Span

_propagator = TraceContextTextMapPropagator()


def enabled(environ: Mapping[str, str]) -> bool:
    """Whether the environment enables traces."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(environ.get(name) for name in ENDPOINT_VARIABLES)


class Tracing:
    """Creates spans, or nothing if there is no provider. Propagates the W3C trace context in both cases."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer: Tracer | None = provider.get_tracer("pilotfish", __version__) if provider else None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], service: str) -> "Tracing":
        """Export over OTLP/HTTP if the environment sets an endpoint. The SDK reads the sampler and limits itself."""
        if not enabled(environ):
            return cls()
        return cls.exporting(BatchSpanProcessor(OTLPSpanExporter()), environ.get("OTEL_SERVICE_NAME", service))

    @classmethod
    def exporting(cls, processor: SpanProcessor, service: str) -> "Tracing":
        """Send spans to `processor`."""
        resource = Resource.create({"service.name": service, "service.version": __version__})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(processor)
        return cls(provider)

    def begin(self, name: str, kind: SpanKind, parent: Parent, attributes: Attributes) -> Span:
        """A span below another one, or below the context in a request's headers; `end` it."""
        if self._tracer is None:
            return INVALID_SPAN
        if not isinstance(parent, Span):
            return self._tracer.start_span(name, _context(parent), kind, attributes)
        if not parent.is_recording():
            # Samplers decide per trace, so children of a span that is not sampled are not sampled either.
            return parent
        return self._tracer.start_span(name, set_span_in_context(parent), kind, attributes)

    def end(self, span: Span, error: BaseException | None = None) -> None:
        """End the span, and mark it if there was an error."""
        if not span.is_recording():
            return
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        span.end()

    def span(self, name: str, kind: SpanKind, parent: Parent, attributes: Attributes) -> "OpenSpan":
        """A context manager around `begin` and `end`. An exception marks the span and propagates."""
        return OpenSpan(self, self.begin(name, kind, parent, attributes))

    def inject(self, span: Span, incoming: Mapping[str, str], headers: MutableMapping[str, str]) -> None:
        """Write the trace context for a call: the span's, or the caller's unchanged if tracing is off."""
        context = span.get_span_context()
        if context.is_valid:
            ids = f"{context.trace_id:032x}-{context.span_id:016x}"
            headers["traceparent"] = f"00-{ids}-{context.trace_flags:02x}"
            if context.trace_state:
                headers["tracestate"] = context.trace_state.to_header()
        else:
            headers.update((name, incoming[name]) for name in CONTEXT_HEADERS if name in incoming)

    def shutdown(self) -> None:
        """Export pending spans and stop. Blocks at most for the exporter's timeout."""
        if self._provider:
            self._provider.shutdown()


class OpenSpan:
    """A span that ends with a context."""

    __slots__ = ("_span", "_tracing")

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self._tracing = tracing
        self._span = span

    def __enter__(self) -> Span:
        return self._span

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._tracing.end(self._span, error)


def _context(incoming: Mapping[str, str]) -> Context:
    if "traceparent" not in incoming:
        return Context()
    return _propagator.extract({name: incoming[name] for name in CONTEXT_HEADERS if name in incoming}, Context())
