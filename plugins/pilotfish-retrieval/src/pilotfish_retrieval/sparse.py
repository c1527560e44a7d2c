"""Search by learned sparse vectors: weights of a vocabulary's terms, also of terms that the text does not contain.

Formal, Piwowarski and Clinchant, "SPLADE: Sparse Lexical and Expansion Model for First Stage Ranking", SIGIR 2021. The
pool returns a vector with one number for each term of its model's vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.errors import BadUpstream
from pilotfish_retrieval.ranking import Match, best
from pilotfish_retrieval.vectors import Rows, largest, matrix_of

NAME = "sparse"
STARTS, PLACES, WEIGHTS = "sparse-starts.npy", "sparse-places.npy", "sparse-weights.npy"


class SparseIndex:
    """For each term, the passages that have it and its weights there; and the rows of all passages."""

    def __init__(
        self, rows: Rows, starts: NDArray[np.int64], places: NDArray[np.int32], weights: NDArray[np.float32]
    ) -> None:
        self._rows = rows
        self._starts = starts
        self._places = places
        self._weights = weights

    @staticmethod
    def build(folder: Path) -> None:
        """Write the passages of each term."""
        rows = Rows.open(folder, NAME)
        terms = np.asarray(rows.indices)
        order = np.argsort(terms, kind="stable")
        owners = np.repeat(np.arange(len(rows), dtype=np.int32), np.diff(rows.offsets))
        starts = np.zeros(rows.width + 1, np.int64)
        starts[1:] = np.cumsum(np.bincount(terms, minlength=rows.width))
        np.save(folder / PLACES, owners[order])
        np.save(folder / WEIGHTS, rows.values[order])
        np.save(folder / STARTS, starts)

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """The index by memory map, None where the folder has none."""
        if not (folder / STARTS).exists():
            return None
        starts, places, weights = (np.load(folder / name, mmap_mode="r") for name in (STARTS, PLACES, WEIGHTS))
        return cls(Rows.open(folder, NAME), starts, places, weights)

    def search(self, vector: Sequence[float], count: int) -> Match:
        """The `count` passages with the largest product. Their relevance is the share of the question's weights whose
        terms they have. Raises BadUpstream for a vector of another model.
        """
        query = matrix_of([vector])[0]
        if len(query) != self._rows.width:
            widths = f"{len(query)} numbers, and those of the passages {self._rows.width}"
            raise BadUpstream(f"the sparse vector of a question has {widths}: prepare again with the pool's model")
        terms = largest(query)
        scores = np.zeros(len(self._rows), np.float32)
        for term in terms.tolist():
            start, end = self._starts[term], self._starts[term + 1]
            scores[self._places[start:end]] += query[term] * self._weights[start:end]
        asked = np.zeros(self._rows.width, np.float32)
        asked[terms] = query[terms] / (query[terms].sum() or 1)

        def shares(places: NDArray[np.int64]) -> NDArray[np.float32]:
            return np.array([asked[self._rows.take([place]).indices].sum() for place in places.tolist()], np.float32)

        return Match(best(scores, count), shares)
