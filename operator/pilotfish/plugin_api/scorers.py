"""Scorers (`pilotfish.scorers`): how sure is a model of its answer, or how likely to do well on a prompt?

A scorer returns permille, 0 to 1000, higher is surer. It never decides: thresholds belong to the router.

An entry point names a class that has `from_settings` and is one of
- `AnswerScorer`: scores tokens as they arrive, in the gateway's hot path, and bounds its final score from a prefix;
- `JudgeScorer`: asks models about a whole answer;
- `PromptScorer`: scores a prompt before any model has answered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import FromSettings

LEAST_LOGPROB = -100.0
"""What -inf (and anything below this) counts as, so that one impossible token does not make a mean meaningless."""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One token of an answer: its natural-log probability and those of the likeliest tokens at its place."""

    logprob: float
    top: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """How sure, in permille, and what explains it (JSON values)."""

    permille: int
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest final score that a prefix leaves possible, in permille."""

    low: int = 0
    high: int = 1000


@dataclass(frozen=True, slots=True)
class Question:
    """What the client asked: chat messages as sent, or one user message made of a plain prompt."""

    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of one stage: its text and its tokens' log-probabilities, as far as asked for."""

    text: str
    tokens: tuple[TokenLogprobs, ...] = ()


class RunningScore(Protocol):
    """The score of one answer while it is being written."""

    def add(self, tokens: Sequence[TokenLogprobs]) -> None:
        """Take the next tokens."""

    def score(self) -> Score:
        """The score of the tokens so far, taken as the whole answer. No tokens score 0."""

    def bounds(self, remaining: int | None) -> Bounds:
        """What the final score can still be, whatever tokens follow, `remaining` at most (None: unknown)."""


@runtime_checkable
class AnswerScorer(FromSettings, Protocol):
    """Scores tokens as they arrive. `top_logprobs` is how many alternatives a token it needs (0: none)."""

    top_logprobs: int

    def start(self) -> RunningScore:
        """A fresh score, for one answer."""


@runtime_checkable
class JudgeScorer(FromSettings, Protocol):
    """Scores a whole answer, and may ask models. `top_logprobs` as in AnswerScorer; None: no log-probabilities."""

    top_logprobs: int | None

    async def judge(self, *, question: Question, answer: Answer, models: Models) -> Score:
        """How sure to be of the answer."""


@runtime_checkable
class PromptScorer(FromSettings, Protocol):
    """Scores a prompt: permille that the candidate pool will do well."""

    async def predict(self, *, question: Question, models: Models) -> Score:
        """How well the candidate will do."""


@runtime_checkable
class Explaining(Protocol):
    """What a scorer of prompts may do besides: tell what a score rests on, where that takes longer than scoring."""

    def explain(self, *, question: Question) -> Mapping[str, Any]:
        """What to add to the score's details, when somebody asks why."""


def message_text(message: Mapping[str, Any]) -> str:
    """The text of one chat message; parts that are no text count for nothing."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


def question_text(question: Question) -> str:
    """What users said in the conversation, joined by newlines."""
    return "\n".join(message_text(message) for message in question.messages if message.get("role", "user") == "user")


def permille(probability: float) -> int:
    """A probability on the scale of scores; whatever is outside 0 to 1 is put to its nearer end."""
    return round(1000 * min(1.0, max(0.0, probability)))


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), without overflow."""
    return float(np.exp(-np.logaddexp(0.0, -value)))
