"""From recorded outcomes and a goal to thresholds and a recommendation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import takewhile

import numpy as np

from pilotfish.base.arrays import Floats
from pilotfish.calibration.statistics.bounds import (
    betting_upper,
    clopper_pearson,
    examples_needed,
    examples_needed_in_expectation,
    mean_interval,
)
from pilotfish.calibration.statistics.control import (
    Spread,
    Tested,
    Thresholds,
    conformal,
    conformal_spread,
    learn_then_test,
    path_of,
    path_of_many,
    saving,
)
from pilotfish.calibration.statistics.diagnose import CalibrationWarning, WarningCode, blind, signal, spread
from pilotfish.calibration.statistics.table import Simulated, Table, losses, simulate, simulate_one

SPLIT_SEED = 20_240_402


class GoalType(StrEnum):
    """The quantity that the user limits."""

    QUALITY_LOSS = "QualityLoss"
    SPEND = "Spend"
    LARGE_SHARE = "LargeShare"

    @property
    def label(self) -> str:
        """The name in a sentence."""
        return {
            GoalType.QUALITY_LOSS: "quality loss",
            GoalType.SPEND: "spend",
            GoalType.LARGE_SHARE: "share of large calls",
        }[self]


@dataclass(frozen=True, slots=True)
class Goal:
    """`limit`: mean quality lost compared with the last pool alone (0 to 1), spend per 1,000 requests, or share of
    requests for the last pool (0 to 1).

    `confidence` with which the limit holds; None limits the expected value (conformal risk control, quality loss only).
    """

    type: GoalType
    limit: float
    confidence: float | None = 0.95

    @property
    def error(self) -> float:
        """Probability with which the guarantee may fail; 0.05 for tests beside a goal in expectation."""
        return 0.05 if self.confidence is None else 1.0 - self.confidence


class Recommendation(StrEnum):
    """What to do with the router."""

    ROUTE = "Route"
    """Small and large together, at the thresholds."""
    LARGE_ALONE = "LargeAlone"
    """Do not cascade."""
    SMALL_ALONE = "SmallAlone"
    """The first pool keeps the limit alone, or the budget allows nothing else."""
    AT_RANDOM = "AtRandom"
    """Small and large at random: the budget buys more quality, and the score does not show for which requests."""


@dataclass(frozen=True)
class Choice:
    """The recommendation, the thresholds if it is ROUTE, the reason as a sentence, and warnings.

    `large_permille`: the share of requests that the last pool gets at random, if AT_RANDOM. `kept`: whether the goal is
    kept; a budget may be less than the first pool alone costs. `spread`: of a promise in expectation, what single
    calibrations lose.
    """

    recommendation: Recommendation
    reason: str
    thresholds: Thresholds = ()
    tested: tuple[Tested, ...] = ()
    warnings: tuple[CalibrationWarning, ...] = ()
    examples: int = 0
    examples_needed: int | None = None
    large_permille: int | None = None
    kept: bool = True
    spread: Spread | None = None


@dataclass(frozen=True)
class _Case:
    """The input of a choice: all examples, those that thresholds are tested on, and the thresholds to try, most
    cautious first. `left`: the goal for thresholds alone, so that the whole goal is kept.
    """

    table: Table
    goal: Goal
    left: Goal
    tested_on: Table
    path: Sequence[Thresholds]
    warnings: tuple[CalibrationWarning, ...] = ()

    @classmethod
    def of(cls, table: Table, goal: Goal, left: Goal) -> "_Case":
        """With two pools, every threshold is tested on all examples; with more, one half suggests, the other tests."""
        tested_on, path = table, path_of(table) if table.scores.shape[1] == 1 else []
        if not path:
            order = np.random.default_rng(SPLIT_SEED).permutation(len(table))
            half = len(table) // 2
            most = left.limit if left.type is GoalType.QUALITY_LOSS else 1.0
            tested_on, path = table.rows(order[half:]), path_of_many(table.rows(order[:half]), most)
        return cls(table, goal, left, tested_on, path, tuple(_warnings(table, goal, len(tested_on))))

    @property
    def without_signal(self) -> bool:
        """Whether no stage's score is shown to separate good answers from bad ones."""
        bad = (WarningCode.NO_SIGNAL, WarningCode.INVERTED)
        without = {warning.message.split(":")[0] for warning in self.warnings if warning.code in bad}
        return len(without) == int(self.table.scores.shape[1])

    def choice(
        self,
        recommendation: Recommendation,
        reason: str,
        thresholds: Thresholds = (),
        tested: tuple[Tested, ...] = (),
        large_permille: int | None = None,
    ) -> Choice:
        """A choice with the fields that all choices share."""
        needed = _needed(self.goal) if self.goal.type is GoalType.QUALITY_LOSS else None
        spread = None
        if self.left.confidence is None and (thresholds or recommendation is Recommendation.SMALL_ALONE):
            spread = conformal_spread(self.tested_on, self.path, limit=self.left.limit)
        count = len(self.tested_on)
        return Choice(
            recommendation,
            reason,
            thresholds,
            tested,
            self.warnings,
            count,
            needed,
            large_permille,
            spread=spread,
        )


def choose(table: Table, goal: Goal, *, left: Goal | None = None) -> Choice:
    """Thresholds for the goal, or the reason why there are none. Raises ValueError for a goal that is not supported.

    `left`: the goal for thresholds if stopping boundaries use the rest (None: the whole goal). Random routing has no
    boundaries and may use the whole goal.
    """
    if goal.confidence is None and goal.type is not GoalType.QUALITY_LOSS:
        raise ValueError("only a quality loss can be guaranteed in expectation: give a confidence")
    case = _Case.of(table, goal, left or goal)
    return _by_quality(case) if goal.type is GoalType.QUALITY_LOSS else _by_budget(case)


def _warnings(table: Table, goal: Goal, tested: int) -> list[CalibrationWarning]:
    found: list[CalibrationWarning] = []
    for stage in range(table.scores.shape[1]):
        scores = table.scores[:, stage].astype(np.float64)
        name = f"stage {stage + 1}"
        found += signal(scores, _good_enough(table, stage), error=goal.error, name=name)
        if goal.type is GoalType.QUALITY_LOSS and table.cumulative:
            found += blind(scores, table.quality[:, stage], error=goal.error, name=name)
        found += spread(scores, name=name)
    if goal.type is GoalType.QUALITY_LOSS:
        needed = _needed(goal)
        if tested < needed:
            text = (
                f"{tested} examples; a guarantee of {goal.limit:.2%} needs at least {needed}, even if nothing is lost"
            )
            found.append(CalibrationWarning(WarningCode.TOO_FEW, text))
    return found


def _needed(goal: Goal) -> int:
    if goal.confidence is None:
        return examples_needed_in_expectation(goal.limit)
    return examples_needed(goal.limit, goal.error)


def _good_enough(table: Table, stage: int) -> Floats:
    """1 where the stage's answer is as good as the last pool's, because accepting it loses nothing then."""
    return (table.quality[:, stage] >= table.quality[:, -1]).astype(np.float64)


def _by_quality(case: _Case) -> Choice:
    table, goal, left, tested_on = case.table, case.goal, case.left, case.tested_on
    if left.confidence is None:
        passed = tuple(conformal(tested_on, case.path, limit=left.limit))
    else:
        passed = tuple(learn_then_test(tested_on, case.path, limit=left.limit, error=left.error))

    def large_alone(reason: str) -> Choice:
        return case.choice(Recommendation.LARGE_ALONE, f"do not cascade: {reason}", tested=passed)

    if not passed:
        return large_alone("no threshold keeps the limit on these examples")
    # The first pool alone is a point of the same path. A second test with the whole goal would use the error twice.
    if any(_accepts_all(table, entry.thresholds) for entry in passed):
        reason = "the first pool alone keeps the limit, so nothing needs to be escalated"
        return case.choice(Recommendation.SMALL_ALONE, reason, tested=passed)
    if case.without_signal:
        return large_alone("the score does not separate good answers from bad ones")
    best = max(passed, key=lambda entry: float(saving(table, simulate(table, entry.thresholds)).mean()))
    simulated = simulate(tested_on, best.thresholds)
    saved = saving(tested_on, simulated)
    low, _ = mean_interval(saved, 1 - 2 * goal.error)
    reference = float(table.cost[:, -1].mean())
    share = float(saved.mean()) / reference if reference > 0 else 0.0
    if low <= 0:
        return large_alone(
            f"thresholds that keep the limit are not shown to cost less than the last pool (saving {share:.1%})"
        )
    coin = _coin_saving(tested_on, goal)
    if share <= coin:
        return large_alone(
            f"within the limit it saves {share:.1%}, and random routing would save {coin:.1%};"
            " use strategy Weighted if that is sufficient"
        )
    gain, surely = _over_chance(tested_on, simulated, goal)
    if surely <= 0:
        return large_alone(
            f"the saving of {share:.1%} is not shown to come from the score: random routing at the same cost"
            f" may do as well (gain {gain:+.3f}, may be none); record more examples to find out"
        )
    reason = f"saves {share:.1%} of the last pool's cost within the limit"
    return case.choice(Recommendation.ROUTE, reason, best.thresholds, passed)


def _coin_saving(table: Table, goal: Goal) -> float:
    """The share of the last pool's cost that random routing saves within the same limit. A score has to save more."""
    lost = losses(table, simulate_one(table, 0))
    if goal.confidence is None:
        most = (float(np.maximum(lost, 0.0).sum()) + 1.0) / (len(lost) + 1)
    else:
        most = betting_upper(lost, low=-1.0, high=1.0, error=goal.error)
    small, large = float(table.cost[:, 0].mean()), float(table.cost[:, -1].mean())
    share = min(1.0, goal.limit / most) if most > 0 else 1.0
    return share * (1 - small / large) if large > 0 else 0.0


def _accepts_all(table: Table, thresholds: Thresholds) -> bool:
    return bool((table.scores[:, 0] >= thresholds[0]).all())


def _by_budget(case: _Case) -> Choice:
    """Thresholds are tried from the cheapest on, until one is not within the budget (fixed-sequence testing)."""
    tested_on, goal, left = case.tested_on, case.goal, case.left
    last = tested_on.quality.shape[1] - 1

    def within(each: tuple[Thresholds, Simulated]) -> bool:
        if left.type is GoalType.SPEND:
            return _spend(each[1].cost, left) <= left.limit
        large = int((each[1].pool == last).sum())
        return clopper_pearson(large, len(tested_on), left.error)[1] <= left.limit

    cheapest_first = ((thresholds, simulate(tested_on, thresholds)) for thresholds in reversed(case.path))
    passed = list(takewhile(within, cheapest_first))
    if passed and not case.without_signal:
        best, simulated = max(passed, key=lambda each: float(each[1].quality.mean()))
        gain, surely = _over_chance(tested_on, simulated, goal)
        if surely > 0:
            return case.choice(
                Recommendation.ROUTE, f"gains {gain:+.3f} quality over random routing at the same cost", best
            )
    return _by_chance(case)


def _by_chance(case: _Case) -> Choice:
    """If the score gains nothing: as much of the last pool as the budget allows, if that pool is better."""
    table, wanted = case.tested_on, case.goal.type.label
    large = _large_permille(table, case.goal)
    if large is None:
        reason = f"do not cascade: nothing keeps the limit on the {wanted}; the first pool alone comes closest"
        return replace(case.choice(Recommendation.SMALL_ALONE, reason), kept=False)
    if table.quality[:, -1].mean() <= table.quality[:, 0].mean():
        return case.choice(Recommendation.SMALL_ALONE, "do not cascade: the last pool is not better than the first one")
    reason = f"do not cascade: the limit on the {wanted} allows it, and random routing may do as well as the score"
    if 0 < large < 1000:
        return case.choice(Recommendation.AT_RANDOM, reason, large_permille=large)
    return case.choice(Recommendation.LARGE_ALONE if large else Recommendation.SMALL_ALONE, reason)


def _large_permille(table: Table, goal: Goal) -> int | None:
    """Of 1,000 requests, how many the last pool may get at random within the budget; None if the first pool alone
    exceeds it.
    """
    if goal.type is GoalType.LARGE_SHARE:
        return min(1000, math.floor(1000 * goal.limit + 1e-9))
    small, extra = table.cost[:, 0], (table.cost[:, -1] - table.cost[:, 0]) / 1000
    return max((large for large in range(1001) if _spend(small + large * extra, goal) <= goal.limit), default=None)


def _spend(cost: Floats, goal: Goal) -> float:
    """An upper bound of what 1,000 requests cost."""
    return 1000 * mean_interval(cost, 1 - 2 * goal.error)[1]


def _over_chance(table: Table, simulated: Simulated, goal: Goal) -> tuple[float, float]:
    """Quality gained over random routing at the same mean cost: the mean and its lower bound."""
    small, large = float(table.cost[:, 0].mean()), float(table.cost[:, -1].mean())
    chance = 1.0 if large <= small else min(1.0, max(0.0, (float(simulated.cost.mean()) - small) / (large - small)))
    coin = (1 - chance) * table.quality[:, 0] + chance * table.quality[:, -1]
    gains = simulated.quality - coin
    return float(gains.mean()), mean_interval(gains, 1 - 2 * goal.error)[0]


def mean_loss(table: Table, thresholds: Thresholds) -> float:
    """Mean quality lost against the last pool alone at these thresholds."""
    return float(losses(table, simulate(table, thresholds)).mean())
