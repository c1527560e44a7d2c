"""From a log and a router to a table of outcomes. Requests are scored by the router's scorers, as in the gateway."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pilotfish.api import ModelRouter
from pilotfish.api.strategy import Accept, Scorer, Streaming
from pilotfish.base.arrays import Integers
from pilotfish.base.errors import ConfigError
from pilotfish.calibration.log import RecordedRequest, RecordedStage
from pilotfish.calibration.offline_models import OfflineModels
from pilotfish.calibration.scores import OF_ANOTHER, asked_of, holds, is_of_another, lacking
from pilotfish.calibration.statistics.table import Judging, Table
from pilotfish.plugin_api.scorers import AnswerScorer, JudgeScorer, PromptScorer
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.scorers.combined import CombinedScorer
from pilotfish.plugins.extension_points import SCORERS
from pilotfish.plugins.registry import Registry
from pilotfish.plugins.score_digests import in_force

AnyScorer = AnswerScorer | JudgeScorer | PromptScorer


@dataclass(frozen=True)
class Evaluated:
    """A router's table, the ids of its requests, the pools in order, and the number of requests that were left out."""

    table: Table
    ids: tuple[str, ...]
    pools: tuple[str, ...]
    left_out: int


class RecordedVectors(OfflineModels):
    """The pools of a scorer, answered from a log: only the prompt's vector is available."""

    def __init__(self, entry: RecordedRequest) -> None:
        self._entry = entry

    async def embed(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """The recorded vector for the one text. Raises ConfigError where there is none."""
        if self._entry.vector is None or len(texts) != 1:
            raise ConfigError(
                "log",
                f"request {self._entry.id!r} has no vector of the pool of role {role!r}: record it with --vectors-from",
            )
        return [self._entry.vector]


def evaluate(
    entries: Sequence[RecordedRequest], router: ModelRouter, registry: Registry, artifacts: Mapping[int, bytes]
) -> Evaluated:
    """Score every request in which all pools of the router answered and have a quality.

    `artifacts`: bytes by the index of the scorer in the router. Raises ConfigError if the strategy has no scores, if
    the log lacks what a scorer needs, or if only some of the pools were asked.
    """
    pools = router.strategy_pools
    check_sample(entries, pools)
    kept = [entry for entry in entries if _complete(entry, pools)]
    if not kept:
        raise ConfigError(
            "log",
            f"has no request with a quality from each of the pools {', '.join(pools)}: record it with"
            " `pilotfish record`, from prompts that have a `check`",
        )
    scores = score_all(kept, router, registry, artifacts)
    stages = [[_of(entry, pool) for pool in pools] for entry in kept]
    table = Table(
        scores=scores,
        quality=np.array([[stage.quality for stage in row] for row in stages], np.float64),
        cost=np.array([[stage.cost or 0.0 for stage in row] for row in stages], np.float64),
        seconds=np.array([[stage.seconds or 0.0 for stage in row] for row in stages], np.float64),
        cumulative=router.spec.strategy.cascade is not None,
        judging=_judging(kept, router, registry, artifacts),
    )
    return Evaluated(table, tuple(entry.id for entry in kept), pools, len(entries) - len(kept))


def score_all(
    entries: Sequence[RecordedRequest], router: ModelRouter, registry: Registry, artifacts: Mapping[int, bytes]
) -> Integers:
    """Permille [n, pools - 1] of every request by the router's scorers; 0 where a stage did not answer."""
    strategy, early = router.spec.strategy, exits_early(router)
    if strategy.cascade:
        columns = [
            _Judged.of(accept, registry, artifacts.get(place), early=early).scores(entries, pool)
            for place, (pool, accept) in enumerate(accepts_of(router))
        ]
        return np.array(columns, np.int64).T
    if strategy.predictive:
        scorer = make_scorer(strategy.predictive.scorer, registry, artifacts.get(0))
        if not isinstance(scorer, PromptScorer):
            raise ConfigError("spec.strategy.predictive.scorer", "does not score prompts: use linear or embedding")
        column = asyncio.run(_predictions(entries, scorer))
        return np.repeat(np.array(column, np.int64)[:, None], len(strategy.predictive.candidates) - 1, axis=1)
    raise ConfigError("spec.strategy", f"router {router.name!r} is neither Cascade nor Predictive: it has no scores")


def scored(entries: Sequence[RecordedRequest]) -> list[RecordedRequest]:
    """Requests with those of their answers that have scores, or tokens to score. A gateway writes neither for an early
    decision nor for a pool that failed.
    """
    return [
        entry.model_copy(
            update={"stages": tuple(stage for stage in entry.stages if stage.scores or stage.logprobs is not None)}
        )
        for entry in entries
    ]


def accepts_of(router: ModelRouter) -> list[tuple[str, Accept]]:
    """The pools of a cascade whose answers are judged, and by what; of another strategy none."""
    cascade = router.spec.strategy.cascade
    return [(stage.pool_ref.name, stage.accept) for stage in cascade.stages if stage.accept] if cascade else []


def exits_early(router: ModelRouter) -> bool:
    """Whether a rejected answer is not made to its end."""
    cascade = router.spec.strategy.cascade
    return cascade is not None and cascade.streaming is Streaming.EARLY_EXIT


def make_scorer(scorer: Scorer, registry: Registry, artifact: bytes | None) -> AnyScorer:
    """The scorer that a manifest names. Raises ConfigError or PluginError."""
    return registry.load(SCORERS, scorer.name).from_settings(Settings(scorer.config, artifact))


def judged_tokens(accept: Accept, *, early: bool) -> int | None:
    """How many tokens of an answer are judged; None: all."""
    return accept.decide_within_tokens if early else None


@dataclass(frozen=True)
class _Judged:
    """What judges one stage: the scorer, its manifest with the scale in force, the scorers whose scores a log holds for
    it, and how many tokens of an answer are judged (None: all).
    """

    scorer: AnyScorer
    named: Scorer
    asked: tuple[Scorer, ...]
    most: int | None

    @classmethod
    def of(cls, accept: Accept, registry: Registry, artifact: bytes | None, *, early: bool) -> "_Judged":
        scorer = make_scorer(accept.scorer, registry, artifact)
        named = in_force(accept.scorer, scorer)
        return cls(scorer, named, asked_of(named), judged_tokens(accept, early=early))

    def scores(self, entries: Sequence[RecordedRequest], pool: str) -> list[int]:
        return [
            _answer_score(entry.id, stage, self) if (stage := entry.stage(pool)) is not None else 0 for entry in entries
        ]


def _answer_score(request: str, stage: RecordedStage, judged: _Judged) -> int:
    scorer, named, asked, most = judged.scorer, judged.named, judged.asked, judged.most
    if isinstance(scorer, AnswerScorer) and stage.logprobs is not None:
        running = scorer.start()
        running.add(stage.tokens(most))
        return running.score().permille
    if isinstance(scorer, CombinedScorer) and all(holds(stage, member) for member in asked):
        return scorer.recorded(stage.scores).permille
    if holds(stage, named):
        return stage.scores[named.name]
    if isinstance(scorer, AnswerScorer):
        lacks = f"logprobs{OF_ANOTHER if is_of_another(stage, named) else ''}"
    else:
        lacks = lacking(stage, asked)
    raise ConfigError(
        "log",
        f"request {request!r} lacks {lacks} of pool {stage.pool!r}: record it with `pilotfish record`"
        " (a gateway writes it with streaming Hold)",
    )


async def _predictions(entries: Sequence[RecordedRequest], scorer: PromptScorer) -> list[int]:
    return [
        (await scorer.predict(question=entry.question, models=RecordedVectors(entry))).permille for entry in entries
    ]


def check_sample(entries: Sequence[RecordedRequest], pools: Sequence[str]) -> None:
    """Raises ConfigError if all pools answered only the requests that a router escalated, because those are not a
    random sample.
    """
    served = sum(entry.action is not None and any(entry.stage(pool) is None for pool in pools) for entry in entries)
    if served:
        raise ConfigError(
            "log",
            f"{served} requests with an `action` lack the answers of some of the pools {', '.join(pools)}, and the"
            " others are not a random sample: use `pilotfish record`, or `pilotfish replay --off-policy`",
        )


def _complete(entry: RecordedRequest, pools: Sequence[str]) -> bool:
    stages = [entry.stage(pool) for pool in pools]
    return all(stage is not None and stage.quality is not None for stage in stages)


def _of(entry: RecordedRequest, pool: str) -> RecordedStage:
    stage = entry.stage(pool)
    if stage is None:
        raise AssertionError(f"{entry.id} was checked to have {pool}")
    return stage


def _judging(
    entries: Sequence[RecordedRequest], router: ModelRouter, registry: Registry, artifacts: Mapping[int, bytes]
) -> Judging:
    """Cost and duration of scorers' calls. An early exit generates no more of a rejected answer than it scores."""
    judging = Judging.free((len(entries), len(router.strategy_pools)))
    for place, (pool, accept) in enumerate(accepts_of(router)):
        stages = [_of(entry, pool) for entry in entries]
        asked = [scorer.name for scorer in asked_of(accept.scorer)]
        judging.cost[:, place] = [sum(stage.score_costs.get(name, 0.0) for name in asked) for stage in stages]
        judging.seconds[:, place] = [sum(stage.score_seconds.get(name, 0.0) for name in asked) for stage in stages]
        within = judged_tokens(accept, early=exits_early(router))
        if within and isinstance(make_scorer(accept.scorer, registry, artifacts.get(place)), AnswerScorer):
            judging.due[:, place] = [_made(stage, within) for stage in stages]
    return judging


def _made(stage: RecordedStage, within: int) -> float:
    """The share of all tokens that was generated after the answer's first `within`; 1 if the log has no counts.

    A token of the prompt counts like one of the answer.
    """
    if not stage.logprobs or stage.input_tokens is None:
        return 1.0
    whole = stage.output_tokens or len(stage.logprobs)
    return (stage.input_tokens + min(within, whole)) / (stage.input_tokens + whole)
