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
        self.requests = Family(
            Counter("pilotfish_requests", "Requests answered.", ["route", "status"], registry=self.registry)
        )
        self.escalations = Family(
            Counter(
                "pilotfish_escalations",
                "Requests that a cascade's first stage did not answer.",
                ["route"],
                registry=self.registry,
            )
        )
        self.stages = Family(
            Counter(
                "pilotfish_stages", "Stages that ran, by verdict.", ["route", "pool", "verdict"], registry=self.registry
            )
        )
        self.tokens = Family(
            Counter(
                "pilotfish_tokens",
                "Tokens of prompts (input) and answers (output).",
                ["pool", "direction"],
                registry=self.registry,
            )
        )
        self.cost = Family(
            Counter("pilotfish_cost", "Cost of the stages that ran.", ["pool", "currency"], registry=self.registry)
        )
        self.seconds = Family(
            Histogram(
                "pilotfish_request_seconds",
                "From a request's arrival to its last byte.",
                ["route"],
                buckets=_SECONDS,
                registry=self.registry,
            )
        )
        self.first_byte_seconds = Family(
            Histogram(
                "pilotfish_first_byte_seconds",
                "From a request's arrival to the answer's first byte.",
                ["route"],
                buckets=_SECONDS,
                registry=self.registry,
            )
        )
        self.in_flight = Family(
            Gauge("pilotfish_in_flight", "Requests at a pool now.", ["pool"], registry=self.registry)
        )
        self.threshold = Family(
            Gauge(
                "pilotfish_threshold_permille",
                "The threshold in force, of routers with an objective.",
                ["route"],
                registry=self.registry,
            )
        )
        self.records_dropped = Counter(
            "pilotfish_records_dropped", "Rows that the log was too slow to take.", registry=self.registry
        )

    def render(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self.registry)
