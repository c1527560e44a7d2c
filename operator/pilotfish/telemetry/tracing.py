"""OpenTelemetry traces, set up by the standard OTEL_* variables. Off, unless an exporter's address is given."""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

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

_propagator = TraceContextTextMapPropagator()


def enabled(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(environ.get(name) for name in ENDPOINT_VARIABLES)


class Tracing:
    """Starts spans, or does nothing at all when there is no provider. W3C context in and out either way."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer: Tracer | None = provider.get_tracer("pilotfish", __version__) if provider else None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], service: str) -> "Tracing":
        """Export over OTLP/HTTP when the environment names an endpoint. The SDK reads sampler and limits itself."""
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

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind,
        parent: "Mapping[str, str] | Span",
        attributes: Attributes,
    ) -> Iterator[Span]:
        """A span below another span or below the context in a request's headers. Errors mark it and pass through."""
        if self._tracer is None:
            yield INVALID_SPAN
            return
        if isinstance(parent, Span) and not parent.is_recording():
            # Samplers decide by trace, so what is below a span that was left out is left out, too.
            yield parent
            return
        context = _context(parent)
        span = self._tracer.start_span(name, context, kind, attributes)
        try:
            yield span
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            raise
        finally:
            span.end()

    def inject(self, span: Span, incoming: Mapping[str, str], headers: MutableMapping[str, str]) -> None:
        """Write the context for a call: the span's, or, with tracing off, the caller's as it came."""
        if self._tracer is None:
            headers.update((name, incoming[name]) for name in CONTEXT_HEADERS if name in incoming)
        else:
            _propagator.inject(headers, set_span_in_context(span))

    def shutdown(self) -> None:
        """Send what is waiting and stop. Blocks for the exporter's own timeout at most."""
        if self._provider:
            self._provider.shutdown()


def _context(parent: Mapping[str, str] | Span) -> Context | None:
    if isinstance(parent, Span):
        return set_span_in_context(parent)
    if "traceparent" not in parent:
        return Context()
    return _propagator.extract({name: parent[name] for name in CONTEXT_HEADERS if name in parent}, Context())
