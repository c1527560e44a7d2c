"""ModelRouter: one served model name over several pools."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import (
    LocalObjectRef,
    Metadata,
    Model,
    PoolRef,
    Rule,
    list_set,
    ordered_list,
)
from pilotfish.api.objective import Objective
from pilotfish.api.status import ModelRouterStatus
from pilotfish.api.strategy import Scorer, Strategy, StrategyType


class PluginUse(Model):
    """An AdaptationPlugin that the router uses."""

    plugin_ref: LocalObjectRef
    """The AdaptationPlugin, of the same namespace."""


class Fallback(Model):
    """A pool that answers if every pool of the strategy failed."""

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
    """The AdaptationPlugins to apply to requests and answers, in order, at most 16. A plugin that is not installed
    is skipped with failurePolicy Ignore. With failurePolicy Fail the router then rejects every request.
    """
    fallback: Annotated[tuple[Fallback, ...], ordered_list(maximum=4)] = ()
    """The pools that answer, in order, if every pool of the strategy failed, at most 4."""
    objective: Objective | None = None
    """A target for quality, spend or latency that the gateway keeps while it serves. It moves the threshold of a
    strategy with two pools, within the bounds that `pilotfish calibrate` wrote into the scorer's artifact.
    """
    exploration: Exploration | None = None
    """A share of requests to escalate for the log. Only with strategy type Cascade or Predictive. Off if unset."""
    limits: Limits | None = None
    """Limits on requests and tokens per minute. Unlimited if unset."""
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400)] = 600
    """The maximum time from the arrival of a request to the last byte of its answer, over all stages, in seconds. A
    request that takes longer fails with status 504.
    """


class ModelRouter(Model):
    """A ModelRouter is a model name that clients call, answered by one of several ModelPools."""

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
        """The names that clients may send in `model` to reach this router."""
        return self.spec.served_model_names or (self.name,)

    @property
    def strategy_pools(self) -> tuple[str, ...]:
        """The names of the pools that the strategy may call, in order, without duplicates."""
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
        """The scorers of the strategy, in order."""
        strategy = self.spec.strategy
        if strategy.predictive:
            return (strategy.predictive.scorer,)
        if strategy.cascade:
            return tuple(stage.accept.scorer for stage in strategy.cascade.stages if stage.accept)
        return ()

    @property
    def pool_names(self) -> tuple[str, ...]:
        """The names of all pools that the router refers to, without duplicates."""
        helpers = tuple(ref.name for scorer in self.scorers for ref in scorer.pool_refs)
        fallback = tuple(entry.pool_ref.name for entry in self.spec.fallback)
        return tuple(dict.fromkeys(self.strategy_pools + fallback + helpers))
