"""Counts what the requests of one router use, for its objective and for its share of escalated requests."""

from collections.abc import Sequence
from dataclasses import dataclass

from pilotfish.api.modelrouter import ModelRouter
from pilotfish.gateway.records import RequestRecord, StageRecord
from pilotfish.routing.gateway_usage import Totals


@dataclass
class UsageCounters:
    """Monotonic counters. `currency` is the objective's. A request that takes over `slow_seconds` is slow."""

    first_pool: str = ""
    currency: str | None = None
    slow_seconds: float | None = None
    requests: int = 0
    escalated: int = 0
    small_spend: float = 0.0
    large_spend: float = 0.0
    slow: int = 0

    def follow(self, router: ModelRouter) -> None:
        """Count by this router's spec from now on."""
        objective = router.spec.objective
        self.first_pool = router.strategy_pools[0]
        self.currency = objective.spend.currency if objective and objective.spend else None
        self.slow_seconds = objective.latency.milliseconds / 1000 if objective and objective.latency else None

    def count(self, record: RequestRecord, seconds: float) -> None:
        """Count a request that has ended, `seconds` after it arrived."""
        self.requests += 1
        if any(stage.pool != self.first_pool for stage in record.stages):
            self.escalated += 1
        if self.slow_seconds is not None and seconds > self.slow_seconds:
            self.slow += 1
        self.spend(record)

    def spend(self, record: RequestRecord) -> None:
        """Count the spend alone. Calls of scorers and plugins are part of the spend on the small pool."""
        if self.currency is not None:
            small = [stage for stage in record.stages if stage.pool == self.first_pool]
            large = [stage for stage in record.stages if stage.pool != self.first_pool]
            self.small_spend += _spent((*small, *record.scorer_calls, *record.plugin_calls), self.currency)
            self.large_spend += _spent(large, self.currency)

    @property
    def totals(self) -> Totals:
        """The present values."""
        return Totals(
            requests=self.requests,
            escalated=self.escalated,
            small_spend=self.small_spend,
            large_spend=self.large_spend,
            slow=self.slow,
        )


def _spent(calls: Sequence[StageRecord], currency: str) -> float:
    return sum(float(call.cost.amount) for call in calls if call.cost and call.cost.currency == currency)
