"""ModelRouter: one served model name over several pools."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import (
    ConfigMapKeyRef,
    Currency,
    DecimalString,
    EntryPointName,
    Metadata,
    Model,
    ObjectName,
    Opaque,
    Permille,
    PoolRef,
    RolePoolRef,
    Rule,
    Sha256,
    Uri,
    exactly_one_of,
    list_map,
    list_set,
    ordered_list,
    union_rule,
)
from pilotfish.api.status import ModelRouterStatus


class StrategyType(StrEnum):
    """How a router picks among its pools."""

    DIRECT = "Direct"
    WEIGHTED = "Weighted"
    PREDICTIVE = "Predictive"
    CASCADE = "Cascade"


class Streaming(StrEnum):
    """Whether a cascade may decide on the answer's beginning (EarlyExit) or waits for all of it (Hold)."""

    EARLY_EXIT = "EarlyExit"
    HOLD = "Hold"


class Artifact(Model):
    """What a scorer learned: a file in a ConfigMap, or at an address."""

    rules: ClassVar = (exactly_one_of("configMapRef", "uri"),)
    config_map_ref: ConfigMapKeyRef | None = None
    uri: Uri | None = None
    sha256: Sha256 | None = None


class Scorer(Model):
    """A scorer by its entry-point name, its config, the pools it asks, and what it learned."""

    name: EntryPointName
    config: Opaque = {}
    pool_refs: Annotated[tuple[RolePoolRef, ...], *list_map("role", maximum=8)] = ()
    artifact: Artifact | None = None


class Accept(Model):
    """When a stage's answer is good enough."""

    scorer: Scorer
    threshold_permille: Permille = Field(description="The least score, in permille, of an answer that is accepted.")
    decide_within_tokens: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = Field(
        None, description="EarlyExit: judged by this many tokens of the answer at the latest, then they flow."
    )


class Stage(Model):
    """One pool of a cascade."""

    pool_ref: PoolRef
    accept: Accept | None = None


class Cascade(Model):
    """Pools in order: each answers until one is accepted, the last one always is."""

    rules: ClassVar = (
        Rule(
            message="every stage but the last needs accept",
            cel="self.stages.filter(s, !has(s.accept)).size() <= 1",
            holds=lambda c: all(stage.accept is not None for stage in c.stages[:-1]),
            field=("stages",),
        ),
        Rule(
            message="the last stage has no accept: its answer is always taken",
            cel="!has(self.stages[size(self.stages) - 1].accept)",
            holds=lambda c: c.stages[-1].accept is None,
            field=("stages",),
        ),
        Rule(
            message="decideWithinTokens belongs to streaming EarlyExit: remove it, or hold nothing",
            cel="self.streaming != 'Hold' || !self.stages.exists(s, has(s.accept) && has(s.accept.decideWithinTokens))",
            holds=lambda c: (
                c.streaming != Streaming.HOLD
                or not any(stage.accept and stage.accept.decide_within_tokens for stage in c.stages)
            ),
            field=("stages",),
        ),
    )
    streaming: Streaming = Streaming.EARLY_EXIT
    stages: Annotated[tuple[Stage, ...], ordered_list(minimum=2, maximum=8)]


class WeightedPool(Model):
    """A pool and its share of the requests."""

    pool_ref: PoolRef
    weight: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class Weighted(Model):
    """Requests are spread over pools by weight."""

    rules: ClassVar = (
        Rule(
            message="at least one weight must be above zero",
            cel="self.pools.exists(p, p.weight > 0)",
            holds=lambda w: any(pool.weight > 0 for pool in w.pools),
            field=("pools",),
        ),
    )
    pools: Annotated[tuple[WeightedPool, ...], ordered_list(minimum=1, maximum=16)]


class Direct(Model):
    """All requests go to one pool."""

    pool_ref: PoolRef


class Candidate(Model):
    """A pool that may answer, if the prompt's score for it reaches the threshold."""

    pool_ref: PoolRef
    threshold_permille: Permille | None = None


class Predictive(Model):
    """The pool is picked from the prompt: the first candidate that is good enough, cheapest first."""

    rules: ClassVar = (
        Rule(
            message="the last candidate has no thresholdPermille: it takes what the others do not",
            cel="!has(self.candidates[size(self.candidates) - 1].thresholdPermille)",
            holds=lambda p: p.candidates[-1].threshold_permille is None,
            field=("candidates",),
        ),
        Rule(
            message="every candidate but the last needs thresholdPermille",
            cel="self.candidates.filter(c, !has(c.thresholdPermille)).size() <= 1",
            holds=lambda p: all(c.threshold_permille is not None for c in p.candidates[:-1]),
            field=("candidates",),
        ),
    )
    scorer: Scorer
    candidates: Annotated[tuple[Candidate, ...], ordered_list(minimum=2, maximum=8)]


_STRATEGIES = {"Direct": "direct", "Weighted": "weighted", "Predictive": "predictive", "Cascade": "cascade"}


class Strategy(Model):
    """How the router picks: a type, and the member of that name."""

    rules: ClassVar = (union_rule(_STRATEGIES),)
    type: StrategyType
    direct: Direct | None = None
    weighted: Weighted | None = None
    predictive: Predictive | None = None
    cascade: Cascade | None = None


class PluginUse(Model):
    """An AdaptationPlugin of the same namespace."""

    plugin_ref: "PluginRef"


class PluginRef(Model):
    """An AdaptationPlugin's name."""

    name: ObjectName


class Fallback(Model):
    """A pool that answers when none of the strategy's can."""

    pool_ref: PoolRef


class ObjectiveType(StrEnum):
    """What a router holds while it serves."""

    QUALITY = "Quality"
    SPEND = "Spend"
    LATENCY = "Latency"


class QualityObjective(Model):
    """Lose no more quality than this, against the last stage alone."""

    max_loss_permille: Permille


class SpendObjective(Model):
    """Spend no more than this."""

    currency: Currency
    per_hour: DecimalString


class LatencyObjective(Model):
    """Answer within this, at the given quantile."""

    milliseconds: Annotated[int, Field(strict=True, ge=1, le=3_600_000)]
    quantile_permille: Permille = 950


class Objective(Model):
    """The one thing that a router holds while it serves, by moving its thresholds within calibrated bounds."""

    rules: ClassVar = (union_rule({"Quality": "quality", "Spend": "spend", "Latency": "latency"}),)
    type: ObjectiveType
    quality: QualityObjective | None = None
    spend: SpendObjective | None = None
    latency: LatencyObjective | None = None


class Limits(Model):
    """What one router takes in a minute, in each gateway replica."""

    requests_per_minute: Annotated[int, Field(strict=True, ge=1, le=100_000_000)] | None = None
    tokens_per_minute: Annotated[int, Field(strict=True, ge=1, le=100_000_000_000)] | None = None


class Exploration(Model):
    """A small share of what is good enough is escalated all the same, so that logs can tell what else was possible."""

    permille: Annotated[int, Field(ge=1, le=100)]


class ModelRouterSpec(Model):
    """What a router should do."""

    rules: ClassVar = (
        Rule(
            message="plugins lists one plugin twice",
            cel="!has(self.plugins) || self.plugins.all(p, self.plugins.filter(q,"
            " q.pluginRef.name == p.pluginRef.name).size() == 1)",
            holds=lambda s: len({use.plugin_ref.name for use in s.plugins}) == len(s.plugins),
            field=("plugins",),
        ),
        Rule(
            message="exploration belongs to a strategy of type Cascade or Predictive: remove it",
            cel="!has(self.exploration) || self.strategy.type in ['Cascade', 'Predictive']",
            holds=lambda s: not s.exploration or s.strategy.type in {StrategyType.CASCADE, StrategyType.PREDICTIVE},
            field=("exploration",),
        ),
    )
    served_model_names: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$")], ...],
            *list_set(minimum=1, maximum=16),
        ]
        | None
    ) = Field(None, description="What clients write in `model`; the router's own name when left out.")
    strategy: Strategy
    plugins: Annotated[tuple[PluginUse, ...], ordered_list(maximum=16)] = ()
    fallback: Annotated[tuple[Fallback, ...], ordered_list(maximum=4)] = ()
    objective: Objective | None = None
    exploration: Exploration | None = Field(
        None, description="Of a Cascade or Predictive router; what was given up is logged with its odds."
    )
    limits: Limits | None = None
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400)] = Field(
        600, description="From the request's arrival to the answer's last byte."
    )


class ModelRouter(Model):
    """One model name that clients call, and how it is answered."""

    api_version: Literal["pilotfish.dev/v1alpha1"]
    kind: Literal["ModelRouter"]
    metadata: Metadata
    spec: ModelRouterSpec
    status: ModelRouterStatus | None = None

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def served_names(self) -> tuple[str, ...]:
        """What clients may write in `model` to reach this router."""
        return self.spec.served_model_names or (self.name,)

    @property
    def strategy_pools(self) -> tuple[str, ...]:
        """Names of the pools that the strategy may send a request to, in order, each once."""
        strategy = self.spec.strategy
        names: tuple[str, ...] = ()
        if strategy.direct:
            names = (strategy.direct.pool_ref.name,)
        elif strategy.weighted:
            names = tuple(pool.pool_ref.name for pool in strategy.weighted.pools)
        elif strategy.predictive:
            names = tuple(candidate.pool_ref.name for candidate in strategy.predictive.candidates)
        elif strategy.cascade:
            names = tuple(stage.pool_ref.name for stage in strategy.cascade.stages)
        return tuple(dict.fromkeys(names))

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """Every scorer that the strategy names, in order."""
        strategy = self.spec.strategy
        if strategy.predictive:
            return (strategy.predictive.scorer,)
        if strategy.cascade:
            return tuple(stage.accept.scorer for stage in strategy.cascade.stages if stage.accept)
        return ()

    @property
    def pool_names(self) -> tuple[str, ...]:
        """Names of every pool that the router refers to, each once."""
        helpers = tuple(ref.name for scorer in self.scorers for ref in scorer.pool_refs)
        fallback = tuple(entry.pool_ref.name for entry in self.spec.fallback)
        return tuple(dict.fromkeys(self.strategy_pools + fallback + helpers))
