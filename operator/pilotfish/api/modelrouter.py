"""ModelRouter: one served model name over several pools."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import (
    FieldPath,
    LocalObjectRef,
    Model,
    PoolRef,
    Rule,
    list_set,
    ordered_list,
)
from pilotfish.api.objective import Objective
from pilotfish.api.resource import AGE_COLUMN, MESSAGE_COLUMN, READY_COLUMNS, Column, Definition, Resource
from pilotfish.api.status import ModelRouterStatus
from pilotfish.api.strategy import Scorer, Strategy, StrategyType


class PluginUse(Model):
    """An AdaptationPlugin that the router uses."""

    plugin_ref: LocalObjectRef
    """The AdaptationPlugin, of the same namespace."""


class Fallback(Model):
    """A pool that answers if every pool of the strategy failed, or a plugin rejected the answer of the last one."""

    pool_ref: PoolRef
    """The pool."""


class Limits(Model):
    """Limits on the requests of the router. Each gateway replica counts for itself.

    A request over a limit gets status 429 with a Retry-After header.
    """

    requests_per_minute: Annotated[int, Field(strict=True, ge=1, le=100_000_000)] | None = None
    """The maximum number of requests per minute and gateway replica. Unlimited if unset."""
    tokens_per_minute: Annotated[int, Field(strict=True, ge=1, le=100_000_000_000)] | None = None
    """The maximum number of tokens, of prompts and answers over all stages, per minute and gateway replica. Tokens are
    counted when an answer has ended; new requests are rejected until the limit has room again. Unlimited if unset.
    """


class Exploration(Model):
    """A small share of requests that is escalated although a cheap answer is good enough.

    The log of these requests shows what other thresholds would have led to (`pilotfish replay --off-policy`).
    """

    permille: Annotated[int, Field(ge=1, le=100)]
    """The share to escalate, in permille of the requests that would not be escalated otherwise."""


class ModelRouterSpec(Model):
    """The desired behavior of a router: the names that it serves, and how it chooses the pool that answers."""

    rules: ClassVar = (
        Rule(
            message="plugins must not list a plugin twice",
            cel="!has(self.plugins) || self.plugins.all(p, self.plugins.filter(q,"
            " q.pluginRef.name == p.pluginRef.name).size() == 1)",
            holds=lambda s: len({use.plugin_ref.name for use in s.plugins}) == len(s.plugins),
            field=("plugins",),
        ),
        Rule(
            message="exploration needs strategy type Cascade or Predictive: remove exploration, or change the type",
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
    ) = None
    """The names that clients may send in `model` to reach this router, 1 to 16. Defaults to the name of the router. If
    two routers serve one name, the older router keeps it.
    """
    strategy: Strategy
    """How the pool that answers a request is chosen."""
    plugins: Annotated[tuple[PluginUse, ...], ordered_list(maximum=16)] = ()
    """The AdaptationPlugins to apply to requests and answers, in order, at most 16. If a plugin is not
    installed, the router answers without it (failurePolicy Ignore) or rejects every request (failurePolicy Fail).
    """
    fallback: Annotated[tuple[Fallback, ...], ordered_list(maximum=4)] = ()
    """The pools that answer, in order, at most 4, if every pool of the strategy failed, or a plugin rejected the answer
    of the last one.
    """
    objective: Objective | None = None
    """A target for quality, spend or latency that the gateway keeps while it serves. It moves the threshold of a
    strategy with two pools, within the bounds that `pilotfish calibrate` wrote into the scorer's artifact.
    """
    exploration: Exploration | None = None
    """Escalation of a random share of requests that the strategy would not escalate, so that the gateway's log has
    answers of larger pools for them too. `pilotfish replay --off-policy` needs such a log. Only with strategy type
    Cascade or Predictive. Off if unset.
    """
    limits: Limits | None = None
    """Limits on requests and tokens per minute. Unlimited if unset."""
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400)] = 600
    """The maximum time from the arrival of a request to the last byte of its answer, over all stages, in seconds. A
    request that takes longer fails with status 504. Each stage that has another one after it has an equal share of the
    time that is left, until its answer is accepted or begins to be sent. Time that it does not use is left to the next.
    """


class PoolRole(StrEnum):
    """What a router uses a pool for."""

    STRATEGY = "Strategy"
    FALLBACK = "Fallback"
    SCORER = "Scorer"


@dataclass(frozen=True)
class PoolUse:
    """A pool that a router refers to. `path` is that of the object that holds the `poolRef` or, of a scorer, the name.

    The last pool of a strategy has no threshold; a pool of another strategy than Weighted has no weight.
    """

    path: FieldPath
    name: str
    role: PoolRole = PoolRole.STRATEGY
    threshold_permille: int | None = None
    weight: int | None = None

    @property
    def name_path(self) -> FieldPath:
        """The path of the pool's name."""
        return (*self.path, "name") if self.role is PoolRole.SCORER else (*self.path, "poolRef", "name")


class ModelRouter(Resource):
    """A ModelRouter is a model name that clients call, answered by one of several ModelPools."""

    definition: ClassVar = Definition(
        "modelrouters",
        "mr",
        (
            *READY_COLUMNS,
            Column("Strategy", ".spec.strategy.type"),
            Column("EscalatedPermille", ".status.escalatedPermille", "integer"),
            Column("URL", ".status.url"),
            AGE_COLUMN,
            Column("Models", ".status.servedModelNames", priority=1),
            MESSAGE_COLUMN,
        ),
    )
    kind: Literal["ModelRouter"]
    spec: ModelRouterSpec
    status: ModelRouterStatus | None = None

    @property
    def served_names(self) -> tuple[str, ...]:
        """The names that clients may send in `model` to reach this router."""
        return self.spec.served_model_names or (self.name,)

    def pool_uses(self) -> tuple[PoolUse, ...]:
        """Every pool that the router refers to: those of the strategy in order, then fallback, then scorers' pools."""
        at: FieldPath = ("spec", "strategy")
        strategy = self.spec.strategy
        uses: list[PoolUse] = []
        if strategy.direct:
            uses.append(PoolUse((*at, "direct"), strategy.direct.pool_ref.name))
        for index, pool in enumerate(strategy.weighted.pools if strategy.weighted else ()):
            uses.append(PoolUse((*at, "weighted", "pools", index), pool.pool_ref.name, weight=pool.weight))
        for index, candidate in enumerate(strategy.predictive.candidates if strategy.predictive else ()):
            path = (*at, "predictive", "candidates", index)
            uses.append(PoolUse(path, candidate.pool_ref.name, threshold_permille=candidate.threshold_permille))
        for index, stage in enumerate(strategy.cascade.stages if strategy.cascade else ()):
            threshold = stage.accept.threshold_permille if stage.accept else None
            path = (*at, "cascade", "stages", index)
            uses.append(PoolUse(path, stage.pool_ref.name, threshold_permille=threshold))
        for index, fallback in enumerate(self.spec.fallback):
            uses.append(PoolUse(("spec", "fallback", index), fallback.pool_ref.name, PoolRole.FALLBACK))
        for path, scorer in self.scorer_uses():
            for index, ref in enumerate(scorer.pool_refs):
                uses.append(PoolUse((*path, "poolRefs", index), ref.name, PoolRole.SCORER))
        return tuple(uses)

    def scorer_uses(self) -> tuple[tuple[FieldPath, Scorer], ...]:
        """Every scorer that the strategy names, in order, with its path."""
        at: FieldPath = ("spec", "strategy")
        strategy = self.spec.strategy
        if strategy.predictive:
            return (((*at, "predictive", "scorer"), strategy.predictive.scorer),)
        stages = enumerate(strategy.cascade.stages if strategy.cascade else ())
        return tuple(
            ((*at, "cascade", "stages", index, "accept", "scorer"), stage.accept.scorer)
            for index, stage in stages
            if stage.accept
        )

    @property
    def strategy_uses(self) -> tuple[PoolUse, ...]:
        """The pools that the strategy may call, in order."""
        return tuple(use for use in self.pool_uses() if use.role is PoolRole.STRATEGY)

    @property
    def thresholds(self) -> tuple[int, ...]:
        """The thresholds between the pools of the strategy, in permille and in order."""
        return tuple(use.threshold_permille for use in self.strategy_uses if use.threshold_permille is not None)

    @property
    def strategy_pools(self) -> tuple[str, ...]:
        """The names of the pools that the strategy may call, in order, without duplicates."""
        return tuple(dict.fromkeys(use.name for use in self.strategy_uses))

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """The scorers of the strategy, in order."""
        return tuple(scorer for _, scorer in self.scorer_uses())

    @property
    def answering_pools(self) -> tuple[str, ...]:
        """The names of the pools that may answer a request, without duplicates: the strategy's, then fallback."""
        return tuple(dict.fromkeys(use.name for use in self.pool_uses() if use.role is not PoolRole.SCORER))

    @property
    def pool_names(self) -> tuple[str, ...]:
        """The names of all pools that the router refers to, without duplicates."""
        return tuple(dict.fromkeys(use.name for use in self.pool_uses()))
