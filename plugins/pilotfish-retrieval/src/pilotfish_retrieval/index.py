"""The prepared folder as a whole: its passages, and the indexes that the mode uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from pilotfish.base.errors import ConfigError
from pilotfish_retrieval.config import EMBEDDER, SPARSE_EMBEDDER, Config
from pilotfish_retrieval.dense import DenseIndex
from pilotfish_retrieval.lexical import LexicalIndex
from pilotfish_retrieval.ranking import Match, fused
from pilotfish_retrieval.sparse import SparseIndex
from pilotfish_retrieval.store import PassageStore, Stored


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that was found. `relevant`: it reaches the config's limit of one of the indexes."""

    stored: Stored
    score: float
    relevant: bool


@dataclass(frozen=True, slots=True)
class Index:
    """What a gateway reads. All large files are mapped into memory, and searches share them."""

    config: Config
    store: PassageStore
    lexical: LexicalIndex | None = None
    by_vector: Mapping[str, DenseIndex | SparseIndex] = field(default_factory=dict)
    """The indexes that need a vector of the question, by the role of the pool that returns it."""

    @classmethod
    def open(cls, folder: Path, config: Config) -> Self:
        """Raises ConfigError for a folder that is not one of this plugin's."""
        try:
            store = PassageStore.open(folder)
            lexical = LexicalIndex.open(folder, len(store), config.language) if config.mode.is_lexical else None
            opened = {EMBEDDER: DenseIndex.open(folder), SPARSE_EMBEDDER: SparseIndex.open(folder)}
            return cls(config, store, lexical, {role: index for role, index in opened.items() if index})
        except (OSError, EOFError, ValueError) as error:
            raise ConfigError("config", f"the prepared folder cannot be read ({error}): prepare it again") from error

    def search(self, question: str, vectors: Mapping[str, Sequence[float]]) -> list[Candidate]:
        """The candidates, best first. `vectors` has the question's vector of each role that answered."""
        matches = self._matches(question, vectors)
        if not matches:
            return []
        hits = fused([match.hits for match, _ in matches], self.config.candidates)
        relevant = np.zeros(len(hits.places), bool)
        for match, least in matches:
            relevant |= match.relevance(hits.places) >= least / 1000
        ranked = zip(hits.places.tolist(), hits.scores.tolist(), relevant.tolist(), strict=True)
        return [Candidate(self.store[place], score, good) for place, score, good in ranked]

    def _matches(self, question: str, vectors: Mapping[str, Sequence[float]]) -> list[tuple[Match, int]]:
        """What each index found, and the least relevance that the config asks for."""
        config = self.config
        least = {EMBEDDER: config.min_cosine_permille, SPARSE_EMBEDDER: config.min_sparse_permille}
        matches = []
        if self.lexical:
            matches.append((self.lexical.search(question, config.candidates), config.min_coverage_permille))
        for role, vector in vectors.items():
            matches.append((self.by_vector[role].search(vector, config.candidates), least[role]))
        return matches
