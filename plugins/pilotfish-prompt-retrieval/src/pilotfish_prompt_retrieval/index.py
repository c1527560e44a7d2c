"""The prepared folder: demonstrations with their usefulness, a BM25 index of their inputs, and vectors of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Self

import numpy as np
import orjson
from numpy.typing import NDArray

from pilotfish.base.arrays import Floats
from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish.plugin_api.words import words
from pilotfish_prompt_retrieval.bm25 import Bm25
from pilotfish_prompt_retrieval.demonstrations import Demonstration

DEMONSTRATIONS, BM25 = "demonstrations.jsonl", "bm25.npz"
VECTORS = "vectors-{:05}.npy"
TURN_TOKENS = 10
"""What the template of a chat adds to a question and its answer."""


@dataclass(frozen=True, slots=True)
class Known:
    """A demonstration with its usefulness, from -1 to 1."""

    demonstration: Demonstration
    usefulness: float
    tokens: int

    @classmethod
    def of(cls, demonstration: Demonstration, usefulness: float) -> Self:
        """With the estimated number of tokens."""
        cost = estimate_tokens(demonstration.input) + estimate_tokens(demonstration.output) + TURN_TOKENS
        return cls(demonstration, usefulness, cost)


@dataclass(frozen=True, slots=True)
class Found:
    """A demonstration of which `similarity` and the product with usefulness, `rank`, are known."""

    place: int
    known: Known
    words: frozenset[str]
    similarity: float
    rank: float


@dataclass(frozen=True, slots=True)
class Index:
    """What was prepared. `factors` [n] are 1 + usefulness; `vectors` [n, d] have length 1, None without Embed pool."""

    known: Sequence[Known]
    factors: Floats
    bm25: Bm25
    vectors: NDArray[np.float32] | None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The index in a prepared folder."""
        rows = [orjson.loads(line) for line in (folder / DEMONSTRATIONS).read_bytes().splitlines()]
        known = [Known.of(Demonstration.model_validate(row), row["usefulness"]) for row in rows]
        factors = np.array([1 + each.usefulness for each in known])
        shards = sorted(folder.glob(VECTORS.format(0).replace("00000", "*")))
        vectors = np.concatenate([np.load(shard) for shard in shards]) if shards else None
        with np.load(folder / BM25) as arrays:
            return cls(known, factors, Bm25.from_arrays(len(known), arrays), vectors)

    def similarities(self, question: str, vector: NDArray[np.float32] | None) -> Floats:
        """Of each demonstration's input with the question, 0 to 1. By BM25 where there is no vector."""
        if self.vectors is None or vector is None:
            return self.bm25.similarities(question)
        return np.clip(np.asarray(self.vectors @ vector, np.float64), 0.0, 1.0)

    def best(self, similarities: Floats, least: float, count: int) -> list[Found]:
        """At most `count` demonstrations with the highest rank, similarity * (1 + usefulness), best first."""
        ranks = np.where((similarities > 0) & (similarities >= least), similarities * self.factors, 0.0)
        order = np.argsort(-ranks, kind="stable")[:count]
        return [self._found(int(place), similarities, ranks) for place in order if ranks[place] > 0]

    def _found(self, place: int, similarities: Floats, ranks: Floats) -> Found:
        known = self.known[place]
        used = frozenset(words(known.demonstration.input))
        return Found(place, known, used, float(similarities[place]), float(ranks[place]))

    def between(self, first: Found, second: Found) -> float:
        """The similarity of two demonstrations, 0 to 1: the cosine of their vectors or of their sets of words."""
        if self.vectors is not None:
            return float(np.clip(self.vectors[first.place] @ self.vectors[second.place], 0.0, 1.0))
        one, other = first.words, second.words
        return len(one & other) / sqrt(len(one) * len(other)) if one and other else 0.0

    def diverse(self, candidates: Sequence[Found], count: int, most_tokens: int, diversity: float) -> list[Found]:
        """At most `count` candidates within `most_tokens`, each the best one left after those chosen before.

        A rank is multiplied by 1 - `diversity` * (the similarity with the nearest of those chosen before).
        """
        chosen: list[Found] = []
        nearest = {each.place: 0.0 for each in candidates}
        left = [each for each in candidates if each.known.tokens <= most_tokens]
        while left and len(chosen) < count:
            best = max(left, key=lambda each: each.rank * (1 - diversity * nearest[each.place]))
            chosen.append(best)
            most_tokens -= best.known.tokens
            left = [each for each in left if each is not best and each.known.tokens <= most_tokens]
            for each in left:
                nearest[each.place] = max(nearest[each.place], self.between(each, best))
        return chosen


def lines_of(known: Sequence[tuple[Demonstration, float]]) -> bytes:
    """The content of the file of demonstrations."""
    rows = ({**each.model_dump(), "usefulness": usefulness} for each, usefulness in known)
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def shards_of(inputs: Sequence[str], size: int) -> Iterator[tuple[str, Sequence[str]]]:
    """The name of each file of vectors, with the inputs whose vectors it holds."""
    for number, start in enumerate(range(0, len(inputs), size)):
        yield VECTORS.format(number), inputs[start : start + size]
