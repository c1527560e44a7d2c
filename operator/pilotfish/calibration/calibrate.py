"""`pilotfish calibrate` without files: train scorers, choose thresholds, and estimate what they save."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from pilotfish.api import ModelRouter
from pilotfish.api.strategy import Accept
from pilotfish.base.arrays import Integers
from pilotfish.base.errors import ConfigError
from pilotfish.calibration.evaluate import (
    AnyScorer,
    Evaluated,
    accepts_of,
    evaluate,
    exits_early,
    make_scorer,
    score_all,
    scored,
)
from pilotfish.calibration.learning import LEARNED_FROM, not_learned_from, request_digests, train, trainable
from pilotfish.calibration.log import RecordedRequest
from pilotfish.calibration.statistics.choose import Choice, Goal, GoalType, Recommendation, choose
from pilotfish.calibration.statistics.diagnose import CalibrationWarning, WarningCode, not_finite, shift
from pilotfish.calibration.statistics.stopping import LOOKS, Prefixes, Stopping, fewest_answers, learn
from pilotfish.plugin_api.artifacts import read_artifact, write_artifact
from pilotfish.plugin_api.scorers import AnswerScorer
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers import logprob
from pilotfish.plugins.registry import Registry
from pilotfish.routing.threshold_control import NEVER, Scores, ThresholdBounds, ThresholdRange

SPLIT_SEED = 20_240_611
MOST_FLIPPED = 0.02
"""Upper limit on the share of decisions that stopping boundaries may change."""
FLIPPED_OF_LIMIT = 0.2
"""Part of the limit that is reserved for boundaries, because a changed decision may lose a whole answer."""


@dataclass(frozen=True)
class Reserve:
    """What a guarantee reserves for the stopping boundaries of each of `stages`: a share of changed decisions, and
    the probability of more.
    """

    share: float
    error: float
    stages: tuple[int, ...]


@dataclass(frozen=True)
class Calibrated:
    """The result of a calibration. `artifacts` by the index of the scorer in the router; `changed`: indices of new
    artifacts.

    `learned_from`: the number of requests that scorers learned from. Thresholds are chosen on the others.
    """

    router: ModelRouter
    goal: Goal
    choice: Choice
    evaluated: Evaluated
    artifacts: Mapping[int, bytes]
    changed: frozenset[int] = frozenset()
    learned_from: int = 0
    stopping: Mapping[int, Stopping] = field(default_factory=dict)
    plugins: str | None = None
    """The digest of the plugins through which the requests of the log went, None for none or several."""
    warnings: tuple[CalibrationWarning, ...] = ()


def calibrate(
    entries: Sequence[RecordedRequest],
    router: ModelRouter,
    goal: Goal,
    registry: Registry,
    *,
    artifacts: Mapping[int, bytes],
    today: Sequence[RecordedRequest] = (),
    relearn: bool = False,
) -> Calibrated:
    """Thresholds for the goal from a log. Scorers that need an artifact and have none, or all with `relearn`, are
    trained on half of the log first. Requests that the other scorers learned from are left out.

    `today`: recent requests, to detect whether scores have moved. Raises ConfigError as `evaluate` does, and if a
    pool has no costs.
    """
    _check_costs(entries, router.strategy_pools)
    trainable_places = {place for place, scorer in enumerate(router.scorers) if trainable(scorer, registry)}
    learned = {place: content for place, content in artifacts.items() if not (relearn and place in trainable_places)}
    untrained = sorted(trainable_places - learned.keys())
    fresh = not_learned_from(entries, router, registry, learned)
    learning, calibrating = _halves(fresh) if untrained else ([], fresh)
    warnings: list[CalibrationWarning] = []
    for place in untrained:
        trained = train(learning, router, registry, place)
        warnings += trained.warnings
        learned[place] = _with_arrays(
            router, place, {place: trained.artifact}, {LEARNED_FROM: request_digests(learning)}
        )
    evaluated = evaluate(calibrating, router, registry, learned)
    reserve = _reserve(calibrating, router, goal)
    choice = choose(evaluated.table, goal, left=_less(goal, reserve))
    stopping = {}
    if choice.recommendation is Recommendation.ROUTE:
        scorers = {i: make_scorer(scorer, registry, learned.get(i)) for i, scorer in enumerate(router.scorers)}
        stopping = _boundaries(calibrating, router, scorers, choice, reserve)
        for place, found in stopping.items():
            learned[place] = _with_arrays(router, place, learned, found.boundaries.to_arrays())
        if router.spec.objective and len(choice.thresholds) == 1:
            learned[0] = _with_arrays(router, 0, learned, _range(evaluated, choice, goal).to_arrays())
    warnings += _finite_warnings(calibrating, router)
    if seen := len(entries) - len(fresh):
        warnings.append(
            CalibrationWarning(
                WarningCode.LEARNED_FROM,
                f"{seen} requests were left out because the scorer learned from them; --relearn makes a new artifact",
            )
        )
    if today:
        with_scores = scored(today)
        now = score_all(with_scores, router, registry, learned)
        warnings += _moved(evaluated, today, with_scores, now, router)
    plugins, found_plugins = _plugins(entries, router)
    warnings += found_plugins
    changed = frozenset(place for place, content in learned.items() if artifacts.get(place) != content)
    return Calibrated(
        router, goal, choice, evaluated, learned, changed, len(learning), stopping, plugins, tuple(warnings)
    )


def _plugins(entries: Sequence[RecordedRequest], router: ModelRouter) -> tuple[str | None, list[CalibrationWarning]]:
    """The digest of the plugins of the log, and a warning where the thresholds will not belong to the router's."""
    digests = {entry.plugins for entry in entries}
    if len(digests) > 1:
        text = "requests of the log went through different plugins: calibrate on those of one chain"
        return None, [CalibrationWarning(WarningCode.PLUGINS, text)]
    (digest,) = digests or {None}
    if digest is None and router.spec.plugins:
        text = "the requests of the log went through no plugins, but the router has some, which change its answers"
        return None, [CalibrationWarning(WarningCode.PLUGINS, text)]
    return digest, []


def _check_costs(entries: Sequence[RecordedRequest], pools: Sequence[str]) -> None:
    """Without costs every answer would count as free."""
    for pool in pools:
        judged = [stage for entry in entries if (stage := entry.stage(pool)) is not None and stage.quality is not None]
        lacking = sum(stage.cost is None for stage in judged)
        if lacking:
            text = f"pool {pool!r} has no cost in {lacking} of {len(judged)} requests"
            raise ConfigError(
                "log", f"{text}: set spec.pricing of the pool and record again, or add `cost` to the rows"
            )


def _halves(entries: Sequence[RecordedRequest]) -> tuple[list[RecordedRequest], list[RecordedRequest]]:
    order = np.random.default_rng(SPLIT_SEED).permutation(len(entries))
    # In the order of the log, because the tests of thresholds depend on it: a second calibration gives the same result.
    taken = set(order[: len(entries) // 2].tolist())
    halves: tuple[list[RecordedRequest], list[RecordedRequest]] = ([], [])
    for place, entry in enumerate(entries):
        halves[place not in taken].append(entry)
    return halves


def _reserve(entries: Sequence[RecordedRequest], router: ModelRouter, goal: Goal) -> Reserve:
    """No stages if none can have boundaries, or if there are too few answers for a guarantee.

    A goal in expectation has none, because the changes by boundaries are bounded with a confidence only.
    """
    if not exits_early(router) or goal.confidence is None:
        return Reserve(0.0, 0.0, ())
    accepts = accepts_of(router)
    able = [place for place, (_, accept) in enumerate(accepts) if accept.scorer.name == logprob.KIND]
    limited = min(MOST_FLIPPED, FLIPPED_OF_LIMIT * goal.limit) if goal.type is not GoalType.SPEND else MOST_FLIPPED
    share, error = limited / max(1, len(able)), goal.error / (2 * max(1, len(able)))
    stages = tuple(place for place in able if fewest_answers(share, error) <= _answers(entries, accepts[place][0]))
    return Reserve(share, error, stages)


def _answers(entries: Sequence[RecordedRequest], pool: str) -> int:
    return sum((stage := entry.stage(pool)) is not None and bool(stage.logprobs) for entry in entries)


def _less(goal: Goal, reserve: Reserve) -> Goal:
    """The goal for thresholds, so that thresholds and boundaries together keep the whole goal."""
    if not reserve.stages or goal.confidence is None:
        return goal
    kept = goal.limit if goal.type is GoalType.SPEND else goal.limit - reserve.share * len(reserve.stages)
    return Goal(goal.type, kept, goal.confidence + reserve.error * len(reserve.stages))


def _boundaries(
    entries: Sequence[RecordedRequest],
    router: ModelRouter,
    scorers: Mapping[int, AnyScorer],
    choice: Choice,
    reserve: Reserve,
) -> dict[int, Stopping]:
    """Stopping boundaries of every stage that is asked and has a reserve, if any boundary can be guaranteed."""
    accepts = accepts_of(router)
    found = {}
    for place in (place for place in reserve.stages if choice.thresholds[place] < NEVER):
        (pool, accept), scorer = accepts[place], scorers[place]
        answers = _prefixes(entries, pool, accept, scorer) if isinstance(scorer, AnswerScorer) else None
        if answers is None:
            continue
        stopping = learn(answers, threshold=choice.thresholds[place], limit=reserve.share, error=reserve.error)
        if stopping is not None:
            found[place] = stopping
    return found


def _prefixes(entries: Sequence[RecordedRequest], pool: str, accept: Accept, scorer: AnswerScorer) -> Prefixes | None:
    """Scores of prefixes of every answer; None if the log has no tokens."""
    most = accept.decide_within_tokens
    answers = [stage.tokens(most) for entry in entries if (stage := entry.stage(pool)) is not None and stage.logprobs]
    looks = [look for look in LOOKS if look < max((len(tokens) for tokens in answers), default=0)]
    if not looks:
        return None
    scores = np.zeros((len(answers), len(looks)), np.int64)
    final = np.zeros(len(answers), np.int64)
    for row, tokens in enumerate(answers):
        running = scorer.start()
        for column, (start, end) in enumerate(pairwise((0, *looks))):
            running.add(tokens[start:end])
            scores[row, column] = running.score().permille
        running.add(tokens[looks[-1] :])
        final[row] = running.score().permille
    return Prefixes(looks, scores, final, np.array([len(tokens) for tokens in answers], np.int64))


def _with_arrays(router: ModelRouter, place: int, learned: Mapping[int, bytes], arrays: Mapping[str, Any]) -> bytes:
    """The scorer's artifact, or a new one, with these arrays in it."""
    scorer = router.scorers[place]
    settings = Settings(scorer.config, learned.get(place))
    if settings.artifact is not None:
        kept = read_artifact(settings, scorer.name)
    elif scorer.name == logprob.KIND:
        kept = logprob.scale_arrays(logprob.scale_of(read_config(logprob.Config, settings), None))
    else:
        kept = {}
    return write_artifact(scorer.name, {**kept, **arrays})


def _range(evaluated: Evaluated, choice: Choice, goal: Goal) -> ThresholdRange:
    """The range in which an objective may move the threshold: not below the lowest threshold that keeps the limit."""
    (start,) = choice.thresholds
    kept = min((tested.thresholds[0] for tested in choice.tested), default=start)
    least, loss = (kept, goal.limit) if goal.type is GoalType.QUALITY_LOSS else (0, None)
    return ThresholdRange(Scores.of(evaluated.table.scores[:, 0].tolist()), ThresholdBounds(least, NEVER, start), loss)


def _moved(
    evaluated: Evaluated,
    today: Sequence[RecordedRequest],
    with_scores: Sequence[RecordedRequest],
    now: Integers,
    router: ModelRouter,
) -> list[CalibrationWarning]:
    """Whether the scores of today, `now` [n, k - 1], have moved; `with_scores`: requests, with scored answers only."""
    warnings: list[CalibrationWarning] = []
    for stage, pool in enumerate(router.strategy_pools[:-1]):
        name, held = f"stage {stage + 1}", np.ones(len(today), bool)
        if router.spec.strategy.cascade:
            held = np.array([entry.stage(pool) is not None for entry in with_scores])
            unscored = sum(entry.stage(pool) is not None for entry in today) - int(held.sum())
            if unscored:
                warnings.append(_unscored(name, unscored, early=exits_early(router)))
            if unscored and exits_early(router):
                continue
        before = evaluated.table.scores[:, stage].astype(np.float64)
        warnings += shift(before, now[held, stage].astype(np.float64), name=name)
    return warnings


def _unscored(name: str, answers: int, *, early: bool) -> CalibrationWarning:
    """Decisions are early where the score is far from the threshold, so the other scores are not a random sample."""
    text = f"{name}: {answers} of today's answers have no score"
    if not early:
        return CalibrationWarning(WarningCode.UNSCORED, f"{text} and were left out")
    return CalibrationWarning(
        WarningCode.UNSCORED,
        f"{text}, and the others are not a random sample. To compare scores, use a log of a router with"
        " streaming Hold, or `pilotfish record`",
    )


def _finite_warnings(entries: Sequence[RecordedRequest], router: ModelRouter) -> list[CalibrationWarning]:
    warnings: list[CalibrationWarning] = []
    for pool in router.strategy_pools[:-1]:
        stages = (entry.stage(pool) for entry in entries)
        logprobs = [logprob for stage in stages if stage is not None for logprob in stage.logprobs or ()]
        warnings += not_finite(logprobs, name=f"pool {pool!r}")
    return warnings
