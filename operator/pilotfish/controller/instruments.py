"""Metrics of the operator, a span for each reconcile, and its health probes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from time import perf_counter

from aiohttp import web
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from pilotfish.base.errors import PilotfishError
from pilotfish.base.keys import Key
from pilotfish.controller.queue import Work
from pilotfish.telemetry.tracing import Tracing


class Instruments:
    """The operator's metrics. Labels are kinds and outcomes, never names."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconciles = Counter(
            "pilotfish_operator_reconciles", "Reconciles by outcome.", ["kind", "outcome"], registry=self.registry
        )
        self.seconds = Histogram(
            "pilotfish_operator_reconcile_seconds", "Duration of a reconcile.", ["kind"], registry=self.registry
        )
        self.queued = Gauge(
            "pilotfish_operator_queue", "Resources that wait or are being reconciled.", registry=self.registry
        )
        self.leading = Gauge(
            "pilotfish_operator_leading", "1 while this process holds the Lease.", registry=self.registry
        )

    def observed(self, work: Work[Key]) -> Work[Key]:
        """`work` with metrics and a span."""

        async def watched(key: Key) -> float | None:
            started = perf_counter()
            outcome = "error"
            try:
                with self._span(key):
                    after = await work(key)
            except PilotfishError:
                outcome = "fault"
                raise
            else:
                outcome = "done"
                return after
            finally:
                self.reconciles.labels(key.kind, outcome).inc()
                self.seconds.labels(key.kind).observe(perf_counter() - started)

        return watched

    def _span(self, key: Key) -> AbstractContextManager[object]:
        attributes = {"k8s.resource.kind": key.kind, "k8s.namespace.name": key.namespace, "k8s.resource.name": key.name}
        return self._tracing.span(f"reconcile {key.kind}", SpanKind.INTERNAL, {}, attributes)


async def serve_health(instruments: Instruments, host: str, port: int, ready: Callable[[], bool]) -> web.AppRunner:
    """Answer /healthz, /readyz and /metrics on `host:port` until the runner is cleaned up. Raises OSError."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        waiting = "waiting for the API server, and for it to serve our kinds"
        return web.Response(text="ready") if ready() else web.Response(status=503, text=waiting)

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(instruments.registry)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
