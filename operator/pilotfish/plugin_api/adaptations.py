"""Adaptations (`pilotfish.adaptations`): change what a model is asked, or what it answers.

An entry point names a class that has `from_settings` and is one of, or both of
- `OnRequest`: sees a conversation before any pool is asked;
- `OnAnswer`: sees an answer before the client does.

A router names its adaptations in order. Answers pass through them in the reverse of that order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import FromSettings


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a client asked: chat messages and tools as OpenAI's API defines them, or one user message for a prompt.

    `choices` is the number of answers asked for. `max_tokens` is None where the client set no limit.
    """

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    choices: int = 1
    stream: bool = False
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Ask this instead. `tools` None leaves the client's tools.

    `state` is handed to the same adaptation's `on_answer`. `notes` are JSON values for the answer's `pilotfish` object.
    """

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...] | None = None
    state: Any = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is `text`: no pool of the router's strategy is asked."""

    text: str
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """The client gets an error with this message. In a stream that has begun, the error ends the stream."""

    message: str


@dataclass(frozen=True, slots=True)
class Release:
    """Text that the client gets now. Empty text holds back what was pushed; a later Release may contain it."""

    text: str
    notes: Mapping[str, Any] = field(default_factory=dict)


class AnswerStream(Protocol):
    """One choice of one answer. A whole answer is one `push`, then `end`."""

    async def push(self, text: str) -> Release | Refused:
        """Take the next text of the choice."""

    async def end(self, finish_reason: str | None) -> Release | Refused:
        """Release the rest. Called once, after the last `push`."""


@runtime_checkable
class OnRequest(FromSettings, Protocol):
    """Sees a conversation before any pool is asked."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | Answered | Refused | None:
        """What to do with the conversation; None leaves it as it is."""


@runtime_checkable
class OnAnswer(FromSettings, Protocol):
    """Sees an answer before the client does."""

    def on_answer(self, *, conversation: Conversation, state: Any, models: Models) -> AnswerStream:
        """A stream for one choice. `conversation` is as this adaptation left it; `state` is its `Rewritten.state`."""


Adaptation = OnRequest | OnAnswer
