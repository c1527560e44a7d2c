"""Counts what the requests of one router took, for its objective and for the share that was escalated."""

from collections.abc import Sequence
from dataclasses import dataclass

from pilotfish.api.modelrouter import ModelRouter
from pilotfish.gateway.wire.decision import StageRecord, Trail
from pilotfish.routing.figures import Totals


@dataclass
class Tally:
    """Counters that only grow. `currency` is that of the objective, `slow_seconds` when a request is too slow."""

    first_pool: str = ""
    currency: str | None = None
    slow_seconds: float | None = None
    requests: int = 0
    escalated: int = 0
    small_spend: float = 0.0
    large_spend: float = 0.0
    slow: int = 0

    def follow(self, router: ModelRouter) -> None:
        """Count by what the router says from now on."""
        objective = router.spec.objective
        self.first_pool = router.strategy_pools[0]
        self.currency = objective.spend.currency if objective and objective.spend else None
        self.slow_seconds = objective.latency.milliseconds / 1000 if objective and objective.latency else None

    def count(self, trail: Trail, seconds: float) -> None:
        """One request has ended, `seconds` after it came."""
        self.requests += 1
        if any(stage.pool != self.first_pool for stage in trail.stages):
            self.escalated += 1
        if self.slow_seconds is not None and seconds > self.slow_seconds:
            self.slow += 1
        self.spend(trail)

    def spend(self, trail: Trail) -> None:
        """Count the money alone, as of an explanation, which is no request. What scorers ask is with small answers."""
        if self.currency is not None:
            small = [stage for stage in trail.stages if stage.pool == self.first_pool]
            large = [stage for stage in trail.stages if stage.pool != self.first_pool]
            self.small_spend += _spent((*small, *trail.scorer_calls), self.currency)
            self.large_spend += _spent(large, self.currency)

    @property
    def totals(self) -> Totals:
        """The counters as they stand."""
        return Totals(
            requests=self.requests,
            escalated=self.escalated,
            small_spend=self.small_spend,
            large_spend=self.large_spend,
            slow=self.slow,
        )


def _spent(calls: Sequence[StageRecord], currency: str) -> float:
    return sum(float(call.cost.amount) for call in calls if call.cost and call.cost.currency == currency)
