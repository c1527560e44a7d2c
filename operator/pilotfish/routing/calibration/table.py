"""Recorded outcomes as arrays, and what a router would have made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.routing.scorers.support import Floats

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """n requests, each answered by all of k pools, the first the cheapest, the last the reference.

    `scores` [n, k - 1] permille of accepting stage j (Cascade) or picking candidate j (Predictive); `quality` [n, k]
    from 0 to 1; `cost` [n, k] in one currency; `seconds` [n, k]. `cumulative`: a request that reaches stage j has
    paid for those before.
    """

    scores: Integers
    quality: Floats
    cost: Floats
    seconds: Floats
    cumulative: bool = True

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
            self.scores[places], self.quality[places], self.cost[places], self.seconds[places], self.cumulative
        )


@dataclass(frozen=True)
class Played:
    """What a router did with each of n requests: who answered (place of the pool), how well, for how much, in how
    long.
    """

    pool: Integers
    quality: Floats
    cost: Floats
    seconds: Floats


def play(table: Table, thresholds: Sequence[int]) -> Played:
    """Answer every request by the first pool whose score reaches its threshold, the last pool taking the rest."""
    accepted = np.concatenate([table.scores >= np.asarray(thresholds), np.ones((len(table), 1), bool)], axis=1)
    return _taken(table, accepted.argmax(axis=1))


def play_one(table: Table, pool: int) -> Played:
    """Answer every request by one pool alone."""
    places = np.full(len(table), pool)
    rows = np.arange(len(table))
    return Played(places, table.quality[:, pool], table.cost[rows, places], table.seconds[rows, places])


def _taken(table: Table, pool: Integers) -> Played:
    rows = np.arange(len(table))
    cost = table.cost.cumsum(axis=1) if table.cumulative else table.cost
    seconds = table.seconds.cumsum(axis=1) if table.cumulative else table.seconds
    return Played(pool, table.quality[rows, pool], cost[rows, pool], seconds[rows, pool])


def losses(table: Table, played: Played) -> Floats:
    """Quality lost against the last pool alone, request by request: between -1 and 1."""
    return np.asarray(table.quality[:, -1] - played.quality, np.float64)
