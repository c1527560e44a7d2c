"""`pilotfish calibrate` without its files: learn what has to be learned, choose thresholds, say what they are worth."""

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
from pilotfish.calibration.learning import TAUGHT, marks, train, trainable, unseen
from pilotfish.calibration.log import Entry
from pilotfish.calibration.statistics.choose import Choice, Goal, Verdict, Wish, choose
from pilotfish.calibration.statistics.diagnose import Finding, Note, not_finite, shift
from pilotfish.calibration.statistics.stopping import LOOKS, Prefixes, Stopping, fewest_answers, learn
from pilotfish.plugin_api.artifacts import read_artifact, write_artifact
from pilotfish.plugin_api.scorers import AnswerScorer
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers import logprob
from pilotfish.plugins.registry import Registry
from pilotfish.routing.objective import NEVER, Limits, Range, Scores

SPLIT_SEED = 20_240_611
MOST_FLIPPED = 0.02
"""Share of verdicts that stopping boundaries may change, at most."""
FLIPPED_OF_LIMIT = 0.2
"""Part of a promised limit that is left for what boundaries change: a changed verdict may lose a whole answer."""


@dataclass(frozen=True)
class Reserve:
    """What a promise leaves for the stopping boundaries of each of `stages`: a share of changed verdicts, and the
    chance of more.
    """

    verdicts: float
    error: float
    stages: tuple[int, ...]


@dataclass(frozen=True)
class Calibrated:
    """What came of it. `artifacts` by the place of the scorer among the router's; `changed`: places of those that
    are new.

    `learned_from`: how many requests taught the scorers; thresholds rest on others.
    """

    router: ModelRouter
    goal: Goal
    choice: Choice
    evaluated: Evaluated
    artifacts: Mapping[int, bytes]
    changed: frozenset[int] = frozenset()
    learned_from: int = 0
    stopping: Mapping[int, Stopping] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


def calibrate(
    entries: Sequence[Entry],
    router: ModelRouter,
    goal: Goal,
    registry: Registry,
    *,
    artifacts: Mapping[int, bytes],
    today: Sequence[Entry] = (),
    relearn: bool = False,
) -> Calibrated:
    """Thresholds for the goal from a log. Scorers that need an artifact and have none, or are to `relearn`, are
    learned from half of the log first; requests that taught the others are left out.

    `today`: requests of now, to be told whether scores have moved since the log. Raises ConfigError as `evaluate`
    does, and where a pool has no costs.
    """
    _check_costs(entries, router.strategy_pools)
    taught = {place for place, scorer in enumerate(router.scorers) if trainable(scorer, registry)}
    learned = {place: content for place, content in artifacts.items() if not (relearn and place in taught)}
    untrained = sorted(taught - learned.keys())
    fresh = unseen(entries, router, registry, learned)
    learning, calibrating = _halves(fresh) if untrained else ([], fresh)
    notes: list[Note] = []
    for place in untrained:
        taught_now = train(learning, router, registry, place)
        notes += taught_now.notes
        learned[place] = _with_arrays(router, place, {place: taught_now.artifact}, {TAUGHT: marks(learning)})
    evaluated = evaluate(calibrating, router, registry, learned)
    reserve = _reserve(calibrating, router, goal)
    choice = choose(evaluated.table, goal, left=_less(goal, reserve))
    stopping = {}
    if choice.verdict is Verdict.ROUTE:
        scorers = {i: make_scorer(scorer, registry, learned.get(i)) for i, scorer in enumerate(router.scorers)}
        stopping = _boundaries(calibrating, router, scorers, choice, reserve)
        for place, found in stopping.items():
            learned[place] = _with_arrays(router, place, learned, found.boundaries.to_arrays())
        if router.spec.objective and len(choice.thresholds) == 1:
            learned[0] = _with_arrays(router, 0, learned, _range(evaluated, choice, goal).to_arrays())
    notes += _finite_notes(calibrating, router)
    if seen := len(entries) - len(fresh):
        notes.append(
            Note(Finding.TAUGHT, f"{seen} requests taught the scorer and were left out; --relearn starts anew")
        )
    if today:
        told = scored(today)
        notes += _moved(evaluated, today, told, score_all(told, router, registry, learned), router)
    changed = frozenset(place for place, content in learned.items() if artifacts.get(place) != content)
    return Calibrated(router, goal, choice, evaluated, learned, changed, len(learning), stopping, tuple(notes))


def _check_costs(entries: Sequence[Entry], pools: Sequence[str]) -> None:
    """Without costs every verdict would read as if answers were free."""
    for pool in pools:
        judged = [stage for entry in entries if (stage := entry.stage(pool)) is not None and stage.quality is not None]
        lacking = sum(stage.cost is None for stage in judged)
        if lacking:
            text = f"pool {pool!r} has no cost in {lacking} of {len(judged)} requests"
            raise ConfigError("log", f"{text}: set its spec.pricing and record again, or write `cost` into the rows")


def _halves(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    order = np.random.default_rng(SPLIT_SEED).permutation(len(entries))
    # In the log's order, as the tests of thresholds depend on it: calibrated again, the same comes out.
    taken = set(order[: len(entries) // 2].tolist())
    halves: tuple[list[Entry], list[Entry]] = ([], [])
    for place, entry in enumerate(entries):
        halves[place not in taken].append(entry)
    return halves


def _reserve(entries: Sequence[Entry], router: ModelRouter, goal: Goal) -> Reserve:
    """No stages where none can have boundaries, or too few answers were recorded to promise anything of them.

    An expected loss has none: what boundaries change is bounded with a confidence alone.
    """
    if not exits_early(router) or goal.confidence is None:
        return Reserve(0.0, 0.0, ())
    accepts = accepts_of(router)
    able = [place for place, (_, accept) in enumerate(accepts) if accept.scorer.name == logprob.KIND]
    limited = min(MOST_FLIPPED, FLIPPED_OF_LIMIT * goal.limit) if goal.wish is not Wish.SPEND else MOST_FLIPPED
    share, error = limited / max(1, len(able)), goal.error / (2 * max(1, len(able)))
    stages = tuple(place for place in able if fewest_answers(share, error) <= _answers(entries, accepts[place][0]))
    return Reserve(share, error, stages)


def _answers(entries: Sequence[Entry], pool: str) -> int:
    return sum((stage := entry.stage(pool)) is not None and bool(stage.logprobs) for entry in entries)


def _less(goal: Goal, reserve: Reserve) -> Goal:
    """What thresholds have to keep, so that thresholds and boundaries together keep the goal."""
    if not reserve.stages or goal.confidence is None:
        return goal
    kept = goal.limit if goal.wish is Wish.SPEND else goal.limit - reserve.verdicts * len(reserve.stages)
    return Goal(goal.wish, kept, goal.confidence + reserve.error * len(reserve.stages))


def _boundaries(
    entries: Sequence[Entry], router: ModelRouter, scorers: Mapping[int, AnyScorer], choice: Choice, reserve: Reserve
) -> dict[int, Stopping]:
    """Stopping boundaries of every stage that is asked and something was reserved for, where any can be promised."""
    accepts = accepts_of(router)
    found = {}
    for place in (place for place in reserve.stages if choice.thresholds[place] < NEVER):
        (pool, accept), scorer = accepts[place], scorers[place]
        answers = _prefixes(entries, pool, accept, scorer) if isinstance(scorer, AnswerScorer) else None
        if answers is None:
            continue
        stopping = learn(answers, threshold=choice.thresholds[place], limit=reserve.verdicts, error=reserve.error)
        if stopping is not None:
            found[place] = stopping
    return found


def _prefixes(entries: Sequence[Entry], pool: str, accept: Accept, scorer: AnswerScorer) -> Prefixes | None:
    """Scores of every answer's beginnings; None where the log has no tokens."""
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


def _range(evaluated: Evaluated, choice: Choice, goal: Goal) -> Range:
    """Where an objective may move the threshold: no lower than the promise allows, as high as it likes."""
    (start,) = choice.thresholds
    kept = min((tested.thresholds[0] for tested in choice.tested), default=start)
    least, loss = (kept, goal.limit) if goal.wish is Wish.QUALITY_LOSS else (0, None)
    return Range(Scores.of(evaluated.table.scores[:, 0].tolist()), Limits(least, NEVER, start), loss)


def _moved(
    evaluated: Evaluated, today: Sequence[Entry], told: Sequence[Entry], now: Integers, router: ModelRouter
) -> list[Note]:
    """Whether the scores of today, `now` [n, k - 1], are still what they were; `told`: the answers that have one."""
    notes: list[Note] = []
    for stage, pool in enumerate(router.strategy_pools[:-1]):
        name, held = f"stage {stage + 1}", np.ones(len(today), bool)
        if router.spec.strategy.cascade:
            held = np.array([entry.stage(pool) is not None for entry in told])
            unscored = sum(entry.stage(pool) is not None for entry in today) - int(held.sum())
            if unscored:
                notes.append(_unscored(name, unscored, early=exits_early(router)))
            if unscored and exits_early(router):
                continue
        before = evaluated.table.scores[:, stage].astype(np.float64)
        notes += shift(before, now[held, stage].astype(np.float64), name=name)
    return notes


def _unscored(name: str, answers: int, *, early: bool) -> Note:
    """A verdict falls early where the score is far from the threshold: scores of the others are no sample of all."""
    text = f"{name}: {answers} of today's answers have no score"
    if not early:
        return Note(Finding.UNSCORED, f"{text} and were left out")
    return Note(
        Finding.UNSCORED,
        f"{text}, and those that have one are no sample: whether scores have moved takes a log of streaming Hold,"
        " or `pilotfish record`",
    )


def _finite_notes(entries: Sequence[Entry], router: ModelRouter) -> list[Note]:
    notes: list[Note] = []
    for pool in router.strategy_pools[:-1]:
        stages = (entry.stage(pool) for entry in entries)
        logprobs = [logprob for stage in stages if stage is not None for logprob in stage.logprobs or ()]
        notes += not_finite(logprobs, name=f"pool {pool!r}")
    return notes
