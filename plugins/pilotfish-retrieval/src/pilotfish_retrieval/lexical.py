"""BM25 over stemmed terms.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009. The index stores the
score of every term in every passage in advance: Lù, "BM25S: Orders of magnitude faster lexical search via eager sparse
scoring", 2024.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import bm25s
import numpy as np

from pilotfish.base.errors import ConfigError
from pilotfish_retrieval.config import Language
from pilotfish_retrieval.ranking import Match, best
from pilotfish_retrieval.terms import Terms

NAMES = {
    f"{part}_name": f"bm25-{part}.{suffix}"
    for part, suffix in {
        "data": "npy",
        "indices": "npy",
        "indptr": "npy",
        "nnoc": "npy",
        "vocab": "json",
        "params": "json",
    }.items()
}
MOST_TERMS = 64
"""Distinct terms of a question that are searched: those that it repeats most, then the first."""


class LexicalIndex:
    """BM25 scores of all terms and passages."""

    def __init__(self, index: bm25s.BM25, passages: int, language: Language) -> None:
        self._index = index
        self._passages = passages
        self._language = language

    @staticmethod
    def build(texts: Iterable[str], language: Language, folder: Path) -> None:
        """Write the index of the passages to a folder. Raises ConfigError if they have no terms."""
        terms, places = Terms(language), dict[str, int]()
        documents = [[places.setdefault(term, len(places)) for term in terms.of(text)] for text in texts]
        if not places:
            raise ConfigError("sources", "the documents contain no words: check that they are the right ones")
        logging.getLogger("bm25s").setLevel(logging.WARNING)  # bm25s sets DEBUG itself
        index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        index.index(bm25s.tokenization.Tokenized(ids=documents, vocab=places), show_progress=False)
        index.save(folder, show_progress=False, **NAMES)

    @classmethod
    def open(cls, folder: Path, passages: int, language: Language) -> Self:
        """Open an index by memory map."""
        return cls(bm25s.BM25.load(folder, mmap=True, show_progress=False, **NAMES), passages, language)

    def search(self, question: str, count: int) -> Match:
        """The `count` best passages. Their relevance is the share of the question's terms in them, weighed by
        rarity.
        """
        counted = Counter(Terms(self._language).of(question))
        total, covered = np.zeros(self._passages, np.float32), np.zeros(self._passages, np.float32)
        weights = 0.0
        for term, times in counted.most_common(MOST_TERMS):
            scores = self._index.get_scores([term]) if term in self._index.vocab_dict else np.zeros_like(total)
            found = scores > 0
            frequency = int(np.count_nonzero(found))
            weight = np.log1p((self._passages - frequency + 0.5) / (frequency + 0.5))
            total += times * scores
            covered += found * np.float32(weight)
            weights += weight
        coverage = covered / np.float32(weights or 1.0)
        return Match(best(total, count), lambda places: coverage[places])
