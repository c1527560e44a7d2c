"""Calls to pools on behalf of one request: what they need, and the account of what they took."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from opentelemetry.trace import Span, SpanKind

from pilotfish.base.clock import Clock
from pilotfish.base.errors import BadUpstream, ModelUnavailable, RequestError
from pilotfish.gateway.wire.chunks import read_usage
from pilotfish.gateway.wire.decision import Cost, StageRecord
from pilotfish.gateway.wire.whole import WholeAnswer, parse_whole
from pilotfish.routing.cascade import Decision, Ground, Verdict
from pilotfish.routing.cost import stage_cost, stage_energy
from pilotfish.routing.snapshot import Key, PoolState, PoolView, Snapshot
from pilotfish.telemetry import genai
from pilotfish.telemetry.metrics import GatewayMetrics
from pilotfish.telemetry.tracing import Tracing
from pilotfish.upstream.client import ModelServers, Reply


@dataclass
class Pools:
    """The way to every pool, shared by all requests of a gateway."""

    servers: ModelServers
    tracing: Tracing
    metrics: GatewayMetrics
    clock: Clock
    in_flight: Counter[Key] = field(default_factory=Counter)

    @asynccontextmanager
    async def visit(self, view: PoolView, namespace: str) -> AsyncIterator[int]:
        """Count a request in at a pool and out again. Yields how many are there, this one included."""
        key = (namespace, view.pool.name)
        self.in_flight[key] += 1
        self.metrics.in_flight.labels(view.pool.name).inc()
        try:
            yield self.in_flight[key]
        finally:
            self.in_flight[key] -= 1
            if not self.in_flight[key]:
                del self.in_flight[key]
            self.metrics.in_flight.labels(view.pool.name).dec()


@dataclass
class Visitor:
    """One request's calls: they share its trace, its snapshot and its forwarded headers."""

    pools: Pools
    snapshot: Snapshot
    namespace: str
    route: str
    incoming: Mapping[str, str]
    span: Span

    def view(self, name: str) -> PoolView:
        """The pool, if it answers. Raises ModelUnavailable with the reason if it does not."""
        view = self.snapshot.pool(self.namespace, name)
        if view is None:
            raise ModelUnavailable(f"there is no pool {name!r}")
        if view.state in {PoolState.READY, PoolState.SCALED_TO_ZERO} and view.endpoints:
            return view
        raise ModelUnavailable(f"pool {name!r} is {view.state.value}: {view.reason or 'no replica answers yet'}")

    @asynccontextmanager
    async def stage(self, record: StageRecord, operation: str) -> AsyncIterator["Call"]:
        """One stage at the pool that `record` names: a span, and time, cost and errors put down in the record."""
        started = self.pools.clock()
        attributes = {
            genai.OPERATION: operation,
            genai.PROVIDER: genai.PROVIDER_NAME,
            genai.REQUEST_MODEL: record.pool,
            genai.POOL: record.pool,
        }
        with self.pools.tracing.span(f"{operation} {record.pool}", SpanKind.CLIENT, self.span, attributes) as span:
            try:
                view = self.view(record.pool)
                async with self.pools.visit(view, self.namespace) as sharing:
                    try:
                        yield Call(self, view, span)
                    finally:
                        self._settle(record, view, self.pools.clock() - started, sharing)
            except RequestError as error:
                record.error = error.message
                record.decision = Decision(Verdict.FAILED, Ground.ERROR)
                raise
            finally:
                self._report(record, span)

    def _settle(self, record: StageRecord, view: PoolView, seconds: float, sharing: int) -> None:
        record.seconds = seconds
        spec = view.pool.spec
        if spec.pricing:
            amount = stage_cost(spec.pricing, record.usage, seconds, sharing)
            record.cost = Cost(spec.pricing.currency, amount)
            self.pools.metrics.cost.labels(record.pool, spec.pricing.currency).inc(float(amount))
        if spec.power:
            record.energy_wh = stage_energy(spec.power, seconds, sharing)

    def _report(self, record: StageRecord, span: Span) -> None:
        metrics = self.pools.metrics
        metrics.stages.labels(self.route, record.pool, record.decision.verdict.value).inc()
        metrics.tokens.labels(record.pool, "input").inc(record.usage.prompt_tokens or 0)
        metrics.tokens.labels(record.pool, "output").inc(record.usage.completion_tokens or 0)
        if span.is_recording():
            span.set_attributes(_attributes(record))


@dataclass
class Call:
    """A pool that is being asked."""

    visitor: Visitor
    view: PoolView
    span: Span

    @asynccontextmanager
    async def post(self, path: str, body: bytes) -> AsyncIterator[Reply]:
        """Send a body; see ModelServers.post."""
        headers: dict[str, str] = {}
        self.visitor.pools.tracing.inject(self.span, self.visitor.incoming, headers)
        if request_id := self.visitor.incoming.get("x-request-id"):
            headers["X-Request-Id"] = request_id
        async with self.visitor.pools.servers.post(self.view.endpoints, path, body, headers) as reply:
            yield reply


@dataclass
class ScorerModels:
    """What a scorer may ask: `Models` of the plugin API, over pools. Every call is a stage record of its own."""

    visitor: Visitor
    roles: Mapping[str, str]
    records: list[StageRecord] = field(default_factory=list)

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> WholeAnswer:
        """One chat completion."""
        raw = await self._ask(role, "/chat/completions", {**parameters, "messages": list(messages)})
        return parse_whole(raw)

    async def embed(self, role: str, texts: Sequence[str]) -> list[list[float]]:
        """Vectors, one for each text."""
        answer = _object(await self._ask(role, "/embeddings", {"input": list(texts)}))
        rows = sorted(answer.get("data") or (), key=lambda row: row["index"])
        if len(rows) != len(texts):
            raise BadUpstream(f"the embedding model answered {len(rows)} vectors for {len(texts)} texts")
        return [row["embedding"] for row in rows]

    async def score(self, role: str, query: str, texts: Sequence[str]) -> list[float]:
        """Relevance of each text to the query."""
        answer = _object(await self._ask(role, "/score", {"text_1": query, "text_2": list(texts)}))
        rows = sorted(answer.get("data") or (), key=lambda row: row["index"])
        if len(rows) != len(texts):
            raise BadUpstream(f"the scoring model answered {len(rows)} scores for {len(texts)} texts")
        return [float(row["score"]) for row in rows]

    async def _ask(self, role: str, path: str, body: Mapping[str, Any]) -> bytes:
        pool = self.roles.get(role)
        if pool is None:
            raise ModelUnavailable(f"the scorer asks a pool in the role {role!r}, which poolRefs does not name")
        record = StageRecord(pool)
        self.records.append(record)
        async with self.visitor.stage(record, path.rpartition("/")[2]) as call:
            sent = orjson.dumps({**body, "model": call.view.model})
            async with call.post(path, sent) as reply:
                raw = await reply.read()
            record.usage = read_usage(_object(raw)) or record.usage
        return raw


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadUpstream(f"the model server's answer is not JSON: {raw[:200]!r}") from error
    if not isinstance(value, dict):
        raise BadUpstream("the model server's answer is not a JSON object")
    return value


def _attributes(record: StageRecord) -> dict[str, str | int | float | bool]:
    decision = record.decision
    told: dict[str, str | int | float | bool | None] = {
        genai.RESPONSE_MODEL: record.pool,
        genai.VERDICT: decision.verdict.value,
        genai.GROUND: decision.ground.value,
        genai.SCORE: decision.score,
        genai.THRESHOLD: decision.threshold,
        genai.JUDGED_TOKENS: decision.tokens if decision.score is not None else None,
        genai.INPUT_TOKENS: record.usage.prompt_tokens,
        genai.OUTPUT_TOKENS: record.usage.completion_tokens,
        genai.COST: float(record.cost.amount) if record.cost else None,
        genai.CURRENCY: record.cost.currency if record.cost else None,
        genai.ENERGY: record.energy_wh,
        genai.ERROR_TYPE: "RequestError" if record.error else None,
    }
    return {name: value for name, value in told.items() if value is not None}
