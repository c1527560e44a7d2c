"""Ranked passages, and the fusion of rankings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RRF_RANK = 60
"""The constant of reciprocal rank fusion, with the value of the paper."""


@dataclass(frozen=True, slots=True)
class Hits:
    """The places of passages, best first, and their scores."""

    places: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Match:
    """What one index found, and how relevant, from 0 to 1, it says that passages at given places are."""

    hits: Hits
    relevance: Callable[[NDArray[np.int64]], NDArray[np.float32]]


def best(scores: NDArray[np.float32], count: int, least: float = 0.0) -> Hits:
    """The at most `count` places with the highest scores above `least`; of equal ones the first."""
    if len(scores) > count:
        bound = max(float(np.partition(scores, -count)[-count]), least)
        places = np.flatnonzero(scores >= bound) if bound > least else np.flatnonzero(scores > least)
    else:
        places = np.flatnonzero(scores > least)
    places = places[np.argsort(-scores[places], kind="stable")][:count]
    return Hits(places, scores[places])


def fused(rankings: Sequence[Hits], count: int) -> Hits:
    """Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): the sum of 1 / (60 + rank)."""
    if len(rankings) == 1:
        return Hits(rankings[0].places[:count], rankings[0].scores[:count])
    sums: dict[int, float] = {}
    for hits in rankings:
        for rank, place in enumerate(hits.places.tolist(), 1):
            sums[place] = sums.get(place, 0.0) + 1 / (RRF_RANK + rank)
    ordered = sorted(sums, key=lambda place: (-sums[place], place))[:count]
    return Hits(np.array(ordered, np.int64), np.array([sums[place] for place in ordered], np.float32))
