"""The prepared folder as a whole: its passages, and the indexes that the mode uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from pilotfish.base.errors import ConfigError
from pilotfish_retrieval.config import Config, SearchMode
from pilotfish_retrieval.lexical import LexicalIndex
from pilotfish_retrieval.ranking import Match, fused
from pilotfish_retrieval.store import PassageStore, Stored


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that was found. `relevant`: it reaches the config's limit of one of the indexes."""

    stored: Stored
    score: float
    relevant: bool


class Index:
    """What a gateway reads. All large files are mapped into memory, and searches share them."""

    def __init__(self, config: Config, store: PassageStore, lexical: LexicalIndex | None) -> None:
        self._config = config
        self._store = store
        self._lexical = lexical

    @classmethod
    def open(cls, folder: Path, config: Config) -> Self:
        """Raises ConfigError for a folder that is not one of this plugin's."""
        try:
            store = PassageStore.open(folder)
            wanted = config.mode in {SearchMode.BM25, SearchMode.HYBRID}
            lexical = LexicalIndex.open(folder, len(store), config.language) if wanted else None
            return cls(config, store, lexical)
        except (OSError, EOFError, ValueError) as error:
            raise ConfigError("config", f"the prepared folder cannot be read ({error}): prepare it again") from error

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles whose vectors of the question `search` uses."""
        return ()

    def search(self, question: str, vectors: Mapping[str, Sequence[float]]) -> list[Candidate]:
        """The candidates, best first. `vectors` has the question's vector of each role that answered."""
        matches = self._matches(question, vectors)
        if not matches:
            return []
        hits = fused([match.hits for match, _ in matches], self._config.candidates)
        relevant = np.zeros(len(hits.places), bool)
        for match, least in matches:
            relevant |= match.relevance(hits.places) >= least / 1000
        ranked = zip(hits.places.tolist(), hits.scores.tolist(), relevant.tolist(), strict=True)
        return [Candidate(self._store[place], score, good) for place, score, good in ranked]

    def _matches(self, question: str, vectors: Mapping[str, Sequence[float]]) -> list[tuple[Match, int]]:
        """What each index found, and the least relevance that the config asks for."""
        count = self._config.candidates
        matches = []
        if self._lexical:
            matches.append((self._lexical.search(question, count), self._config.min_coverage_permille))
        return matches
