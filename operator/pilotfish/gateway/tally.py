"""Counts what the requests of one router took, for its objective and for the share that was escalated."""

from dataclasses import dataclass
from decimal import Decimal

from pilotfish.api.modelrouter import ModelRouter
from pilotfish.gateway.wire.decision import Trail
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
        if self.currency is not None:
            self._spend(trail, self.currency)

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

    def _spend(self, trail: Trail, currency: str) -> None:
        for stage in trail.stages:
            if stage.cost is None or stage.cost.currency != currency:
                continue
            if stage.pool == self.first_pool:
                self.small_spend += float(stage.cost.amount)
            else:
                self.large_spend += float(stage.cost.amount)
        for call in trail.details.get("scorer_calls", ()):
            cost = call.get("cost")
            if cost and cost["currency"] == currency:
                self.small_spend += float(Decimal(cost["amount"]))
