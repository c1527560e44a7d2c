"""Features of a prompt for linear scorers: hashed word and byte n-grams, and a few lexical counts. Numpy alone, no
tables.

N-grams are hashed as in Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009. Every
substring's hash comes from one pass over the bytes: prefix sums of a polynomial modulo 2^64. Letters are lower-cased
and digits count as 0, so that numbers of one length are one word.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.arrays import Floats

LONGEST_BYTES = 16 * 1024
"""Of a longer prompt the first and the last half of this many bytes count."""
WORD_BUCKETS = 1 << 14
BYTE_BUCKETS = 1 << 15
BUCKETS = WORD_BUCKETS + BYTE_BUCKETS
BYTE_GRAMS = (3, 4, 5)

_MODULUS = 1 << 64
_BASE = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)

_MATHEMATICS = b"+=<>^%/*\\"
_CODE = b"{}[]();_`#"

LEXICAL = (
    "characters",
    "words",
    "numbers",
    "digits in the longest number",
    "mean word length",
    "distinct words",
    "question marks",
    "full stops",
    "commas",
    "line breaks",
    "currency signs",
    "quotation marks",
    "mathematical signs",
    "code signs",
    "capital letters",
    "bytes beyond ASCII",
    "numbers among words",
    "digits",
)


@dataclass(frozen=True, slots=True)
class Block:
    """Hashed features of one sort: distinct buckets (ascending) and how often each occurs."""

    buckets: NDArray[np.int64]
    counts: Floats


@dataclass(frozen=True, slots=True)
class Features:
    """Word n-grams (1, 2), byte n-grams (3 to 5), and the counts that LEXICAL names."""

    words: Block
    bytes: Block
    lexical: Floats


def features(text: str) -> Features:
    """The features of a prompt. Equal prompts have equal features on every machine."""
    hashed = _Hashed(text)
    return Features(
        words=_block(hashed.words() & np.uint64(WORD_BUCKETS - 1), 0),
        bytes=_block(hashed.byte_grams() & np.uint64(BYTE_BUCKETS - 1), WORD_BUCKETS),
        lexical=hashed.lexical(),
    )


def names(text: str) -> dict[int, str]:
    """For each bucket that the prompt fills, an n-gram of the prompt that is in it: what an explanation shows."""
    hashed = _Hashed(text)
    named: dict[int, str] = {}
    for (start, end), value in zip(hashed.byte_spans(), hashed.byte_grams(), strict=True):
        named.setdefault(WORD_BUCKETS + int(value) % BYTE_BUCKETS, f"…{hashed.show(start, end)}…")
    for (start, end), value in zip(hashed.word_spans(), hashed.words(), strict=True):
        named.setdefault(int(value) % WORD_BUCKETS, hashed.show(start, end))
    return named


class _Hashed:
    """A prompt's bytes with what is needed to hash any substring of them."""

    def __init__(self, text: str) -> None:
        raw = text.encode("utf-8", "replace")
        if len(raw) > LONGEST_BYTES:
            raw = raw[: LONGEST_BYTES // 2] + raw[-LONGEST_BYTES // 2 :]
        self._raw = np.frombuffer(raw, np.uint8)
        self._folded = _fold_table()[self._raw]
        powers, self._inverse = _powers()
        self._prefix = np.zeros(len(raw) + 1, np.uint64)
        np.cumsum((self._folded.astype(np.uint64) + np.uint64(1)) * powers[: len(raw)], out=self._prefix[1:])
        inside = np.zeros(len(raw) + 2, np.int8)
        inside[1:-1] = _word_table()[self._raw]
        edges = np.diff(inside)
        self._starts = np.flatnonzero(edges == 1)
        self._ends = np.flatnonzero(edges == -1)
        self._singles = self._hash(self._starts, self._ends)

    def _hash(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
        return _mixed((self._prefix[ends] - self._prefix[starts]) * self._inverse[starts])

    def words(self) -> NDArray[np.uint64]:
        """Hashes of single words, then of pairs of neighbours."""
        pairs = _mixed(self._singles[:-1] * _SECOND + self._singles[1:])
        return np.concatenate([self._singles, pairs])

    def word_spans(self) -> list[tuple[int, int]]:
        """Where the n-grams of `words` are."""
        singles = list(zip(self._starts.tolist(), self._ends.tolist(), strict=True))
        return singles + [(first[0], second[1]) for first, second in pairwise(singles)]

    def byte_grams(self) -> NDArray[np.uint64]:
        """Hashes of all runs of 3, 4 and 5 bytes."""
        runs = []
        for length in BYTE_GRAMS:
            many = max(0, len(self._raw) - length + 1)
            runs.append((self._prefix[length : length + many] - self._prefix[:many]) * self._inverse[:many])
        return _mixed(np.concatenate(runs))

    def byte_spans(self) -> list[tuple[int, int]]:
        """Where the n-grams of `byte_grams` are."""
        return [(start, start + n) for n in BYTE_GRAMS for start in range(max(0, len(self._raw) - n + 1))]

    def show(self, start: int, end: int) -> str:
        """The prompt's bytes of a span, readable."""
        return self._raw[start:end].tobytes().decode("utf-8", "replace")

    def lexical(self) -> Floats:
        """The counts that LEXICAL names: logarithms of counts, or shares."""
        of = np.bincount(self._raw, minlength=256)
        lengths = self._ends - self._starts
        is_number = _digit_table()[self._raw[self._starts]] if len(lengths) else np.zeros(0, bool)
        words, size = len(lengths), len(self._raw)
        longest = int(lengths[is_number].max()) if is_number.any() else 0
        digits = of[48:58].sum()
        counts = [size, words, is_number.sum(), longest, 0, 0, of[63], of[46], of[44], of[10], of[36], of[34] + of[39]]
        values = np.zeros(len(LEXICAL))
        values[:12] = np.log1p(counts)
        values[4] = lengths.mean() if words else 0.0
        values[5] = len(np.unique(self._singles)) / words if words else 0.0
        values[12] = np.log1p(of[list(_MATHEMATICS)].sum())
        values[13] = np.log1p(of[list(_CODE)].sum())
        values[14:] = (
            of[65:91].sum() / max(1, size),
            of[128:].sum() / max(1, size),
            is_number.sum() / max(1, words),
            digits / max(1, size),
        )
        return values


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread a polynomial hash over all bits, high ones into the low ones that pick the bucket."""
    mixed = (values ^ (values >> np.uint64(29))) * _MIX
    return np.asarray(mixed ^ (mixed >> np.uint64(32)), np.uint64)


def _block(buckets: NDArray[np.uint64], offset: int) -> Block:
    distinct, counts = np.unique(buckets.astype(np.int64), return_counts=True)
    return Block(distinct + offset, counts.astype(np.float64))


@cache
def _powers() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    def powers(base: int) -> NDArray[np.uint64]:
        steps = np.full(LONGEST_BYTES + 1, base, np.uint64)
        steps[0] = 1
        return np.cumprod(steps)

    return powers(_BASE), powers(pow(_BASE, -1, _MODULUS))


@cache
def _fold_table() -> NDArray[np.uint8]:
    table = np.arange(256, dtype=np.uint8)
    table[65:91] += 32
    table[48:58] = 48
    table[[9, 10, 13]] = 32
    return table


@cache
def _word_table() -> NDArray[np.int8]:
    table = np.zeros(256, np.int8)
    for start, end in ((48, 58), (65, 91), (97, 123), (128, 256)):
        table[start:end] = 1
    return table


@cache
def _digit_table() -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[48:58] = True
    return table
