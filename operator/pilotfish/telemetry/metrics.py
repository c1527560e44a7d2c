"""The gateway's metrics. Label values are names of resources and enums, never input."""

from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)

M = TypeVar("M", bound=MetricWrapperBase)


class Family(Generic[M]):
    """A metric that caches its children, because the library looks each one up under a lock."""

    def __init__(self, metric: M) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        """The child with these values."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._metric.labels(*values)
        return child

    def clear(self) -> None:
        """Remove all children, for a metric that is set again on each scrape."""
        self._children.clear()
        self._metric.clear()


class GatewayMetrics:
    """Prometheus metrics of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests answered.", "route", "status")
        self.escalations = self._counter(
            "escalations", "Requests that a cascade's first stage did not answer.", "route"
        )
        self.stages = self._counter("stages", "Stages that ran, by verdict.", "route", "pool", "verdict")
        self.tokens = self._counter("tokens", "Tokens of prompts (input) and answers (output).", "pool", "direction")
        self.cost = self._counter("cost", "Cost of the stages that ran.", "pool", "currency")
        self.seconds = self._histogram(
            "request_seconds", "Time from the arrival of a request to the last byte of its answer.", "route"
        )
        self.first_byte_seconds = self._histogram(
            "first_byte_seconds", "Time from the arrival of a request to the first byte of its answer.", "route"
        )
        self.in_flight = self._gauge("in_flight", "Requests in progress at a pool.", "pool")
        self.threshold = self._gauge(
            "threshold_permille", "The threshold in effect, for routers with an objective.", "route"
        )
        self.plugin_seconds = self._histogram(
            "plugin_seconds", "Time of a call to an adaptation plugin, with what it waits for.", "plugin", "hook"
        )
        self.plugin_failures = self._counter("plugin_failures", "Failed calls to a plugin.", "plugin", "reason")
        self.plugin_blocked_seconds = self._counter(
            "plugin_blocked_seconds", "Time that a plugin blocked the gateway's event loop, from 0.1 s on.", "plugin"
        )
        self.records_dropped = Counter(
            "pilotfish_records_dropped", "Rows that were dropped because the log was too slow.", registry=self.registry
        )

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, says: str, *labels: str) -> Family[Counter]:
        return Family(Counter(f"pilotfish_{name}", says, labels, registry=self.registry))

    def _gauge(self, name: str, says: str, *labels: str) -> Family[Gauge]:
        return Family(Gauge(f"pilotfish_{name}", says, labels, registry=self.registry))

    def _histogram(self, name: str, says: str, *labels: str) -> Family[Histogram]:
        return Family(Histogram(f"pilotfish_{name}", says, labels, buckets=_SECONDS, registry=self.registry))
