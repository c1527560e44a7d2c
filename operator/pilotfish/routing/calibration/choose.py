"""From recorded outcomes and a wish to thresholds and a plain verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from pilotfish.routing.calibration.bounds import betting_upper, clopper_pearson, examples_needed, mean_interval
from pilotfish.routing.calibration.control import (
    Tested,
    Thresholds,
    conformal,
    learn_then_test,
    path_of,
    path_of_many,
    saving,
)
from pilotfish.routing.calibration.diagnose import Finding, Note, blind, signal, spread
from pilotfish.routing.calibration.table import Played, Table, losses, play, play_one
from pilotfish.routing.scorers.support import Floats

SPLIT_SEED = 20_240_402


class Wish(StrEnum):
    """What the user sets; the rest is made as good as it can be."""

    QUALITY_LOSS = "QualityLoss"
    SPEND = "Spend"
    LARGE_SHARE = "LargeShare"


@dataclass(frozen=True, slots=True)
class Goal:
    """`limit`: mean quality lost against the last pool alone (0 to 1), spend per 1,000 requests, or share of large
    calls.

    `confidence` of the promise; None promises the expected value (conformal risk control; quality loss alone).
    """

    wish: Wish
    limit: float
    confidence: float | None = 0.95

    @property
    def error(self) -> float:
        """Probability with which a promise may fail; of decisions beside it where none is given."""
        return 0.05 if self.confidence is None else 1.0 - self.confidence


class Verdict(StrEnum):
    """What the router should be."""

    ROUTE = "Route"
    """Small and large together, at the thresholds."""
    LARGE_ALONE = "LargeAlone"
    """Do not cascade."""
    SMALL_ALONE = "SmallAlone"
    """The first pool keeps the promise without help."""


@dataclass(frozen=True)
class Choice:
    """The verdict, the thresholds where it is ROUTE, the reason in words, and what was noticed on the way."""

    verdict: Verdict
    reason: str
    thresholds: Thresholds = ()
    tested: tuple[Tested, ...] = ()
    notes: tuple[Note, ...] = ()
    examples: int = 0
    examples_needed: int | None = None
    played: Played | None = field(default=None, repr=False)


def choose(table: Table, goal: Goal) -> Choice:
    """Thresholds for the goal, or the reason why there are none. Raises ValueError for a goal that cannot be meant."""
    notes = tuple(_notes(table, goal))
    if goal.wish is Wish.QUALITY_LOSS:
        return _by_quality(table, goal, notes)
    if goal.confidence is None:
        raise ValueError("only a quality loss can be promised in expectation: give a confidence")
    return _by_budget(table, goal, notes)


def _notes(table: Table, goal: Goal) -> list[Note]:
    found: list[Note] = []
    for stage in range(table.scores.shape[1]):
        scores = table.scores[:, stage].astype(np.float64)
        name = f"stage {stage + 1}"
        found += signal(scores, _good_enough(table, stage), error=goal.error, name=name)
        if goal.wish is Wish.QUALITY_LOSS and table.cumulative:
            found += blind(scores, table.quality[:, stage], error=goal.error, name=name)
        found += spread(scores, name=name)
    if goal.wish is Wish.QUALITY_LOSS:
        needed = examples_needed(goal.limit, goal.error)
        if len(table) < needed:
            text = f"{len(table)} examples; a promise of {goal.limit:.2%} needs {needed}, even where nothing is lost"
            found.append(Note(Finding.TOO_FEW, text))
    return found


def _good_enough(table: Table, stage: int) -> Floats:
    """1 where the stage's answer is as good as the last pool's. That, not being right, is what accepting it risks."""
    return (table.quality[:, stage] >= table.quality[:, -1]).astype(np.float64)


def _by_quality(table: Table, goal: Goal, notes: tuple[Note, ...]) -> Choice:
    needed = examples_needed(goal.limit, goal.error)
    tested_on, path = _split(table, goal)
    if goal.confidence is None:
        passed = conformal(tested_on, path, limit=goal.limit)
    else:
        passed = learn_then_test(tested_on, path, limit=goal.limit, error=goal.error)
    tested = tuple(passed)

    def choice(verdict: Verdict, reason: str, thresholds: Thresholds = ()) -> Choice:
        played = play(table, thresholds) if thresholds else None
        return Choice(verdict, reason, thresholds, tested, notes, len(tested_on), needed, played)

    if not passed:
        return choice(Verdict.LARGE_ALONE, "do not cascade: no threshold keeps the promise on these examples")
    if any(_accepts_all(table, entry.thresholds) for entry in passed):
        return choice(Verdict.SMALL_ALONE, "the first pool alone keeps the promise: nothing needs to be escalated")
    if _without_signal(notes, table):
        return choice(Verdict.LARGE_ALONE, "do not cascade: the score does not tell good answers from bad ones")
    best = max(passed, key=lambda entry: float(saving(table, play(table, entry.thresholds)).mean()))
    saved = saving(tested_on, play(tested_on, best.thresholds))
    low, _ = mean_interval(saved, 1 - 2 * goal.error)
    reference = float(table.cost[:, -1].mean())
    share = float(saved.mean()) / reference if reference > 0 else 0.0
    if low <= 0:
        return choice(
            Verdict.LARGE_ALONE,
            f"do not cascade: what keeps the promise is not shown to be cheaper than the last pool (saves {share:.1%})",
        )
    coin = _coin_saving(tested_on, goal)
    if share <= coin:
        reason = (
            f"do not cascade: within the promise it saves {share:.1%}, and a coin would save {coin:.1%};"
            " use strategy Weighted if that is worth it"
        )
        return choice(Verdict.LARGE_ALONE, reason)
    gain, surely = _over_chance(tested_on, play(tested_on, best.thresholds), goal)
    if surely <= 0:
        reason = (
            f"do not cascade: what it saves ({share:.1%}) is not shown to be the score's doing: a coin at the same cost"
            f" may do as well (gain {gain:+.3f}, may be none); more examples would tell"
        )
        return choice(Verdict.LARGE_ALONE, reason)
    return choice(Verdict.ROUTE, f"saves {share:.1%} of the last pool's cost within the promise", best.thresholds)


def _coin_saving(table: Table, goal: Goal) -> float:
    """The share of the last pool's cost that a coin saves which keeps the same promise: a score has to do better
    than that.
    """
    lost = losses(table, play_one(table, 0))
    if goal.confidence is None:
        most = (float(np.maximum(lost, 0.0).sum()) + 1.0) / (len(lost) + 1)
    else:
        most = betting_upper(lost, low=-1.0, high=1.0, error=goal.error)
    small, large = float(table.cost[:, 0].mean()), float(table.cost[:, -1].mean())
    share = min(1.0, goal.limit / most) if most > 0 else 1.0
    return share * (1 - small / large) if large > 0 else 0.0


def _split(table: Table, goal: Goal) -> tuple[Table, Sequence[Thresholds]]:
    """The examples to test on, and the path to test: of two pools every threshold, of more what the other half
    suggests.
    """
    if table.scores.shape[1] == 1:
        return table, path_of(table)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(table))
    half = len(table) // 2
    return table.rows(order[half:]), path_of_many(table.rows(order[:half]), goal.limit)


def _accepts_all(table: Table, thresholds: Thresholds) -> bool:
    return bool((table.scores[:, 0] >= thresholds[0]).all())


def _without_signal(notes: Sequence[Note], table: Table) -> bool:
    without = {note.text.split(":")[0] for note in notes if note.finding in (Finding.NO_SIGNAL, Finding.INVERTED)}
    return len(without) == int(table.scores.shape[1])


def _by_budget(table: Table, goal: Goal, notes: tuple[Note, ...]) -> Choice:
    path = path_of(table) if table.scores.shape[1] == 1 else path_of_many(table, 1.0)
    within = [thresholds for thresholds in path if _within(play(table, thresholds), table, goal)]
    wanted = "spend" if goal.wish is Wish.SPEND else "share of large calls"
    if not within:
        return Choice(
            Verdict.SMALL_ALONE,
            f"do not cascade: no threshold keeps to the {wanted} wished for; the first pool alone comes closest",
            notes=notes,
            examples=len(table),
        )
    best = max(within, key=lambda thresholds: float(play(table, thresholds).quality.mean()))
    played = play(table, best)
    gain, low = _over_chance(table, played, goal)
    if low <= 0:
        reason = (
            f"do not cascade: at this {wanted} a coin does as well as the score (gain {gain:+.3f}, may be none);"
            " use strategy Weighted if the budget is to be used up"
        )
        return Choice(Verdict.SMALL_ALONE, reason, (), (), notes, len(table), None, None)
    return Choice(
        Verdict.ROUTE,
        f"gains {gain:+.3f} quality over a coin at the same cost",
        best,
        (),
        notes,
        len(table),
        None,
        played,
    )


def _within(played: Played, table: Table, goal: Goal) -> bool:
    if goal.wish is Wish.SPEND:
        return bool(1000 * mean_interval(played.cost, 1 - 2 * goal.error)[1] <= goal.limit)
    large = int((played.pool == table.quality.shape[1] - 1).sum())
    return bool(clopper_pearson(large, len(table), goal.error)[1] <= goal.limit)


def _over_chance(table: Table, played: Played, goal: Goal) -> tuple[float, float]:
    """Quality gained over a coin between first and last pool of the same mean cost: the mean and its lower bound."""
    cheap, dear = float(table.cost[:, 0].mean()), float(table.cost[:, -1].mean())
    chance = 1.0 if dear <= cheap else min(1.0, max(0.0, (float(played.cost.mean()) - cheap) / (dear - cheap)))
    coin = (1 - chance) * table.quality[:, 0] + chance * table.quality[:, -1]
    gains = played.quality - coin
    return float(gains.mean()), mean_interval(gains, 1 - 2 * goal.error)[0]


def mean_loss(table: Table, thresholds: Thresholds) -> float:
    """Mean quality lost against the last pool alone at these thresholds."""
    return float(losses(table, play(table, thresholds)).mean())
