"""Strategies: how a router chooses the pool that answers a request."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pilotfish.api.common import (
    ConfigMapKeyRef,
    EntryPointName,
    Model,
    Opaque,
    Permille,
    PoolRef,
    RolePoolRef,
    Rule,
    Sha256,
    Uri,
    exactly_one_of,
    list_map,
    ordered_list,
    union_rule,
)


class StrategyType(StrEnum):
    """How a router chooses among its pools."""

    DIRECT = "Direct"
    WEIGHTED = "Weighted"
    PREDICTIVE = "Predictive"
    CASCADE = "Cascade"


class Streaming(StrEnum):
    """Whether a cascade may decide on the beginning of an answer (EarlyExit) or waits for all of it (Hold)."""

    EARLY_EXIT = "EarlyExit"
    HOLD = "Hold"


class Artifact(Model):
    """The location of what a scorer learned, which `pilotfish calibrate` writes."""

    rules: ClassVar = (exactly_one_of("configMapRef", "uri"),)
    config_map_ref: ConfigMapKeyRef | None = None
    """The ConfigMap key that holds the artifact. Exactly one of configMapRef, uri must be set."""
    uri: Uri | None = None
    """The file:// address of the artifact, for `pilotfish up` only. In a cluster, use configMapRef. Exactly one of
    configMapRef, uri must be set.
    """
    sha256: Sha256 | None = None
    """The SHA-256 of the artifact, as 64 lower-case hexadecimal digits. Accepted, but not checked yet."""


class Scorer(Model):
    """A scorer, which estimates how likely it is that an answer, or the answer to a prompt, is good enough."""

    name: EntryPointName
    """The name of an installed scorer. `pilotfish plugins` lists them. Type Predictive needs one that scores prompts,
    such as linear; type Cascade needs one that scores answers, such as logprob.
    """
    config: Opaque = {}
    """The settings of the scorer. The scorer defines and checks them."""
    pool_refs: Annotated[tuple[RolePoolRef, ...], *list_map("role", maximum=8)] = ()
    """The pools that the scorer may call, by role, at most 8. The scorer defines the roles."""
    artifact: Artifact | None = None
    """What the scorer learned from recorded requests. Required by scorers that have to learn, such as linear."""


class Accept(Model):
    """The condition on which a stage's answer is accepted: its score reaches a threshold."""

    scorer: Scorer
    """The scorer that rates the stage's answer."""
    threshold_permille: Permille
    """The minimum score, in permille, of an accepted answer. `pilotfish calibrate` finds it from recorded requests."""
    decide_within_tokens: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """The maximum number of tokens after which the answer is accepted or rejected. An accepted answer is streamed to
    the client from then on. If unset, the decision may need the whole answer. Only with streaming EarlyExit.
    """


class Stage(Model):
    """One pool of a cascade."""

    pool_ref: PoolRef
    """The pool that answers in this stage."""
    accept: Accept | None = None
    """The condition on which the answer is accepted. If it is not met, the next stage answers. Required for every stage
    but the last, and forbidden for the last.
    """


class Cascade(Model):
    """Pools that are tried in order until an answer is accepted. The answer of the last pool is always accepted."""

    rules: ClassVar = (
        Rule(
            message="every stage but the last needs accept",
            cel="self.stages.filter(s, !has(s.accept)).size() <= 1",
            holds=lambda c: all(stage.accept is not None for stage in c.stages[:-1]),
            field=("stages",),
        ),
        Rule(
            message="the last stage must not have accept, because its answer is always accepted",
            cel="!has(self.stages[size(self.stages) - 1].accept)",
            holds=lambda c: c.stages[-1].accept is None,
            field=("stages",),
        ),
        Rule(
            message="decideWithinTokens needs streaming EarlyExit: remove decideWithinTokens, or change streaming",
            cel="self.streaming != 'Hold' || !self.stages.exists(s, has(s.accept) && has(s.accept.decideWithinTokens))",
            holds=lambda c: (
                c.streaming != Streaming.HOLD
                or not any(stage.accept and stage.accept.decide_within_tokens for stage in c.stages)
            ),
            field=("stages",),
        ),
    )
    streaming: Streaming = Streaming.EARLY_EXIT
    """When the decision about a streamed answer is made.
    - EarlyExit: as soon as the scorer can decide, possibly on the beginning of the answer. The rest is then streamed.
    - Hold: when the answer is complete.

    In both cases the client gets no token of a rejected answer. Scorers that rate whole answers always hold.
    """
    stages: Annotated[tuple[Stage, ...], ordered_list(minimum=2, maximum=8)]
    """The stages, from the cheapest pool to the best, 2 to 8."""


class WeightedPool(Model):
    """A pool and its share of the requests."""

    pool_ref: PoolRef
    """The pool."""
    weight: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
    """The pool's share of the requests, relative to the sum of all weights. 0 sends no requests to the pool."""


class Weighted(Model):
    """Each request is sent to one pool, chosen at random by weight."""

    rules: ClassVar = (
        Rule(
            message="at least one weight must be above zero",
            cel="self.pools.exists(p, p.weight > 0)",
            holds=lambda w: any(pool.weight > 0 for pool in w.pools),
            field=("pools",),
        ),
    )
    pools: Annotated[tuple[WeightedPool, ...], ordered_list(minimum=1, maximum=16)]
    """The pools and their weights, 1 to 16. Pools that do not answer get no requests while another one answers."""


class Direct(Model):
    """Every request is sent to one pool."""

    pool_ref: PoolRef
    """The pool that answers."""


class Candidate(Model):
    """A pool that answers if the prompt's score reaches a threshold."""

    pool_ref: PoolRef
    """The pool that answers."""
    threshold_permille: Permille | None = None
    """The minimum score of a prompt, in permille, for the pool to answer it. `pilotfish calibrate` finds it from
    recorded requests. Required for every candidate but the last, and forbidden for the last.
    """


class Predictive(Model):
    """The pool is chosen from the prompt, before any pool is called."""

    rules: ClassVar = (
        Rule(
            message="the last candidate must not have thresholdPermille, because it answers what the others do not",
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
    """The scorer that rates the prompt. A high score means that a cheap pool is likely to answer well."""
    candidates: Annotated[tuple[Candidate, ...], ordered_list(minimum=2, maximum=8)]
    """The pools, from the cheapest to the best, 2 to 8. The first one whose threshold the score reaches answers. If
    there is none, the last one answers. If the chosen candidate fails, the candidates after it are tried in order.
    """


_STRATEGIES = {"Direct": "direct", "Weighted": "weighted", "Predictive": "predictive", "Cascade": "cascade"}


class Strategy(Model):
    """How the router chooses the pool that answers: a type, and the settings of that type."""

    rules: ClassVar = (union_rule(_STRATEGIES),)
    type: StrategyType
    """How the pool is chosen; the field that belongs to it must be set, and no other.
    - Direct (field `direct`): one pool answers every request.
    - Weighted (field `weighted`): at random, by weight.
    - Predictive (field `predictive`): from the prompt.
    - Cascade (field `cascade`): a cheap pool answers first; if its answer is not good enough, the next pool answers.
    """
    direct: Direct | None = None
    """The settings of type Direct."""
    weighted: Weighted | None = None
    """The settings of type Weighted."""
    predictive: Predictive | None = None
    """The settings of type Predictive."""
    cascade: Cascade | None = None
    """The settings of type Cascade."""
