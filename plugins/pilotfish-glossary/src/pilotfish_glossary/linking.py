"""Which entries a text mentions: a table from names to entries, and one pass over the text.

The pass is the automaton of Aho and Corasick, "Efficient String Matching", 1975. Where a name belongs to several
entries, the one whose definition shares most words with the text is meant (Lesk, "Automatic Sense Disambiguation Using
Machine Readable Dictionaries", 1986).
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ahocorasick_rs import AhoCorasick

from pilotfish_glossary.entries import Case, Entry

WORD = re.compile(r"\w{3,}")
SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Mention:
    """An entry, and the name of it that stands in the text, as it was written."""

    entry: Entry
    written: str


class _Found(NamedTuple):
    start: int
    end: int
    folded: str


class Linker:
    """Finds the entries that a text mentions."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._named: dict[str, list[tuple[str, Entry]]] = {}
        for entry in dict.fromkeys(entries):
            for name in map(_one_line, entry.names):
                self._named.setdefault(_fold(name), []).append((name, entry))
        self._names = list(self._named)
        self._automaton = AhoCorasick(self._names)

    def mentions(self, text: str) -> list[Mention]:
        """The entries that the text mentions, each once, in order. Of names that overlap, the longest counts."""
        line = _one_line(text)
        words = frozenset(WORD.findall(_fold(line)))
        mentions: dict[Entry, Mention] = {}
        end = 0
        for found in sorted(self._found(line), key=lambda each: (each.start, -each.end)):
            if found.start < end:
                continue
            written = line[found.start : found.end]
            entry = _meant(self._candidates(written, found.folded), words)
            mentions.setdefault(entry, Mention(entry, written))
            end = found.end
        return list(mentions.values())

    def _found(self, line: str) -> Iterator[_Found]:
        """Every whole name in the text whose case agrees."""
        for place, start, end in self._automaton.find_matches_as_indexes(_fold(line), overlapping=True):
            if _is_whole(line, start, end) and self._candidates(line[start:end], self._names[place]):
                yield _Found(start, end, self._names[place])

    def _candidates(self, written: str, folded: str) -> list[Entry]:
        return [entry for name, entry in self._named[folded] if name == written or not _needs_case(name, entry.case)]


def _one_line(text: str) -> str:
    """The text in Unicode's composed form, with single spaces."""
    return SPACE.sub(" ", unicodedata.normalize("NFC", text)).strip()


def _fold(text: str) -> str:
    """The text in lower case, of the same length."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)


def _needs_case(name: str, case: Case) -> bool:
    return case is Case.EXACT or (case is Case.AUTO and not any(letter.islower() for letter in name))


def _is_whole(line: str, start: int, end: int) -> bool:
    """Whether the name is no part of a longer word."""
    before = start > 0 and _in_words(line[start - 1]) and _in_words(line[start])
    after = end < len(line) and _in_words(line[end - 1]) and _in_words(line[end])
    return not before and not after


def _in_words(letter: str) -> bool:
    """Whether words are made of it. Chinese and Japanese are written without spaces: a name may end anywhere."""
    return (letter.isalnum() or letter == "_") and unicodedata.east_asian_width(letter) not in {"W", "F"}


def _meant(entries: Sequence[Entry], words: frozenset[str]) -> Entry:
    """The entry whose definition shares most words with the text, the first of equals."""
    return max(entries, key=lambda entry: len(words & frozenset(WORD.findall(_fold(entry.definition)))))
