"""Rules: what a check finds without a model."""

from collections.abc import Callable

import regex

from pilotfish_guard.config import Check, Repetition

SECONDS = 0.5
"""The longest search of one pattern in one text. A pattern that backtracks without end then fails the plugin."""
LOOKBACK = 2000
"""Characters of a match that may stand before what is new in a text."""
TAIL = 4000
"""Characters in which repetitions are looked for."""

Finds = Callable[[str, int], bool]
"""Whether a text has a match that ends after a place in it."""


def rule_of(check: Check) -> Finds | None:
    """The rule of a check, None for a check that asks a pool."""
    if check.words:
        return _any_of([regex.compile(r"(?<!\w)\L<words>(?!\w)", regex.IGNORECASE, words=check.words)])
    if check.patterns:
        return _any_of([regex.compile(pattern) for pattern in check.patterns])
    if limit := check.max_characters:
        return lambda text, _after: len(text) > limit
    if repetition := check.repetition:
        return lambda text, _after: repeats(text, repetition)
    return None


def repeats(text: str, repetition: Repetition) -> bool:
    """Whether the text ends in repetitions of characters with a letter among them.

    The Z-function of the reversed end gives, for each period, how far the end repeats itself.
    """
    tail = text.rstrip()[-TAIL:][::-1]
    for period, length in enumerate(_z_function(tail)):
        whole = length + period
        if period and whole >= max(repetition.characters, period * repetition.times):
            return any(letter.isalpha() for letter in tail[:period])
    return False


def _any_of(patterns: list["regex.Pattern[str]"]) -> Finds:
    def finds(text: str, after: int) -> bool:
        return any(
            found.end() > after
            for pattern in patterns
            for found in pattern.finditer(text, max(0, after - LOOKBACK), timeout=SECONDS, concurrent=True)
        )

    return finds


def _z_function(text: str) -> list[int]:
    """For each place, how many characters from it equal those from the beginning."""
    lengths = [0] * len(text)
    left = right = 0
    for place in range(1, len(text)):
        length = max(0, min(lengths[place - left], right - place))
        while place + length < len(text) and text[length] == text[place + length]:
            length += 1
        lengths[place] = length
        if place + length > right:
            left, right = place, place + length
    return lengths
