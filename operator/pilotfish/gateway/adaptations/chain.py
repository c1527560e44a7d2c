"""Adaptations on one conversation: what is asked passes through them in order, what is answered in reverse."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, Self, TypeVar

import orjson
from opentelemetry.trace import Span, SpanKind

from pilotfish.base.errors import BadRequest, PluginFailed, RequestRefused
from pilotfish.gateway.adaptations.answers import AdaptedPieces
from pilotfish.gateway.adaptations.guard import BoundAdaptation, Fault, Hook, PluginFault, PluginGuard, checked_message
from pilotfish.gateway.adaptations.links import Adapter, AnswerState, Observer, link_of
from pilotfish.gateway.adaptations.notes import Notes
from pilotfish.gateway.answer_reader import AnswerReader
from pilotfish.gateway.records import RequestRecord
from pilotfish.gateway.wire.strings import Strings
from pilotfish.plugin_api.adaptations import Answered, CalledPool, Channel, Conversation, OnAnswer, Refused, Rewritten
from pilotfish.plugin_api.models import Models
from pilotfish.telemetry.tracing import Tracing

ADDED_BYTES = 4 * 1024 * 1024
"""How much larger a plugin may make the messages and tools of a request, as JSON."""
MAX_ANSWER_CHARACTERS = 4 * 1024 * 1024


class Asked(Protocol):
    """What a pool is asked, as adaptations see and rewrite it."""

    @property
    def conversation(self) -> Conversation:
        """What an adaptation sees."""

    @property
    def answerable(self) -> bool:
        """Whether a string can be the answer."""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Parameters that an adaptation does not see."""

    def rewritten(self, by: Rewritten) -> Self:
        """The same with what a plugin changed."""


AnyAsked = TypeVar("AnyAsked", bound=Asked)


@dataclass(frozen=True)
class Applied:
    """An adaptation that handles the answer, with the conversation that it left and its own state."""

    adaptation: BoundAdaptation
    plugin: OnAnswer
    conversation: Conversation
    state: Any


@dataclass
class Chain:
    """Adaptations on one conversation, in the router's order. `models` are those of one adaptation.

    `see` completes what an adaptation sees of a conversation. `pool` is that of one call, for the scope CALL.
    """

    adaptations: Sequence[BoundAdaptation]
    guard: PluginGuard
    record: RequestRecord
    models: Callable[[BoundAdaptation], Models]
    tracing: Tracing
    span: Span
    see: Callable[[Conversation], Conversation]
    pool: CalledPool | None = None
    _applied: list[Applied] = field(default_factory=list)
    _open: list[AdaptedPieces] = field(default_factory=list)

    @property
    def handle_answers(self) -> bool:
        """Whether some adaptation reads the answer."""
        return bool(self._applied)

    async def on_request(self, request: AnyAsked) -> AnyAsked | Answered:
        """What pools are asked, or a plugin's own answer. After an answer, later adaptations are not applied.

        Raises RequestRefused where a plugin refuses, PluginFailed where a plugin fails whose failurePolicy is Fail.
        """
        for adaptation in self.adaptations:
            if adaptation.protects and (self.pool is None or self.pool.external):
                _check_shown(request)
            try:
                result = await self.guard.call(adaptation, Hook.ON_REQUEST, partial(self._asked, adaptation, request))
            except PluginFailed as error:
                if adaptation.required:
                    raise
                Notes(self.record).fail(adaptation.name, error)
                continue
            if isinstance(result, Answered):
                return result
            request = result
        return request

    async def on_strings(self, strings: Strings) -> Strings:
        """What a pool embeds, scores, classifies or counts. Raises as `on_request` does."""
        result = await self.on_request(strings)
        if isinstance(result, Answered):
            raise TypeError("a plugin answered a call for numbers")
        return result

    async def _asked(self, adaptation: BoundAdaptation, request: AnyAsked) -> AnyAsked | Answered:
        """The request after one adaptation, or its answer."""
        result: object = None
        seen = self.see(request.conversation)
        if adaptation.on_request:
            with self.tracing.span(f"adapt {adaptation.name}", SpanKind.INTERNAL, self.span, {}):
                result = await adaptation.on_request.on_request(conversation=seen, models=self.models(adaptation))
        state, notes = None, Notes(self.record)
        match result:
            case Refused():
                notes.add(adaptation.name, result.notes)
                raise RequestRefused(checked_message(result.message))
            case Answered() if request.answerable:
                _check_answer(result)
                self._effect(adaptation, lambda: {"answer": result.text})
                notes.add(adaptation.name, result.notes)
                return result
            case Rewritten():
                _check_size(result, request)
                self._effect(adaptation, partial(_changes, result, request))
                request, state = request.rewritten(result), result.state
                notes.add(adaptation.name, result.notes)
            case None:
                pass
            case _:
                raise PluginFault(Fault.INVALID, f"returned {type(result).__name__} for a request")
        if adaptation.on_answer:
            left = self.see(request.conversation)
            self._applied.append(Applied(adaptation, adaptation.on_answer, left, state))
        return request

    def _effect(self, adaptation: BoundAdaptation, made: Callable[[], Mapping[str, Any]]) -> None:
        """Record what an adaptation did, for an explanation."""
        if self.record.effects is not None and (effect := made()):
            pool = {"pool": self.pool.name} if self.pool else {}
            self.record.effects.append({"plugin": adaptation.name, **pool, **effect})

    def on_answer(
        self, answer: AnswerReader, *, streamed: bool, escalates: bool = False, apart: bool = False
    ) -> AnswerReader:
        """The answer as the adaptations release it, in the reverse of the router's order.

        `streamed`: parts of it leave for the client before it is complete. `escalates`: another pool can be asked.
        Its notes are part of the record when `take` is called, at once where it is the only answer and not `apart`.
        """
        if not self._applied:
            return answer
        notes = Notes(self.record, taken=not (escalates or apart))
        state = AnswerState(self.guard, notes, self.tracing, self.span, streamed, escalates)
        pieces = AdaptedPieces(answer, partial(self._links, state), state)
        self._open.append(pieces)
        return AnswerReader(pieces)

    def take(self) -> None:
        """The last answer is the one that the client gets."""
        for pieces in self._open[-1:]:
            pieces.state.notes.take()

    @property
    def notes(self) -> Mapping[str, Any]:
        """The notes on the last answer, by plugin, while it is not taken."""
        return self._open[-1].state.notes.waiting if self._open else {}

    def drop(self) -> None:
        """The last answer is not needed any more. The next one has streams of its own."""
        while self._open:
            self._open.pop().close()

    def _links(self, state: AnswerState, channel: Channel) -> Sequence[Adapter | Observer]:
        return [
            link_of(each.adaptation, partial(self._opened, each, channel), state) for each in reversed(self._applied)
        ]

    def _opened(self, applied: Applied, channel: Channel) -> Any:
        return applied.plugin.on_answer(
            conversation=applied.conversation,
            state=applied.state,
            models=self.models(applied.adaptation),
            channel=channel,
        )


def _changes(after: Rewritten, request: Asked) -> dict[str, Any]:
    """What a plugin changed of messages, tools and parameters, and the places of messages that it wrote."""
    before, changes = request.conversation, dict[str, Any]()
    if list(after.messages) != list(before.messages):
        written = [place for place, message in enumerate(after.messages) if message not in before.messages]
        changes |= {"messages": list(after.messages), "written": written}
    if after.tools is not None and list(after.tools) != list(before.tools):
        changes["tools"] = list(after.tools)
    if after.parameters is not None and dict(after.parameters) != dict(before.parameters):
        changes["parameters"] = dict(after.parameters)
    return changes


def _check_shown(request: Asked) -> None:
    """Raises BadRequest for a request that has strings which a plugin that protects would not see."""
    if request.hidden:
        name = request.hidden[0]
        text = "one string" if name == "prompt" else "absent"
        raise BadRequest(f"`{name}` must be {text}, because a plugin of this model protects requests", param=name)


def _check_answer(answered: Answered) -> None:
    if not isinstance(answered.text, str):
        raise PluginFault(Fault.INVALID, f"answered with {type(answered.text).__name__}, not with a string")
    if len(answered.text) > MAX_ANSWER_CHARACTERS:
        raise PluginFault(Fault.TOO_MUCH, f"answered with more than {MAX_ANSWER_CHARACTERS} characters")


def _check_size(after: Rewritten, before: Asked) -> None:
    """Raises PluginFault for messages and tools that are not JSON, or that are too large."""
    try:
        size = len(orjson.dumps((after.messages, after.tools, after.parameters)))
    except TypeError as error:
        raise PluginFault(Fault.INVALID, f"returned messages that are not JSON: {error}") from error
    if size <= ADDED_BYTES:
        return
    conversation = before.conversation
    if size > len(orjson.dumps((conversation.messages, conversation.tools, conversation.parameters))) + ADDED_BYTES:
        raise PluginFault(Fault.TOO_MUCH, f"added more than {ADDED_BYTES} bytes to the request")
