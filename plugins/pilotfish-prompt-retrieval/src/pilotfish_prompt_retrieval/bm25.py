"""BM25 over the inputs of demonstrations (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009)."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.arrays import Floats
from pilotfish.plugin_api.words import words

SATURATION, LENGTH_WEIGHT = 1.2, 0.75


@dataclass(frozen=True, slots=True)
class Bm25:
    """The weight of each word in each of `count` documents. `postings`: by word, documents and weights."""

    count: int
    postings: Mapping[str, tuple[NDArray[np.int32], NDArray[np.float32]]]

    @classmethod
    def of(cls, strings: Sequence[str]) -> Self:
        """The index of the strings."""
        counted = [Counter(words(string)) for string in strings]
        lengths = [counts.total() for counts in counted]
        mean = sum(lengths) / len(lengths) or 1.0
        found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for place, (counts, length) in enumerate(zip(counted, lengths, strict=True)):
            norm = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * length / mean)
            for word, times in counts.items():
                found[word].append((place, times * (1 + SATURATION) / (times + norm)))
        postings = {
            word: (
                np.array([place for place, _ in entries], np.int32),
                np.array([weight * _rarity(len(entries), len(strings)) for _, weight in entries], np.float32),
            )
            for word, entries in found.items()
        }
        return cls(len(strings), postings)

    def similarities(self, question: str) -> Floats:
        """By document [count], its score as a share of the question's own, 0 to 1. Words that no document has
        lower all of them.
        """
        scores = np.zeros(self.count)
        own = 0.0
        for word in dict.fromkeys(words(question)):
            places, weights = self.postings.get(word, _NOWHERE)
            scores[places] += weights
            own += _rarity(len(places), self.count)
        return np.minimum(scores / own, 1.0) if own else scores

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The index as arrays."""
        pairs = list(self.postings.values())
        return {
            "words": np.array(list(self.postings), np.str_),
            "ends": np.cumsum([len(places) for places, _ in pairs], dtype=np.int64),
            "places": np.concatenate([places for places, _ in pairs] or [_NOWHERE[0]]),
            "weights": np.concatenate([weights for _, weights in pairs] or [_NOWHERE[1]]),
        }

    @classmethod
    def from_arrays(cls, count: int, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index that `to_arrays` returned."""
        ends = arrays["ends"][:-1]
        pairs = zip(np.split(arrays["places"], ends), np.split(arrays["weights"], ends), strict=True)
        return cls(count, dict(zip(arrays["words"].tolist(), pairs, strict=False)))


_NOWHERE = np.zeros(0, np.int32), np.zeros(0, np.float32)


def _rarity(containing: int, count: int) -> float:
    """The weight of a word that so many of `count` documents contain."""
    return log(1 + (count - containing + 0.5) / (containing + 0.5))
