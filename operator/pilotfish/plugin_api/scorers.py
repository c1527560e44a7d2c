"""Scorers (`pilotfish.scorers`): how likely is an answer right, or how likely will a pool answer a prompt well?

A scorer returns permille, 0 to 1000; higher is better. It does not decide: thresholds are the router's.

An entry point names a class that has `from_settings` and is one of
- `AnswerScorer`: scores tokens as they arrive, in the gateway's hot path, and bounds its final score from a prefix;
- `JudgeScorer`: asks models about a whole answer;
- `PromptScorer`: scores a prompt before any model has answered.

An attribute `config_model` of the class, the model that its `from_settings` reads, describes its config to
`pilotfish plugins show`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import FromSettings

LEAST_LOGPROB = -100.0
"""Lower log-probabilities, and -inf, count as this, so that one impossible token does not determine a mean."""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One token of an answer: its natural-log probability, and those of the most likely tokens at its position."""

    logprob: float
    top: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """A score in permille, and details that explain it (JSON values)."""

    permille: int
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The lowest and the highest final score that is possible after a prefix, in permille."""

    low: int = 0
    high: int = 1000


@dataclass(frozen=True, slots=True)
class Question:
    """What the client asked: its chat messages, or one user message for a prompt."""

    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of one stage: its text and its tokens' log-probabilities, if the scorer requested them."""

    text: str
    tokens: tuple[TokenLogprobs, ...] = ()


class RunningScore(Protocol):
    """The score of one answer while it arrives."""

    def add(self, tokens: Sequence[TokenLogprobs]) -> None:
        """Take the next tokens."""

    def score(self) -> Score:
        """The score if the tokens so far are the whole answer. No tokens score 0."""

    def bounds(self, remaining: int | None) -> Bounds:
        """The bounds of the final score, for any tokens that follow. At most `remaining` follow (None: unknown)."""


@runtime_checkable
class AnswerScorer(FromSettings, Protocol):
    """Scores tokens as they arrive. `top_logprobs` is the number of alternatives that it needs for each token."""

    top_logprobs: int

    def start(self) -> RunningScore:
        """A fresh score, for one answer."""


@runtime_checkable
class JudgeScorer(FromSettings, Protocol):
    """Scores a whole answer, and may ask models. `top_logprobs` as in AnswerScorer; None: no log-probabilities."""

    top_logprobs: int | None

    async def judge(self, *, question: Question, answer: Answer, models: Models) -> Score:
        """The score of the answer."""


@runtime_checkable
class PromptScorer(FromSettings, Protocol):
    """Scores a prompt: the probability, in permille, that the candidate pool answers it well."""

    async def predict(self, *, question: Question, models: Models) -> Score:
        """The score of the prompt."""


@runtime_checkable
class Explaining(Protocol):
    """Implemented by a PromptScorer that can explain a score, if that takes longer than scoring."""

    def explain(self, *, question: Question) -> Mapping[str, Any]:
        """What `pilotfish explain` adds to the score's details."""


def message_text(message: Mapping[str, Any]) -> str:
    """The text of one chat message, without parts that are not text."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


def question_text(question: Question) -> str:
    """The text of all user messages, joined by newlines."""
    return "\n".join(message_text(message) for message in question.messages if message.get("role", "user") == "user")


def permille(probability: float) -> int:
    """A probability as a score, clipped to 0 to 1."""
    return round(1000 * min(1.0, max(0.0, probability)))


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), without overflow."""
    return float(np.exp(-np.logaddexp(0.0, -value)))
