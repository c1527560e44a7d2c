"""Scorers (`pilotfish.scorers`): how sure is a model of its answer, or how likely to do well on a prompt?

A scorer returns permille, 0 to 1000, higher is surer. It never decides: thresholds belong to the router.

An entry point names a class that has `from_settings` and is one of
- `AnswerScorer`: scores tokens as they arrive, in the gateway's hot path, and bounds its final score from a prefix;
- `JudgeScorer`: asks models about a whole answer;
- `PromptScorer`: scores a prompt before any model has answered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable


@dataclass(frozen=True, slots=True)
class Settings:
    """What a manifest says of a scorer: `config` as it stands, and the bytes of its artifact."""

    config: Mapping[str, Any] = field(default_factory=dict)
    artifact: bytes | None = None


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


class Models(Protocol):
    """The pools that a scorer may ask, by the role that the manifest gives them; "self" is the stage's own pool.

    Every call counts towards the request's cost and is cancelled with it. Raises RequestError where none answers.
    """

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Mapping[str, Any]:
        """One chat completion, as the model server answers it; `parameters` are OpenAI's."""

    async def embed(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Vectors, one for each text."""

    async def score(self, role: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Relevance of each text to the query, by a pool with task Score."""


class RunningScore(Protocol):
    """The score of one answer while it is being written."""

    def add(self, tokens: Sequence[TokenLogprobs]) -> None:
        """Take the next tokens."""

    def score(self) -> Score:
        """The score of the tokens so far, taken as the whole answer. No tokens score 0."""

    def bounds(self, remaining: int | None) -> Bounds:
        """What the final score can still be, whatever tokens follow, `remaining` at most (None: unknown)."""


class FromSettings(Protocol):
    """How every scorer is made."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Validate config and artifact. Raises ConfigError with the field's path below `config`."""


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
