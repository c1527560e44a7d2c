"""Adaptations (`pilotfish.adaptations`): change what a model is asked, or what it answers.

An entry point names a class that has `from_settings` and is one of, or both of
- `OnRequest`: sees a conversation before any pool is asked;
- `OnAnswer`: sees an answer before the client does.

It may be `Preparing` too (`pilotfish.plugin_api.preparing`), and may declare itself with the attributes of
`Declaration`. A router names its adaptations in order. Answers pass through them in the reverse of that order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, Self, runtime_checkable

from pilotfish.api.common import Model
from pilotfish.api.modelpool import Task, Tier
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import FromSettings


class Scope(StrEnum):
    """Where an adaptation applies: once to a client's request, or to every call of a pool.

    Calls are those of the strategy, of scorers and of other adaptations.
    """

    REQUEST = "Request"
    CALL = "Call"


class Mode(StrEnum):
    """How an adaptation handles an answer.

    OBSERVE sees a copy: it never delays or changes text, and only its notes count. REWRITE holds back a suffix of what
    arrived. GATE holds back all that it has not judged; its first release commits the answer.
    """

    OBSERVE = "Observe"
    REWRITE = "Rewrite"
    GATE = "Gate"


@dataclass(frozen=True, slots=True)
class Role:
    """A pool that the adaptation asks, by the role that the manifest gives it in `poolRefs`. `tier` is a suggestion."""

    name: str
    task: Task = Task.GENERATE
    tier: Tier | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a class declares of itself, by class attributes with the names of these fields.

    An adaptation that `protects` cannot have the failurePolicy Ignore. `config_model` is the model that its
    `from_settings` reads.

    `hold_tokens` is the largest number of tokens that an answer stream holds back, None: no limit. The gateway counts
    four bytes as one token, and enforces the limit while the client gets a stream. The calls of a stream while it holds
    back the same text take at most the manifest's timeoutSeconds together.
    """

    roles: tuple[Role, ...] = ()
    scope: Scope = Scope.REQUEST
    protects: bool = False
    mode: Mode = Mode.REWRITE
    hold_tokens: int | None = None
    config_model: type[Model] | None = None

    @classmethod
    def of(cls, plugin: object) -> Self:
        """The declaration of a class, or of an instance of it, with the defaults for what it does not declare.

        Raises TypeError that names an attribute of the wrong type.
        """
        made = cls(**{name: getattr(plugin, name) for name in cls.__slots__ if hasattr(plugin, name)})
        made._check()
        return made

    def _check(self) -> None:
        if not isinstance(self.roles, tuple) or not all(isinstance(role, Role) for role in self.roles):
            raise TypeError("`roles` must be a tuple of Role")
        names = [role.name for role in self.roles]
        if len(set(names)) != len(names):
            raise TypeError("`roles` has a name twice")
        for name, kind in {"scope": Scope, "protects": bool, "mode": Mode}.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"`{name}` must be a {kind.__name__}")
        if self.hold_tokens is not None and (not isinstance(self.hold_tokens, int) or self.hold_tokens < 0):
            raise TypeError("`hold_tokens` must be an integer from 0, or None")
        if self.config_model is not None and not (
            isinstance(self.config_model, type) and issubclass(self.config_model, Model)
        ):
            raise TypeError("`config_model` must be a class derived from pilotfish.api.common.Model")


@dataclass(frozen=True, slots=True)
class CalledPool:
    """The pool of one call, for an adaptation with the scope CALL. `external`: outside of the installation."""

    name: str
    task: Task
    tier: Tier
    external: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is asked: chat messages and tools as OpenAI's API defines them, or one user message for a prompt.

    A call that embeds or scores strings has one user message for each of them, and a rewriting keeps their number.
    `choices` is the number of answers asked for. `max_tokens` is None where the client set no limit. `context_tokens`
    estimates how many tokens can be added so that the smallest context window of the plan still holds prompt and
    answer, None where no window is known. `pool` is the pool of the call, None for the scope REQUEST. `parameters` are
    the request's other parameters by name, such as `user`, `stop` or `response_format`.
    """

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    choices: int = 1
    stream: bool = False
    max_tokens: int | None = None
    context_tokens: int | None = None
    pool: CalledPool | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Ask this instead. `tools` None leaves the client's tools, `parameters` None its other parameters.

    `state` is handed to the same adaptation's `on_answer`. `notes` are JSON values for the answer's `pilotfish` object.
    """

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...] | None = None
    state: Any = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is `text`: no pool of the router's strategy is asked."""

    text: str
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """The client gets an error with this message. In a stream that has begun, the error ends the stream."""

    message: str
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Release:
    """Text that the client gets now. Empty text holds back what was pushed; a later Release may contain it.

    `held` is the number of characters at the end of what was pushed that are still held back: the client gets them
    if the plugin fails and its failures are ignored. None: what was pushed and does not begin with `text` is replaced
    by it, and nothing of it is held.
    """

    text: str
    notes: Mapping[str, Any] = field(default_factory=dict)
    held: int | None = None


@dataclass(frozen=True, slots=True)
class Escalate:
    """Withhold this answer, and ask the next pool of the plan.

    `otherwise` applies where there is no next pool. After the first byte of the answer was sent, Escalate is a failure
    of the plugin.
    """

    reason: str
    otherwise: Release | Refused
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Channel:
    """What an answer stream sees: the text of a choice, or the JSON arguments of its tool call number `tool_call`.

    A function call of OpenAI's older API is tool call 0. Reasoning is no channel: it passes, unless an adaptation that
    protects or is a GATE handles the text of the choice. Then all that is in no channel is removed.
    """

    choice: int = 0
    tool_call: int | None = None


class AnswerStream(Protocol):
    """One channel of one answer. A whole answer is one `push`, then `end`."""

    async def push(self, text: str) -> Release | Escalate | Refused:
        """Take the next text of the channel."""

    async def end(self, finish_reason: str | None) -> Release | Escalate | Refused:
        """Release the rest. Called once, after the last `push`."""


@runtime_checkable
class OnRequest(FromSettings, Protocol):
    """Sees a conversation before any pool is asked."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | Answered | Refused | None:
        """What to do with the conversation; None leaves it as it is."""


@runtime_checkable
class OnAnswer(FromSettings, Protocol):
    """Sees an answer before the client does."""

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        """A stream for one channel, None where the adaptation does not handle it.

        `conversation` is as this adaptation left it; `state` is its `Rewritten.state`.
        """


Adaptation = OnRequest | OnAnswer
