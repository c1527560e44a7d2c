"""The terms of a text, as BM25 compares them."""

import re
import unicodedata
from collections.abc import Iterator

import Stemmer

from pilotfish_retrieval.config import Language

WORD = re.compile(r"\w+")
UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7a3]{2,}")
"""Runs of characters of languages that put no space between words: two neighbouring characters are a term."""
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
ENGLISH = (
    "a about an and any are as at be been but by can could did do does for from had has have how i if in into is it "
    "its me my no not of on or our shall she should so such than that the their them then there these they this "
    "to was we were what when where which who whom why will with would you your"
)
COMMON = {Language.ENGLISH: frozenset(ENGLISH.split())}
"""Words that say nothing about the subject."""


class Terms:
    """Splits strings into terms. Has state: one thread at a time."""

    def __init__(self, language: Language) -> None:
        self._stemmer = None if language is Language.NONE else Stemmer.Stemmer(language.value)
        self._common = COMMON.get(language, frozenset())

    def of(self, text: str) -> list[str]:
        """The terms, in order. Names in code count as a whole, and by their parts."""
        terms = [term for word in WORD.findall(unicodedata.normalize("NFKC", text)) for term in _terms(word)]
        terms = [term for term in terms if term not in self._common]
        return self._stemmer.stemWords(terms) if self._stemmer else terms


def _terms(word: str) -> Iterator[str]:
    whole = word.casefold()
    if UNSPACED.search(word):
        yield from (whole[place : place + 2] for place in range(len(whole) - 1))
        return
    yield whole
    if "_" in word or (word != whole and not word.istitle() and not word.isupper()):
        parts = [part.casefold() for part in PARTS.findall(word)]
        yield from (part for part in parts if part != whole)
