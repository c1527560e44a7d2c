"""Makes the plan of a request: which pools may be asked, in which order."""

from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from pilotfish.api.modelrouter import ModelRouter
from pilotfish.api.strategy import Predictive, Weighted
from pilotfish.gateway.exchange import Exchange
from pilotfish.gateway.routes import Route
from pilotfish.routing.plan import (
    Plan,
    Step,
    explored_candidates,
    predictive_choice,
    weighted_choice,
    weighted_fallback,
    with_fallback,
)
from pilotfish.routing.snapshot import Snapshot
from pilotfish.telemetry import genai
from pilotfish.telemetry.tracing import Tracing


@dataclass(frozen=True)
class Planner:
    """Makes plans. `uniform` draws from [0, 1)."""

    tracing: Tracing
    uniform: Callable[[], float]

    async def plan(self, exchange: Exchange, *, explore: bool = True) -> Plan:
        """The route's own plan, or one drawn or predicted for this request. Raises RequestError as the scorer does."""
        if exchange.route.plan:
            return exchange.route.plan
        router = exchange.route.router
        if router and router.spec.strategy.weighted:
            return self._weighted(exchange.route, exchange.caller.snapshot, router, router.spec.strategy.weighted)
        if router and router.spec.strategy.predictive:
            return await self._predictive(exchange, router, router.spec.strategy.predictive, explore=explore)
        raise RuntimeError(f"route {exchange.route.name} has no strategy")

    def pooling_plan(self, route: Route, snapshot: Snapshot) -> Plan | None:
        """The plan for a request that no prompt and no answer decides on; None where the strategy needs them."""
        router = route.router
        if router is None or router.spec.strategy.direct:
            return route.plan
        weighted = router.spec.strategy.weighted
        return self._weighted(route, snapshot, router, weighted) if weighted else None

    def _weighted(self, route: Route, snapshot: Snapshot, router: ModelRouter, weighted: Weighted) -> Plan:
        answering = snapshot.answering.get(route.namespace, frozenset())
        pool, share = weighted_choice(weighted.pools, answering, self.uniform())
        others = [name for name in weighted_fallback(weighted.pools, answering) if name != pool]
        return with_fallback(router, [Step(name) for name in (pool, *others)], propensity=share)

    async def _predictive(
        self, exchange: Exchange, router: ModelRouter, predictive: Predictive, *, explore: bool
    ) -> Plan:
        """The candidates from the predicted one on. Exploration skips the predicted one in some requests."""
        scorer = exchange.route.prompt_scorer
        if scorer is None:
            raise RuntimeError(f"route {exchange.route.name} has no scorer")
        models = exchange.scorer_models({ref.role: ref.name for ref in predictive.scorer.pool_refs})
        attributes = {genai.ROUTE: exchange.route.name}
        name = f"score {predictive.scorer.name}"
        with self.tracing.span(name, SpanKind.INTERNAL, exchange.caller.span, attributes) as span:
            score = await scorer.predict(question=exchange.request.question, models=models)
            predicted = predictive_choice(predictive.candidates, score.permille)
            span.set_attributes({genai.SCORE: score.permille, genai.POOL: predicted})
        names = [candidate.pool_ref.name for candidate in predictive.candidates]
        permille = exchange.route.exploration_permille if explore else 0
        asked, chance = explored_candidates(names[names.index(predicted) :], permille, self.uniform())
        exchange.record.details["prediction"] = {
            "score": score.permille,
            "pool": predicted,
            **({} if asked[0] == predicted else {"explored": True}),
            "details": dict(score.details),
        }
        return with_fallback(router, [Step(name) for name in asked], propensity=chance)
