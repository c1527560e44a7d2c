"""The checks that a manifest sets."""

from enum import StrEnum
from typing import Annotated, ClassVar

import regex
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pilotfish.api.common import Label, Model, Permille, Rule, exactly_one_of, list_map, list_set


class Where(StrEnum):
    """What is checked: the messages of users and tools, or the answer."""

    REQUEST = "Request"
    ANSWER = "Answer"


class Action(StrEnum):
    """What a finding does: refuse, ask the router's next pool instead, or only note it."""

    REFUSE = "Refuse"
    ESCALATE = "Escalate"
    FLAG = "Flag"


class Answers(StrEnum):
    """How answers are checked: nothing is released before it is checked, or beside the client, with flags alone."""

    GATE = "Gate"
    OBSERVE = "Observe"


class ClassifierRole(StrEnum):
    """The role of a Score pool that classifies."""

    TOXICITY = "toxicity"
    INJECTION = "injection"


def _compilable(pattern: str) -> str:
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise PydanticCustomError("pattern", "is no regular expression: {reason}", {"reason": str(error)}) from error
    return pattern


Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_compilable)]


class Repetition(Model):
    """An answer that ends in the same characters again and again."""

    times: Annotated[int, Field(ge=2, le=100)] = 6
    """How often the same characters follow each other at least."""
    characters: Annotated[int, Field(ge=20, le=2000)] = 240
    """The length of all repetitions at least."""


class Classifier(Model):
    """A label that a classifier gives to a text."""

    role: ClassifierRole
    """The role of the Score pool."""
    label: Annotated[int, Field(ge=0, le=1000)] = 1
    """The number of the label in the order of the model, from 0."""
    threshold_permille: Permille = 900
    """The probability of the label from which the check finds something, in permille."""


class Judge(Model):
    """A question about a text that a Generate pool of the role `judge` answers with Yes or No."""

    question: Annotated[str, Field(min_length=1, max_length=2000)]
    """The question. Yes: the check finds something."""
    threshold_permille: Permille = 500
    """The probability of Yes, among Yes and No, from which the check finds something, in permille."""


class Check(Model):
    """One check. Exactly one of words, patterns, maxCharacters, repetition, classifier, judge must be set."""

    rules: ClassVar = (
        exactly_one_of("words", "patterns", "maxCharacters", "repetition", "classifier", "judge"),
        Rule(
            message="a request cannot be escalated: set where to [Answer]",
            cel="self.action != 'Escalate' || self.where == ['Answer']",
            holds=lambda check: check.action is not Action.ESCALATE or check.where == (Where.ANSWER,),
            field=("action",),
        ),
    )
    name: Label
    """The name of the check in notes and messages."""
    where: Annotated[tuple[Where, ...], *list_set(minimum=1, maximum=2)] = (Where.REQUEST, Where.ANSWER)
    """What is checked."""
    action: Action = Action.REFUSE
    """What a finding does."""
    message: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """The error message for the client."""
    words: Annotated[tuple[Word, ...], Field(min_length=1, max_length=2000)] | None = None
    """Words and phrases, found as whole words in any case."""
    patterns: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=100)] | None = None
    """Regular expressions of the package regex."""
    max_characters: Annotated[int, Field(ge=1)] | None = None
    """The largest length of a message or of the answer."""
    repetition: Repetition | None = None
    classifier: Classifier | None = None
    judge: Judge | None = None

    @property
    def threshold_permille(self) -> int:
        """The probability from which a check that asks a pool finds something."""
        asked = self.classifier or self.judge
        return asked.threshold_permille if asked else 0

    @property
    def error(self) -> str:
        """The error message for the client."""
        return self.message or f"refused by the check {self.name!r}"


class Config(Model):
    """The checks, and how answers are checked."""

    checks: Annotated[tuple[Check, ...], *list_map("name", minimum=1, maximum=50)]
    """The checks, in order. The first finding that refuses decides."""
    answers: Answers = Answers.GATE
    """How answers are checked. With Observe, findings in answers are flagged, and do nothing else."""

    def checks_of(self, where: Where) -> tuple[Check, ...]:
        """The checks of requests or of answers."""
        return tuple(check for check in self.checks if where in check.where)
