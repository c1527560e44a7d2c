"""Cards: what experts wrote, how relevant that is to the question, and which sentences of it are kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish.plugin_api.models import completions
from pilotfish.plugin_api.sentences import SentenceSplitter
from pilotfish.plugin_api.words import words

SHORT = 3
"""Letters of a word that is not compared, because most of these words occur in every text."""

MOST_CHARACTERS_PER_TOKEN = 32


@dataclass(frozen=True, slots=True)
class Card:
    """What the expert of one role wrote, and its relevance from 0 to 1."""

    role: str
    text: str
    relevance: float


def card_text(response: Mapping[str, Any], most_tokens: int) -> str:
    """What the expert wrote. Of a completion that reached its limit, the unfinished last sentence is left out.

    Text that `most_tokens` cannot have is cut off: it comes from a pool that does not keep to limits.
    """
    text = completions(response)[0].strip()[: MOST_CHARACTERS_PER_TOKEN * most_tokens]
    if response["choices"][0].get("finish_reason") != "length":
        return text
    return " ".join(sentences(text)[:-1])


def sentences(text: str) -> list[str]:
    """The sentences of a text, without empty ones."""
    splitter = SentenceSplitter()
    found = [*splitter.push(text), *splitter.end()]
    return [stripped for each in found if (stripped := each.text.strip())]


def compared_words(text: str) -> frozenset[str]:
    """The words that are compared: those longer than `SHORT` letters, numbers, and characters of other scripts."""
    found = frozenset(words(text))
    return frozenset(word for word in found if len(word) > SHORT or not word.isascii() or word.isdigit()) or found


def overlap(question: str, text: str) -> float:
    """The cosine of the two sets of words, from 0 to 1."""
    first, second = compared_words(question), compared_words(text)
    return len(first & second) / sqrt(len(first) * len(second)) if first and second else 0.0


def brief(cards: Iterable[Card], question: str, most_tokens: int) -> list[Card]:
    """The cards in order, without sentences that repeat the question or an earlier sentence, within `most_tokens`.

    A card ends before the first sentence that does not fit. Cards without a sentence are left out.
    """
    asked, seen, kept = compared_words(question), set[frozenset[str]](), []
    for card in cards:
        chosen = []
        for sentence in sentences(card.text):
            used = compared_words(sentence)
            if used <= asked or used in seen:
                continue
            cost = estimate_tokens(sentence + " ")
            if cost > most_tokens:
                break
            seen.add(used)
            most_tokens -= cost
            chosen.append(sentence)
        if chosen:
            kept.append(Card(card.role, " ".join(chosen), card.relevance))
    return kept
