"""Stopping boundaries for EarlyExit, learned from recorded per-token scores.

As in group-sequential testing (Lan and DeMets, "Discrete Sequential Boundaries for Clinical Trials", Biometrika
1983), an error is spent over looks: at each of a few token counts a prefix whose score lies outside two boundaries is
decided at once. The error is that the prefix's verdict is not the one that the whole answer (or its first
`decideWithinTokens` tokens) would have got. Each boundary is the boldest one whose share of wrong verdicts has a
Clopper-Pearson bound within its look's share of the error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilotfish.routing.boundaries import Boundaries
from pilotfish.routing.calibration.bounds import clopper_pearson
from pilotfish.routing.calibration.table import Integers

LOOKS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True, slots=True)
class Stopping:
    """Boundaries, and what they did on the examples: share of changed verdicts, share decided early, mean tokens
    judged.
    """

    boundaries: Boundaries
    promised_error: float
    changed: float
    decided_early: float
    mean_tokens: float
    mean_tokens_without: float


def learn(
    prefixes: Integers,
    final: Integers,
    lengths: Integers,
    looks: Sequence[int],
    *,
    threshold: int,
    limit: float,
    error: float,
) -> Stopping:
    """Learn boundaries for `threshold`.

    `prefixes` [n, looks]: the score of each answer's first tokens, as many as the look; `final` [n]: the score that
    decides without boundaries; `lengths` [n]: after how many tokens. `limit`: share of all verdicts that may change;
    it holds with probability 1 - `error`.
    """
    accept = final >= threshold
    open_ = np.ones(len(final), bool)
    judged = lengths.copy()
    changed = np.zeros(len(final), bool)
    rows: list[tuple[int, int, int]] = []
    share, part = limit / (2 * len(looks)), error / (2 * len(looks))
    for look, tokens in enumerate(looks):
        # Answers decided at an earlier look still count here: else a boundary would hang on the ones before it, and the
        # bound would hold for none of them.
        reached = lengths > tokens
        reject_below = _boldest(prefixes[reached, look], accept[reached], len(final), share, part)
        accept_from = 1001 - _boldest(1000 - prefixes[reached, look], ~accept[reached], len(final), share, part)
        accept_from = max(accept_from, reject_below)
        rows.append((tokens, reject_below, accept_from))
        here = open_ & reached
        rejected, accepted = here & (prefixes[:, look] < reject_below), here & (prefixes[:, look] >= accept_from)
        changed |= (rejected & accept) | (accepted & ~accept)
        judged[rejected | accepted] = tokens
        open_ &= ~(rejected | accepted)
    early = float((~open_).mean())
    return Stopping(
        Boundaries(threshold, tuple(rows)),
        limit,
        float(changed.mean()),
        early,
        float(judged.mean()),
        float(lengths.mean()),
    )


def _boldest(scores: Integers, wrong: NDArray[np.bool_], total: int, share: float, error: float) -> int:
    """The greatest bound b (0 to 1001) such that `score < b` is wrong for at most `share` of all requests."""
    order = np.argsort(scores, kind="stable")
    ordered, mistakes = scores[order], np.cumsum(wrong[order])
    best = 0
    # Cautious first, as in fixed-sequence testing: the first bound that fails ends it.
    for bound in [*np.unique(ordered).tolist(), 1001]:
        below = int(np.searchsorted(ordered, bound))
        if clopper_pearson(int(mistakes[below - 1]) if below else 0, total, error)[1] > share:
            break
        best = int(bound)
    return best
