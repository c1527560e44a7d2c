"""Ranks a few descriptions for one question: they arrive with the request, so there is no index."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import Stemmer

K1, B = 1.2, 0.75
RRF_RANK = 60
PART = re.compile(r"[^\W\d_]+|\d+")
HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def terms(text: str) -> list[str]:
    """Stemmed words; `get_userName` has the words get, user and name."""
    words = [part.casefold() for part in PART.findall(HUMP.sub(" ", text))]
    stemmed: list[str] = Stemmer.Stemmer("english").stemWords(words)
    return stemmed


def overlaps(question: str, descriptions: Sequence[str]) -> list[float]:
    """BM25 of each description (Robertson and Zaragoza, 2009). 0: no common word."""
    documents = [Counter(terms(text)) for text in descriptions]
    lengths = [document.total() for document in documents]
    mean = sum(lengths) / len(lengths) or 1.0
    frequencies = Counter(term for document in documents for term in document)
    scores = [0.0] * len(documents)
    for term in set(terms(question)) & set(frequencies):
        weight = math.log1p((len(documents) - frequencies[term] + 0.5) / (frequencies[term] + 0.5))
        for place, document in enumerate(documents):
            if times := document[term]:
                scores[place] += weight * times / (times + K1 * (1 - B + B * lengths[place] / mean))
    return scores


def cosines(question: Sequence[float], vectors: Sequence[Sequence[float]]) -> list[float]:
    """The cosine of each vector with the question's, 0 for a vector of zeros."""

    def length(vector: Sequence[float]) -> float:
        return math.sqrt(math.fsum(value * value for value in vector))

    asked = length(question)
    products = (math.fsum(a * b for a, b in zip(question, vector, strict=True)) for vector in vectors)
    norms = (asked * length(vector) for vector in vectors)
    return [product / norm if norm else 0.0 for product, norm in zip(products, norms, strict=True)]


def fused(rankings: Sequence[Sequence[float]]) -> list[int]:
    """The places with a positive score in some ranking, by reciprocal rank fusion (Cormack et al., SIGIR 2009)."""
    sums: dict[int, float] = {}
    for scores in rankings:
        positive = [place for place, score in enumerate(scores) if score > 0]
        for rank, place in enumerate(sorted(positive, key=lambda place: -scores[place]), 1):
            sums[place] = sums.get(place, 0.0) + 1 / (RRF_RANK + rank)
    return sorted(sums, key=lambda place: (-sums[place], place))
