"""Search by the cosine of dense vectors (Karpukhin et al., "Dense Passage Retrieval", EMNLP 2020).

Up to EXACT passages are compared by one matrix product. More of them are first compared by the signs of their numbers,
64 in one machine word, and the best of these exactly: Yamada, Asai and Hajishirzi, "Efficient Passage Retrieval with
Hashing for Open-domain Question Answering", ACL 2021.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.errors import BadUpstream
from pilotfish_retrieval.ranking import Hits, Match, best
from pilotfish_retrieval.vectors import Rows, matrix_of

NAME = "dense"
CODES, CENTER = "dense-codes.npy", "dense-center.npy"
EXACT = 20_000
RESCORED = 40
"""How many passages for each one that is asked for are compared exactly."""
LEAST_RESCORED = 1000
WORD = 64
CHUNK = 20_000


Signs = tuple[NDArray[np.uint64], NDArray[np.float32]]
"""The signs of all vectors minus their mean, and the mean."""


class DenseIndex:
    """The vectors [n, width] of all passages, at length 1; and their signs, where there are many."""

    def __init__(self, matrix: NDArray[np.float32], signs: Signs | None) -> None:
        self._matrix = matrix
        self._signs = signs

    @staticmethod
    def build(folder: Path, exact: int = EXACT) -> None:
        """Write the signs for vectors that are more than `exact`."""
        matrix = Rows.open(folder, NAME).dense()
        if len(matrix) > exact:
            center = matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
            parts = [_codes(matrix[at : at + CHUNK] - center) for at in range(0, len(matrix), CHUNK)]
            np.save(folder / CODES, np.concatenate(parts))
            np.save(folder / CENTER, center)

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """The index by memory map, None where the folder has none."""
        if not (folder / f"{NAME}-values.npy").exists():
            return None
        signs = None
        if (folder / CODES).exists():
            signs = np.load(folder / CODES, mmap_mode="r"), np.load(folder / CENTER)
        return cls(Rows.open(folder, NAME).dense(), signs)

    def search(self, vector: Sequence[float], count: int) -> Match:
        """The `count` nearest passages and their cosines. Raises BadUpstream for a vector of another model."""
        query = matrix_of([vector])[0]
        if len(query) != self._matrix.shape[1]:
            widths = f"{len(query)} numbers, and those of the passages {self._matrix.shape[1]}"
            raise BadUpstream(f"the vector of a question has {widths}: prepare again with the pool's model")
        query /= np.linalg.norm(query) or 1

        def cosines(places: NDArray[np.int64]) -> NDArray[np.float32]:
            return np.asarray(self._matrix[places] @ query, np.float32)

        if self._signs is None:
            return Match(best(np.asarray(self._matrix @ query), count), cosines)
        places = _nearest_signs(self._signs, query, max(LEAST_RESCORED, RESCORED * count))
        hits = best(cosines(places), count)
        return Match(Hits(places[hits.places], hits.scores), cosines)


def _nearest_signs(signs: Signs, query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The places of the `count` passages whose signs differ least from those of the query, in order of place."""
    codes, center = signs
    if count >= len(codes):
        return np.arange(len(codes), dtype=np.int64)
    code = _codes((query - center)[None])[0]
    differing = np.zeros(len(codes), np.uint16)
    for word in range(codes.shape[1]):
        differing += np.bitwise_count(codes[:, word] ^ code[word])
    return np.sort(np.argpartition(differing, count)[:count])


def _codes(rows: NDArray[np.float32]) -> NDArray[np.uint64]:
    """The signs of each row, WORD in a number [n, width / WORD]."""
    padding = -rows.shape[1] % WORD
    bits = np.pad(rows > 0, ((0, 0), (0, padding)))
    return np.packbits(bits, axis=1).view(np.uint64)
