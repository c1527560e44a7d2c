"""The way of a request: admit -> plan -> on_request -> run (with on_answer) -> send -> account."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import Span

from pilotfish.base.errors import BadRequest, ModelNotFound, ModelUnavailable, TooManyRequests
from pilotfish.base.keys import Key
from pilotfish.gateway import pooling
from pilotfish.gateway.answer_reader import AnswerReader, GivenPieces
from pilotfish.gateway.exchange import SCORERS, Exchange
from pilotfish.gateway.explain import explanation, plugin_answer
from pilotfish.gateway.objectives import Objectives
from pilotfish.gateway.planning import Planner
from pilotfish.gateway.pool_calls import PoolCaller, Pools
from pilotfish.gateway.pooling import PoolingRequest
from pilotfish.gateway.records import RequestRecord
from pilotfish.gateway.request_log import RequestLog
from pilotfish.gateway.routes import Route, RouteTable
from pilotfish.gateway.stages import Taken, Uniform, run
from pilotfish.gateway.wire.request import ClientRequest
from pilotfish.plugin_api.adaptations import Answered
from pilotfish.routing.limits import RateLimit
from pilotfish.routing.plan import Plan
from pilotfish.routing.snapshot import Snapshot
from pilotfish.telemetry import genai

LISTED_NAMES = 50

Send = Callable[[Exchange, Taken], Awaitable[None]]
"""Sends an answer to the client. Where it fails, what still runs at a pool is cancelled."""


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A request within a limit, and the tokens that were reserved for it."""

    limit: RateLimit
    reserved: int


@dataclass
class Pipeline:
    """Answers requests with the current routes."""

    table: RouteTable
    pools: Pools
    objectives: Objectives
    uniform: Uniform
    request_log: RequestLog | None = None
    limits: dict[Key, RateLimit] = field(default_factory=dict)
    planner: Planner = field(init=False)

    def __post_init__(self) -> None:
        self.planner = Planner(self.pools.tracing, self.uniform)

    def apply(self, snapshot: Snapshot) -> None:
        """Answer from this snapshot. Limits of routers that stay keep what they have counted."""
        self.table.apply(snapshot)
        self.objectives.apply(snapshot)
        self.pools.held.apply(snapshot)
        now = self.pools.clock()
        limited = {key: view.router.spec.limits for key, view in snapshot.routers.items() if view.router.spec.limits}
        kept: dict[Key, RateLimit] = {}
        for key, limits in limited.items():
            kept[key] = self.limits.get(key) or RateLimit(limits.requests_per_minute, limits.tokens_per_minute, now)
            kept[key].configure(limits.requests_per_minute, limits.tokens_per_minute, now)
        self.limits = kept
        self.pools.threads.keep({SCORERS, *(plugin.name for plugin in snapshot.plugins.values())})

    def route(self, model: str) -> Route:
        """The route of a served name.

        Raises ModelNotFound with the names that exist, ModelUnavailable for a route with a fault.
        """
        route = self.table.routes.get(model)
        if route is None:
            raise self.no_such_model(model)
        if route.fault:
            raise ModelUnavailable(route.fault)
        return route

    def no_such_model(self, model: str) -> ModelNotFound:
        """The error that lists the names that exist."""
        names = sorted(self.table.routes)
        more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
        listed = ", ".join(names[:LISTED_NAMES]) or "none"
        return ModelNotFound(
            f"the model {model!r} does not exist; models that exist: {listed}{more}",
            code="model_not_found",
            param="model",
        )

    async def answer(
        self, request: ClientRequest, route: Route, incoming: Mapping[str, str], parent: Span, send: Send
    ) -> None:
        """Send the answer that is taken, and account for it. Raises TooManyRequests at a limit."""
        admitted = self._admit(route, request)
        started = self.pools.clock()
        exchange = self._exchange(request, route, incoming, parent)
        try:
            plan = await self.planner.plan(exchange)
            given = await self._on_request(exchange, plan)
            with given or await run(exchange, plan, self.uniform) as taken:
                await send(exchange, taken)
            if self.request_log and exchange.record.stages:
                self.request_log.write(request.question, exchange.record)
        finally:
            exchange.close()
            self._settle(admitted, exchange.record)
            if route.counters:
                route.counters.count(exchange.record, self.pools.clock() - started)
            self._report(exchange, parent)

    async def pool(
        self, request: PoolingRequest, route: Route, incoming: Mapping[str, str], parent: Span
    ) -> tuple[RequestRecord, bytes]:
        """The answer to a request for numbers, and its record.

        Raises TooManyRequests at a limit, BadRequest where the route's strategy or plugins are for conversations.
        """
        plan = self.planner.pooling_plan(route, self.table.snapshot)
        if plan is None or any(adaptation.protects for adaptation in route.adaptations):
            raise BadRequest(
                f"{route.name!r} answers conversations: ask a pool, or a router of type Direct or Weighted without "
                "plugins that protect",
                param="model",
            )
        admitted = self._admit(route, request)
        started = self.pools.clock()
        caller = PoolCaller(self.pools, self.table.snapshot, route.namespace, route.name, incoming, parent)
        record = RequestRecord(route.name, route.strategy)
        try:
            return record, await pooling.run(request, plan, caller, record)
        finally:
            self._settle(admitted, record)
            if route.counters:
                route.counters.count(record, self.pools.clock() - started)

    async def explain(
        self, request: ClientRequest, route: Route, incoming: Mapping[str, str], parent: Span
    ) -> dict[str, Any]:
        """What every stage of the route answers to a request, also stages that it would not have reached.

        It counts towards limits and spend as an answer does, and raises TooManyRequests at a limit.
        """
        admitted = self._admit(route, request)
        exchange = self._exchange(request, route, incoming, parent)
        try:
            exchange.record.effects = []
            plan = await self.planner.plan(exchange, explore=False)
            given = await self._on_request(exchange, plan)
            return await explanation(exchange, plan) if given is None else plugin_answer(exchange)
        finally:
            exchange.close()
            self._settle(admitted, exchange.record)
            if route.counters:
                route.counters.spend(exchange.record)

    def _admit(self, route: Route, request: ClientRequest | PoolingRequest) -> "_Admitted | None":
        """Reserve what the request may use, so that requests that arrive together do not pass a limit together."""
        limit = self.limits.get(route.key) if route.router else None
        if limit is None:
            return None
        reserved = request.estimated_tokens
        if wait := limit.admit(reserved, self.pools.clock()):
            raise TooManyRequests(
                f"{route.name!r} has reached its limit of requests or tokens per minute", retry_after_seconds=wait
            )
        return _Admitted(limit, reserved)

    async def _on_request(self, exchange: Exchange, plan: Plan) -> Taken | None:
        """Apply the route's adaptations to the request. Returns an answer where a plugin answered."""
        if exchange.adaptations is None:
            return None
        exchange.adaptations.plan(plan)
        chain = exchange.adaptations.outer
        result = await chain.on_request(exchange.request)
        if isinstance(result, Answered):
            answer = AnswerReader(GivenPieces(exchange.request, exchange.route.name, result.text))
            return Taken(chain.on_answer(answer, streamed=exchange.request.stream))
        exchange.request = result
        return None

    def _exchange(self, request: ClientRequest, route: Route, incoming: Mapping[str, str], parent: Span) -> Exchange:
        caller = PoolCaller(self.pools, self.table.snapshot, route.namespace, route.name, incoming, parent)
        return Exchange(request, route, caller, RequestRecord(route.name, route.strategy, plugins=route.plugins))

    def _settle(self, admitted: "_Admitted | None", record: RequestRecord) -> None:
        if admitted:
            admitted.limit.settle(admitted.reserved, record.tokens, self.pools.clock())

    def _report(self, exchange: Exchange, span: Span) -> None:
        record = exchange.record
        if record.escalated:
            self.pools.metrics.escalations.labels(record.route).inc()
        if span.is_recording():
            span.set_attributes(
                {
                    genai.ROUTE: record.route,
                    genai.STRATEGY: record.strategy,
                    genai.STAGES: ",".join(stage.pool for stage in record.stages),
                    genai.ESCALATED: record.escalated,
                    genai.RESPONSE_MODEL: record.stages[-1].pool if record.stages else "",
                }
            )
