"""Recorded outcomes as arrays, and what a router would have made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from pilotfish.base.arrays import Floats, Integers
from pilotfish.routing.threshold_control import NEVER


@dataclass(frozen=True)
class Judging:
    """What a cascade takes beside its answers.

    `cost` and `seconds` [n, k] of judging each; `due` [n, k]: the share of an answer's own that is due though it was
    rejected.
    """

    cost: Floats
    seconds: Floats
    due: Floats

    @classmethod
    def free(cls, shape: tuple[int, ...]) -> Self:
        """Judged for nothing, when the answer was there in full."""
        return cls(np.zeros(shape), np.zeros(shape), np.ones(shape))

    def rows(self, places: Integers) -> Self:
        """The same of some of the requests."""
        return type(self)(self.cost[places], self.seconds[places], self.due[places])


@dataclass(frozen=True)
class Table:
    """n requests, each answered by all of k pools, the first the cheapest, the last the reference.

    `scores` [n, k - 1] permille of accepting stage j (Cascade) or picking candidate j (Predictive); `quality` [n, k]
    from 0 to 1; `cost` [n, k] in one currency and `seconds` [n, k] of the answers. `cumulative`: a request that
    reaches stage j has paid for those before, and for `judging` up to it (None: free).
    """

    scores: Integers
    quality: Floats
    cost: Floats
    seconds: Floats
    cumulative: bool = True
    judging: Judging | None = None

    def __post_init__(self) -> None:
        rows, pools = self.quality.shape
        if (
            self.scores.shape != (rows, pools - 1)
            or self.cost.shape != (rows, pools)
            or self.seconds.shape != (rows, pools)
        ):
            raise ValueError("scores are [n, k - 1], quality, cost and seconds [n, k]")

    def __len__(self) -> int:
        return len(self.quality)

    def rows(self, places: Integers) -> Self:
        """The same of some of the requests."""
        return type(self)(
            self.scores[places],
            self.quality[places],
            self.cost[places],
            self.seconds[places],
            self.cumulative,
            self.judging and self.judging.rows(places),
        )


@dataclass(frozen=True)
class Simulated:
    """What a router did with each of n requests: who answered (place of the pool), how well, for how much, in how
    long.
    """

    pool: Integers
    quality: Floats
    cost: Floats
    seconds: Floats


def simulate(table: Table, thresholds: Sequence[int]) -> Simulated:
    """Answer every request by the first pool whose score reaches its threshold, the last pool taking the rest.

    A stage at NEVER is not asked.
    """
    wanted = np.asarray(thresholds)
    pool = np.concatenate([table.scores >= wanted, np.ones((len(table), 1), bool)], axis=1).argmax(axis=1)
    judging = table.judging or Judging.free(table.cost.shape)
    places = np.arange(table.cost.shape[1])
    asked = (places <= pool[:, None]) & np.append(wanted < NEVER, True) & table.cumulative
    due = asked * judging.due
    rows = np.arange(len(table))
    due[rows, pool] = 1.0
    return Simulated(
        pool,
        table.quality[rows, pool],
        (table.cost * due + judging.cost * asked).sum(axis=1),
        (table.seconds * due + judging.seconds * asked).sum(axis=1),
    )


def simulate_one(table: Table, pool: int) -> Simulated:
    """Answer every request by one pool alone, without judging."""
    return Simulated(np.full(len(table), pool), table.quality[:, pool], table.cost[:, pool], table.seconds[:, pool])


def losses(table: Table, simulated: Simulated) -> Floats:
    """Quality lost against the last pool alone, request by request: between -1 and 1."""
    return np.asarray(table.quality[:, -1] - simulated.quality, np.float64)
