"""The settings of `verify`."""

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pilotfish.api.common import Model, Permille

Weight = Annotated[int, Field(strict=True, ge=-100_000, le=100_000)]

_SOURCES = r"\b(passages?|context|sources?|documents?|information)\b"
_NEGATION = r"(\b(no|not|none|cannot)|n['\u2019]t)\b"
ABSTENTION = (
    rf"{_SOURCES}.{{0,60}}{_NEGATION}|{_NEGATION}.{{0,60}}{_SOURCES}"
    r"|\bI (do not|don['\u2019]t|cannot|can['\u2019]t) (know|answer|find|say)\b"
)
"""Finds sentences such as "The passages do not contain an answer."."""


class Action(StrEnum):
    """What happens to a sentence that the context does not support.

    Observe: it is noted, and the answer is not delayed. Flag: it is marked. Refuse: the answer ends with an error.
    Escalate: the next pool answers.
    """

    OBSERVE = "Observe"
    FLAG = "Flag"
    REFUSE = "Refuse"
    ESCALATE = "Escalate"


class Otherwise(StrEnum):
    """What happens instead where the answer cannot be escalated."""

    FLAG = "Flag"
    REFUSE = "Refuse"


class Hold(StrEnum):
    """What is judged before it is released: a sentence, or the whole answer."""

    SENTENCE = "Sentence"
    ANSWER = "Answer"


class Weights(Model):
    """The logistic regression, in thousandths of log-odds for a signal of 1. The defaults use word overlap alone."""

    bias: Weight = -8000
    """The log-odds if all signals are 0."""
    words: Weight = 6000
    """The share of the sentence's content words that the passage contains, by weight."""
    pairs: Weight = 3000
    """The share of its neighbouring content words that are near each other in the passage."""
    numbers: Weight = 1000
    """The share of its numbers that the passage contains."""
    yes: Weight = 0
    """The log-odds of yes, from -1 to 1, by the pool of the role `judge`. 0: the pool is not asked."""
    score: Weight = 0
    """The relevance or entailment, by the pool of the role `scorer`. 0: the pool is not asked."""


class Entailment(Model):
    """How the role `scorer` classifies a passage and a sentence, if its model has several labels."""

    template: Annotated[str, Field(max_length=1000)] = "{passage}</s></s>{sentence}"
    """The model's input, with the separator that its tokenizer reads between a premise and a hypothesis."""
    label: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    """The place of the label "entailment" in the model's list of labels, from 0."""

    @model_validator(mode="after")
    def _check_template(self) -> Self:
        if "{passage}" not in self.template or "{sentence}" not in self.template:
            raise PydanticCustomError("template", "template must contain {{passage}} and {{sentence}}")
        return self


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise PydanticCustomError("pattern", "is no regular expression: {reason}", {"reason": str(error)}) from error
    return pattern


Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_check_pattern)]


class Config(Model):
    """What is checked, by which signals, and what happens to what is not supported."""

    action: Action = Action.OBSERVE
    """What happens to a sentence that is not supported: Observe, Flag, Refuse or Escalate."""
    otherwise: Otherwise = Otherwise.FLAG
    """What happens instead of Escalate where no next pool is left, or a part of the answer was already released."""
    hold: Hold | None = None
    """What is judged before it is released: Sentence, or the whole Answer. By default Answer for Escalate, which is not
    possible after the first release, and Sentence for Flag and Refuse.
    """
    threshold_permille: Permille = 500
    """The probability below which a sentence is not supported."""
    weights: Weights = Weights()
    """The weights of the signals. `python -m pilotfish_verify` learns them from labelled sentences."""
    flag: Annotated[str, Field(max_length=200)] = " [not found in the sources]"
    """What Flag puts behind a sentence."""
    message: Annotated[str, Field(min_length=1, max_length=1000)] = (
        "the answer contains a statement that its sources do not support"
    )
    """The message of the error, with Refuse."""
    question_marker: Annotated[str, Field(max_length=200)] = "Question:"
    """The line that ends the context in the last user message, as pilotfish-retrieval writes it. An empty string: the
    last paragraph is the question, and the paragraphs before it are the context.
    """
    require_context: bool = False
    """Whether sentences are not supported where there is no context, such as when retrieval found nothing. By default
    such answers are not checked.
    """
    fewest_words: Annotated[int, Field(strict=True, ge=1, le=100)] = 3
    """Sentences with fewer content words are not checked. Neither are questions and lines of code."""
    ignore: Annotated[tuple[Pattern, ...], Field(max_length=32)] = (ABSTENTION,)
    """Regular expressions. Sentences in which one of them is found are not checked. The default finds sentences which
    say that there is no answer.
    """
    entailment: Entailment | None = None
    """How the role `scorer` is asked. By default for its relevance; set it for a model with several labels."""
    longest_context: Annotated[int, Field(strict=True, ge=500, le=100_000)] = 4000
    """The most characters of context that a pool reads for one sentence: the passages with the largest overlap."""
    note_all: bool = False
    """Whether the notes list all sentences with their signals, to calibrate on, and not only those without support."""

    @property
    def holds_answer(self) -> bool:
        """Whether nothing is released before the whole answer is judged."""
        return (self.hold or (Hold.ANSWER if self.action is Action.ESCALATE else Hold.SENTENCE)) is Hold.ANSWER
