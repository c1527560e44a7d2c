"""The one list of the gateway's metrics. Label values are names of resources and enums, never input."""

from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)

M = TypeVar("M", bound=MetricWrapperBase)


class Family(Generic[M]):
    """A metric whose children are at hand: the library looks each up under a lock, many times a request."""

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
        """Forget all children, of a metric that is set anew whenever it is asked for."""
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
        self.seconds = self._histogram("request_seconds", "From a request's arrival to its last byte.", "route")
        self.first_byte_seconds = self._histogram(
            "first_byte_seconds", "From a request's arrival to the answer's first byte.", "route"
        )
        self.in_flight = self._gauge("in_flight", "Requests at a pool now.", "pool")
        self.threshold = self._gauge(
            "threshold_permille", "The threshold in force, of routers with an objective.", "route"
        )
        self.records_dropped = Counter(
            "pilotfish_records_dropped", "Rows that the log was too slow to take.", registry=self.registry
        )

    def render(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self.registry)

    def _counter(self, name: str, says: str, *labels: str) -> Family[Counter]:
        return Family(Counter(f"pilotfish_{name}", says, labels, registry=self.registry))

    def _gauge(self, name: str, says: str, *labels: str) -> Family[Gauge]:
        return Family(Gauge(f"pilotfish_{name}", says, labels, registry=self.registry))

    def _histogram(self, name: str, says: str, *labels: str) -> Family[Histogram]:
        return Family(Histogram(f"pilotfish_{name}", says, labels, buckets=_SECONDS, registry=self.registry))
