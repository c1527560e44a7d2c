"""From a parsed request to an answer: limits, the route's plan, the stages, and the account of it all."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import Span, SpanKind

from pilotfish.api.modelrouter import ModelRouter
from pilotfish.api.strategy import Predictive
from pilotfish.base.errors import ModelNotFound, ModelUnavailable, TooManyRequests
from pilotfish.gateway.explaining import explanation
from pilotfish.gateway.objectives import Objectives
from pilotfish.gateway.pools import Pools, ScorerModels, Visitor
from pilotfish.gateway.recording import Recorder
from pilotfish.gateway.routes import Route, RouteTable
from pilotfish.gateway.stages import Run, Taken
from pilotfish.gateway.wire.request import ClientRequest
from pilotfish.plugin_api.scorers import PromptScorer
from pilotfish.routing.limits import RateLimit
from pilotfish.routing.plan import (
    Plan,
    Step,
    explored_candidates,
    predictive_choice,
    weighted_choice,
    with_fallback,
)
from pilotfish.routing.snapshot import Key, Snapshot
from pilotfish.telemetry import genai

NAMES_TOLD = 50

Give = Callable[[Taken], Awaitable[None]]
"""Sends an answer to the client; what still runs at a pool is cancelled when it fails."""


@dataclass
class Answering:
    """Answers requests from the routes that are in force."""

    table: RouteTable
    pools: Pools
    objectives: Objectives
    recorder: Recorder | None = None
    limits: dict[Key, RateLimit] = field(default_factory=dict)

    def apply(self, snapshot: Snapshot) -> None:
        """Take over a snapshot; limits of routers that stay keep what was counted."""
        self.table.apply(snapshot)
        self.objectives.apply(snapshot)
        now = self.pools.clock()
        limited = {
            key: view.router.spec.limits
            for key, view in snapshot.routers.items()
            if view.router.spec.limits is not None
        }
        kept: dict[Key, RateLimit] = {}
        for key, limits in limited.items():
            kept[key] = self.limits.get(key) or RateLimit(limits.requests_per_minute, limits.tokens_per_minute, now)
            kept[key].configure(limits.requests_per_minute, limits.tokens_per_minute, now)
        self.limits = kept

    def route(self, model: str) -> Route:
        """The route of a served name.

        Raises ModelNotFound with the names that exist, ModelUnavailable for a faulty one.
        """
        route = self.table.routes.get(model)
        if route is None:
            raise self.no_such_model(model)
        if route.fault:
            raise ModelUnavailable(route.fault)
        return route

    def no_such_model(self, model: str) -> ModelNotFound:
        """The error that tells the names that exist."""
        names = sorted(self.table.routes)
        more = f" and {len(names) - NAMES_TOLD} more" if len(names) > NAMES_TOLD else ""
        told = ", ".join(names[:NAMES_TOLD]) or "none"
        return ModelNotFound(
            f"the model {model!r} does not exist; there are: {told}{more}", code="model_not_found", param="model"
        )

    async def answer(
        self, request: ClientRequest, route: Route, incoming: Mapping[str, str], parent: Span, give: Give
    ) -> None:
        """Give the answer that is taken, and account for it. Raises TooManyRequests at a limit."""
        limit = self._admitted(route)
        started = self.pools.clock()
        run = self._run(request, route, incoming, parent)
        try:
            taken = await run.answer(await self._plan(run))
            with taken.stage:
                await give(taken)
            if self.recorder:
                self.recorder.write(run)
        finally:
            if limit:
                limit.used(run.trail.tokens, self.pools.clock())
            if route.tally:
                route.tally.count(run.trail, self.pools.clock() - started)
            self._account(run, parent)

    async def explain(
        self, request: ClientRequest, route: Route, incoming: Mapping[str, str], parent: Span
    ) -> dict[str, Any]:
        """What every stage of the route says of a request, those included that it would not have come to.

        It counts towards limits and spend as an answer does, and raises TooManyRequests at a limit.
        """
        limit = self._admitted(route)
        run = self._run(request, route, incoming, parent)
        try:
            return await explanation(run, await self._plan(run, explore=False))
        finally:
            if limit:
                limit.used(run.trail.tokens, self.pools.clock())
            if route.tally:
                route.tally.spend(run.trail)

    def _admitted(self, route: Route) -> RateLimit | None:
        limit = self.limits.get((route.namespace, route.name)) if route.router else None
        if limit and (wait := limit.admit(self.pools.clock())):
            raise TooManyRequests(
                f"{route.name!r} has reached its limit of requests or tokens a minute", retry_after_seconds=wait
            )
        return limit

    def _run(self, request: ClientRequest, route: Route, incoming: Mapping[str, str], parent: Span) -> Run:
        return Run(
            request, route, Visitor(self.pools, self.table.snapshot, route.namespace, route.name, incoming, parent)
        )

    async def _plan(self, run: Run, *, explore: bool = True) -> Plan:
        if run.route.plan:
            return run.route.plan
        router = run.route.router
        if router and router.spec.strategy.weighted:
            answering = answering_pools(self.table.snapshot, run.route.namespace)
            uniform = random.random()  # noqa: S311 - a share of traffic, not a secret
            pool, share = weighted_choice(router.spec.strategy.weighted.pools, answering, uniform)
            return with_fallback(router, [Step(pool)], propensity=share)
        if router and router.spec.strategy.predictive:
            permille = router.spec.exploration.permille if explore and router.spec.exploration else 0
            return await self._predicted(run, router, router.spec.strategy.predictive, permille)
        raise RuntimeError(f"route {run.route.name} has no strategy")

    async def _predicted(self, run: Run, router: ModelRouter, predictive: Predictive, explore: int) -> Plan:
        """The candidates from the predicted one on, which is passed over in `explore` permille of requests."""
        scorer = run.route.scorer(predictive.scorer)
        if not isinstance(scorer, PromptScorer):
            raise ModelUnavailable(
                f"router {router.name!r}: scorer {predictive.scorer.name!r} scores answers, not prompts"
            )
        roles = {ref.role: ref.name for ref in predictive.scorer.pool_refs}
        models = ScorerModels(run.visitor, roles, run.trail.scorer_calls)
        with self.pools.tracing.span(
            f"score {predictive.scorer.name}", SpanKind.INTERNAL, run.visitor.span, {genai.ROUTE: run.route.name}
        ) as span:
            score = await scorer.predict(question=run.request.question, models=models)
            chosen = predictive_choice(predictive.candidates, score.permille)
            span.set_attributes({genai.SCORE: score.permille, genai.POOL: chosen})
        names = [candidate.pool_ref.name for candidate in predictive.candidates]
        uniform = random.random()  # noqa: S311 - a share of traffic, not a secret
        asked, chance = explored_candidates(names[names.index(chosen) :], explore, uniform)
        run.trail.details["prediction"] = {
            "score": score.permille,
            "pool": chosen,
            **({} if asked[0] == chosen else {"explored": True}),
            "details": dict(score.details),
        }
        return with_fallback(router, [Step(name) for name in asked], propensity=chance)

    def _account(self, run: Run, span: Span) -> None:
        if run.trail.escalated:
            self.pools.metrics.escalations.labels(run.route.name).inc()
        if span.is_recording():
            span.set_attributes(
                {
                    genai.ROUTE: run.route.name,
                    genai.STRATEGY: run.route.strategy,
                    genai.STAGES: ",".join(stage.pool for stage in run.trail.stages),
                    genai.ESCALATED: run.trail.escalated,
                    genai.RESPONSE_MODEL: run.trail.stages[-1].pool if run.trail.stages else "",
                }
            )


def answering_pools(snapshot: Snapshot, namespace: str) -> frozenset[str]:
    """Names of the pools of a namespace that answer now."""
    return snapshot.answering.get(namespace, frozenset())


def can_answer(route: Route, snapshot: Snapshot) -> bool:
    """Whether some path of the route answers now."""
    if route.fault:
        return False
    names = route.router.strategy_pools if route.router else (route.name,)
    fallback = tuple(entry.pool_ref.name for entry in route.router.spec.fallback) if route.router else ()
    answering = answering_pools(snapshot, route.namespace)
    return any(name in answering for name in names + fallback)
