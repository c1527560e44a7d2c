"""Stopping boundaries for EarlyExit, learned from recorded per-token scores.

As in group-sequential testing (Lan and DeMets, "Discrete Sequential Boundaries for Clinical Trials", Biometrika
1983), there are a few looks, and at each a prefix whose score lies outside two boundaries is decided at once. Half of
the examples says how far scores still move after each look; boundaries leave room for all but the share g of these
moves. The other half tests ever bolder g in a fixed sequence (Angelopoulos et al., "Learn then Test", 2021), each by
the Clopper-Pearson bound of the share of all decisions that differ from those without boundaries, until the
bound exceeds what is allowed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.arrays import Integers
from pilotfish.calibration.statistics.bounds import clopper_pearson
from pilotfish.plugin_api.boundaries import Boundaries

LOOKS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
BOLDNESS = (0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
"""Shares g that are tried, most cautious first."""
SPLIT_SEED = 20_240_905


@dataclass(frozen=True, slots=True)
class Stopping:
    """Boundaries, and what they did on the examples: share of changed decisions, share decided early, mean tokens
    judged.
    """

    boundaries: Boundaries
    promised_error: float
    changed: float
    decided_early: float
    mean_tokens: float
    mean_tokens_without: float


@dataclass(frozen=True)
class Prefixes:
    """n answers whose beginnings were scored.

    `scores` [n, looks]: of an answer's first tokens, as many as the look; `final` [n]: the score that decides without
    boundaries; `lengths` [n]: after how many tokens that is.
    """

    looks: Sequence[int]
    scores: Integers
    final: Integers
    lengths: Integers

    def rows(self, places: Integers) -> "Prefixes":
        """The same of some of the answers."""
        return Prefixes(self.looks, self.scores[places], self.final[places], self.lengths[places])


def learn(answers: Prefixes, *, threshold: int, limit: float, error: float) -> Stopping | None:
    """Learn boundaries for `threshold`: at most the share `limit` of all decisions changes, with probability 1 -
    `error`.

    None where the examples are too few to promise that of any boundary.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(answers.final))
    shape, test = answers.rows(order[: len(order) // 2]), answers.rows(order[len(order) // 2 :])
    best: Stopping | None = None
    for boldness in BOLDNESS:
        boundaries = _shaped(shape, threshold, boldness)
        changed, judged = _applied(boundaries, test)
        if clopper_pearson(int(changed.sum()), len(changed), error)[1] > limit:
            break
        early = float((judged < test.lengths).mean())
        best = Stopping(
            boundaries, limit, float(changed.mean()), early, float(judged.mean()), float(test.lengths.mean())
        )
    return best


def fewest_answers(limit: float, error: float) -> int:
    """With fewer answers nothing can be promised of any boundary: half are tested, and none of them may change."""
    return 2 * math.ceil(math.log(error) / math.log1p(-limit))


def _shaped(answers: Prefixes, threshold: int, boldness: float) -> Boundaries:
    """Boundaries that leave room for all but the share `boldness` of the moves from each look to the end."""
    rows = []
    for column, tokens in enumerate(answers.looks):
        reached = answers.lengths > tokens
        if not reached.any():
            break
        moves = answers.final[reached] - answers.scores[reached, column]
        fall, rise = np.quantile(moves, [boldness, 1 - boldness], method="inverted_cdf")
        # score + rise < threshold: too low to be accepted; score + fall >= threshold: too high to be rejected.
        reject_below, accept_from = threshold - int(max(rise, 0)), threshold - int(min(fall, 0))
        rows.append((tokens, max(0, reject_below), min(1001, max(accept_from, reject_below))))
    return Boundaries(threshold, tuple(rows))


def _applied(boundaries: Boundaries, answers: Prefixes) -> tuple[NDArray[np.bool_], Integers]:
    """Whether each answer's decision changes, and after how many tokens it is made."""
    accept = answers.final >= boundaries.threshold
    changed, judged = np.zeros(len(accept), bool), answers.lengths.copy()
    undecided = np.ones(len(accept), bool)
    for column, (tokens, reject_below, accept_from) in enumerate(boundaries.rows):
        score = answers.scores[:, column]
        here = undecided & (answers.lengths > tokens)
        rejected, accepted = here & (score < reject_below), here & (score >= accept_from)
        changed |= (rejected & accept) | (accepted & ~accept)
        judged[rejected | accepted] = tokens
        undecided &= ~(rejected | accepted)
    return changed, judged
