"""What a sentence and a passage have in common: words, neighbouring words, numbers.

A word weighs more the longer it is, because long words are rare (Piantadosi et al., "Word lengths are optimized for
efficient communication", PNAS 2011). Numbers and names weigh more than other words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log2
from typing import Self

NUMBER_WEIGHT = 5.0
NAME_FACTOR = 1.5
NEAR = 3
"""Two content words are a pair of the passage if at most this many steps lie between them there."""

_CITATION = re.compile(r"\[\d+(?:\s*[,-]\s*\d+)*\]")
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
_ENDINGS = ("ing", "ies", "ed", "es", "ly", "s")
_COMMON = re.compile(
    r"""an?|the|this|that|these|those|and|or|but|nor|so|if|than|then|as|at|by|for|from|in|into|of|off|on|onto|out|over|to
    |up|with|without|about|after|again|against|before|between|during|through|under|until|while|is|am|are|was|were|be|been
    |being|do|does|did|done|doing|has|have|had|having|can|could|may|might|must|shall|should|will|would|not|no|yes|i|me|my
    |mine|we|us|our|ours|you|your|yours|he|him|his|she|her|hers|it|its|they|them|their|theirs|who|whom|whose|which|what
    |when|where|why|how|all|also|any|both|each|few|here|just|more|most|much|only|other|own|same|some|such|there|too|very
    |one|because|s|t|d|m|ll|re|ve""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word that carries meaning: its stem, and how much it counts."""

    stem: str
    weight: float
    number: bool


def content_words(text: str) -> list[Word]:
    """The words in the text, in order, without the most common ones and without citations such as [1]."""
    words = []
    for found in _WORD.finditer(_CITATION.sub("", text)):
        word, lower = found.group(), found.group().lower()
        if word[0].isdigit():
            words.append(Word(word.replace(",", ""), NUMBER_WEIGHT, number=True))
        elif not _COMMON.fullmatch(lower):
            factor = NAME_FACTOR if word[0].isupper() and found.start() > 0 else 1.0
            words.append(Word(_stem(lower), factor * log2(1 + len(word)), number=False))
    return words


@dataclass(frozen=True, slots=True)
class Overlap:
    """Shares from 0 to 1 of what the sentence states: words by weight, pairs of neighbouring words, numbers."""

    words: float
    pairs: float
    numbers: float


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of the context, and what sentences are compared with."""

    text: str
    stems: frozenset[str]
    pairs: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, text: str) -> Self:
        """The passage with this text."""
        stems = [word.stem for word in content_words(text)]
        near = (stems[at + 1 : at + 1 + NEAR] for at in range(len(stems)))
        pairs = ((first, second) for first, following in zip(stems, near, strict=True) for second in following)
        return cls(text, frozenset(stems), frozenset(pairs))

    def overlap(self, words: Sequence[Word]) -> Overlap:
        """What the passage contains of the sentence's content words. 1 for what the sentence has none of."""
        found = [word for word in words if word.stem in self.stems]
        neighbours = [(first.stem, second.stem) for first, second in pairwise(words)]
        numbers = [word for word in words if word.number]
        return Overlap(
            words=_share(sum(word.weight for word in found), sum(word.weight for word in words)),
            pairs=_share(sum(pair in self.pairs for pair in neighbours), len(neighbours)),
            numbers=_share(sum(word.number for word in found), len(numbers)),
        )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) >= len(ending) + 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word
