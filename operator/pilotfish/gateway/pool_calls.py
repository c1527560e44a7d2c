"""Calls to pools on behalf of one request, and what they took: a span, time, tokens, cost and errors of each."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ParamSpec, Self, TypeVar

from opentelemetry.trace import Span, SpanKind

from pilotfish.base.clock import Clock
from pilotfish.base.errors import ModelUnavailable, PluginFailed, RequestError, RequestRefused
from pilotfish.base.keys import Key
from pilotfish.gateway.adaptations.guard import PluginGuard
from pilotfish.gateway.holding import HeldRequests
from pilotfish.gateway.records import Cost, StageRecord
from pilotfish.gateway.threads import PluginThreads
from pilotfish.routing.cascade import Decision, Ground, Verdict
from pilotfish.routing.cost import stage_cost, stage_energy
from pilotfish.routing.snapshot import PoolView, Snapshot
from pilotfish.telemetry import genai
from pilotfish.telemetry.metrics import GatewayMetrics
from pilotfish.telemetry.tracing import Tracing
from pilotfish.upstream.client import ModelServers, Reply

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Pools:
    """What all requests of a gateway share: connections to pools, and the count of requests at each."""

    servers: ModelServers
    tracing: Tracing
    metrics: GatewayMetrics
    clock: Clock
    in_flight: Counter[Key] = field(default_factory=Counter)
    held: HeldRequests = field(init=False)
    guard: PluginGuard = field(init=False)
    threads: PluginThreads = field(default_factory=PluginThreads)

    def __post_init__(self) -> None:
        self.held = HeldRequests(self.clock)
        self.guard = PluginGuard(self.metrics)

    def enter(self, key: Key) -> int:
        """Count a request that begins at a pool. Returns how many are there, this one included."""
        self.in_flight[key] += 1
        return self.in_flight[key]

    def leave(self, key: Key) -> None:
        """Count a request that has ended."""
        self.in_flight[key] -= 1
        if not self.in_flight[key]:
            del self.in_flight[key]

    def counted(self, snapshot: Snapshot) -> Mapping[str, int]:
        """Requests now at each pool, by the pool's name."""
        counts = dict.fromkeys((key.name for key in snapshot.pools), 0)
        for key, count in self.in_flight.items():
            counts[key.name] = counts.get(key.name, 0) + count
        return counts


@dataclass(slots=True)
class PoolCaller:
    """The calls of one request. They share its trace, its snapshot and its forwarded headers."""

    pools: Pools
    snapshot: Snapshot
    namespace: str
    route: str
    incoming: Mapping[str, str]
    span: Span

    def view(self, name: str) -> PoolView:
        """The pool. Raises ModelUnavailable with the reason where it cannot answer."""
        view = self.snapshot.pool(self.namespace, name)
        if view is None:
            raise ModelUnavailable(f"pool {name!r} does not exist")
        if view.can_answer:
            return view
        raise ModelUnavailable(f"pool {name!r} is {view.state.value}: {view.reason or 'no replica answers yet'}")

    def begin(self, record: StageRecord, operation: str) -> "PoolCall":
        """A call to the pool that `record` names, to be closed. Raises ModelUnavailable where it cannot answer."""
        attributes = {
            genai.OPERATION: operation,
            genai.PROVIDER: genai.PROVIDER_NAME,
            genai.REQUEST_MODEL: record.pool,
            genai.POOL: record.pool,
        }
        span = self.pools.tracing.begin(f"{operation} {record.pool}", SpanKind.CLIENT, self.span, attributes)
        call = PoolCall(self, record, span)
        try:
            call.enter(self.view(record.pool))
        except ModelUnavailable as error:
            call.close(error)
            raise
        return call


class PoolCall:
    """One call to a pool. Closing it completes its record, its span and its metrics."""

    __slots__ = ("_caller", "_closed", "_key", "_record", "_reply", "_sharing", "_span", "_started", "_view")

    def __init__(self, caller: PoolCaller, record: StageRecord, span: Span) -> None:
        self._caller = caller
        self._record = record
        self._span = span
        self._view: PoolView | None = None
        self._reply: Reply | None = None
        self._sharing = 0
        self._started = caller.pools.clock()
        self._closed = False

    @property
    def view(self) -> PoolView:
        """The pool that is asked."""
        if self._view is None:
            raise RuntimeError("the call was not entered")
        return self._view

    def enter(self, view: PoolView) -> None:
        """Count as one of the requests at the pool."""
        self._view = view
        self._key = Key("ModelPool", self._caller.namespace, view.pool.name)
        self._sharing = self._caller.pools.enter(self._key)

    async def post(self, path: str, body: bytes) -> Reply:
        """Send a body, once; see ModelServers.post. The reply is closed with the call.

        A request to a pool at zero waits until a replica answers. Raises ModelUnavailable where none does in time.
        """
        if not self.view.endpoints:
            self._view = await self._caller.pools.held.until_ready(self.view, len(body))
        headers: dict[str, str] = {}
        caller = self._caller
        caller.pools.tracing.inject(self._span, caller.incoming, headers)
        if request_id := caller.incoming.get("x-request-id"):
            headers["x-request-id"] = request_id
        self._reply = await caller.pools.servers.post(self.view.endpoints, path, body, headers)
        return self._reply

    def close(self, error: BaseException | None = None) -> None:
        """Stop what still runs at the pool, and complete the record. `error`: what ended the call, if anything did."""
        if self._closed:
            return
        self._closed = True
        if self._reply:
            self._reply.close()
        if self._view:
            self._caller.pools.leave(self._key)
            self._settle(self._view)
        if isinstance(error, RequestError) and not isinstance(error, PluginFailed | RequestRefused):
            self._record.error = error.message
            self._record.decision = Decision(Verdict.FAILED, Ground.ERROR)
        self._report()
        self._caller.pools.tracing.end(self._span, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.close(error)

    def _settle(self, view: PoolView) -> None:
        record, spec = self._record, view.pool.spec
        seconds = record.seconds = self._caller.pools.clock() - self._started
        if spec.pricing:
            amount = stage_cost(spec.pricing, record.usage, seconds, self._sharing)
            record.cost = Cost(spec.pricing.currency, amount)
            self._caller.pools.metrics.cost.labels(record.pool, spec.pricing.currency).inc(float(amount))
        if spec.power:
            record.energy_wh = stage_energy(spec.power, seconds, self._sharing)

    def _report(self) -> None:
        metrics, record = self._caller.pools.metrics, self._record
        metrics.stages.labels(self._caller.route, record.pool, record.decision.verdict).inc()
        metrics.tokens.labels(record.pool, "input").inc(record.usage.prompt_tokens or 0)
        metrics.tokens.labels(record.pool, "output").inc(record.usage.completion_tokens or 0)
        if self._span.is_recording():
            self._span.set_attributes(_attributes(record))


def _attributes(record: StageRecord) -> dict[str, str | int | float | bool]:
    decision = record.decision
    known: dict[str, str | int | float | bool | None] = {
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
        genai.PLUGIN: record.plugin,
        genai.REASON: record.reason,
        genai.ERROR_TYPE: "RequestError" if record.error else None,
    }
    return {name: value for name, value in known.items() if value is not None}
