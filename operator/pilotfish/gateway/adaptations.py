"""Runs adaptation plugins: on a request before any pool is asked, and on an answer before the client sees it.

A plugin that fails, or takes longer than its timeout, affects its own request alone. With failurePolicy Ignore the
request continues as if the plugin did not exist: its input is restored, and what it held of an answer is released.
With Fail the request fails.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, TypeVar

from opentelemetry.trace import SpanKind

from pilotfish.api import AdaptationPlugin
from pilotfish.api.adaptationplugin import FailurePolicy
from pilotfish.base.errors import PluginFailed, RequestError, RequestRefused
from pilotfish.gateway.answer_reader import AnswerReader
from pilotfish.gateway.pool_calls import PoolCaller
from pilotfish.gateway.records import RequestRecord
from pilotfish.gateway.wire.request import ClientRequest
from pilotfish.gateway.wire.upstream import Chunk, Piece, choice_text, has_more_than_text, set_choice_text
from pilotfish.plugin_api.adaptations import (
    Adaptation,
    Answered,
    AnswerStream,
    Channel,
    Conversation,
    Declaration,
    Escalate,
    OnAnswer,
    OnRequest,
    Refused,
    Release,
    Rewritten,
)
from pilotfish.plugin_api.models import Models

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class BoundAdaptation:
    """An adaptation of one router: its manifest, and what the loaded plugin implements."""

    manifest: AdaptationPlugin
    on_request: OnRequest | None
    on_answer: OnAnswer | None

    @classmethod
    def of(cls, manifest: AdaptationPlugin, plugin: Adaptation) -> Self:
        """The adaptation of a loaded plugin."""
        asked = plugin if isinstance(plugin, OnRequest) else None
        return cls(manifest, asked, plugin if isinstance(plugin, OnAnswer) else None)

    @property
    def name(self) -> str:
        """The name of the AdaptationPlugin."""
        return self.manifest.name

    @property
    def required(self) -> bool:
        """Whether a request fails where the plugin fails."""
        return self.manifest.spec.failure_policy is FailurePolicy.FAIL

    @property
    def protects(self) -> bool:
        """Whether no request may pass without the adaptation."""
        return Declaration.of(self.on_request or self.on_answer).protects

    @property
    def roles(self) -> Mapping[str, str]:
        """The pool of each role."""
        return {ref.role: ref.name for ref in self.manifest.spec.pool_refs}

    async def call(self, made: Callable[[], Awaitable[T]]) -> T:
        """The result of what `made` does with the plugin.

        Raises PluginFailed where that raises or exceeds the timeout. A refusal passes through.
        """
        seconds = self.manifest.spec.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await made()
        except TimeoutError as error:
            raise PluginFailed(f"plugin {self.name!r} did not return within its timeoutSeconds, {seconds}") from error
        except RequestRefused:
            raise
        except RequestError as error:
            raise PluginFailed(f"plugin {self.name!r}: {error.message}") from error
        except Exception as error:
            logger.exception("plugin %s failed", self.name)
            raise PluginFailed(
                f"plugin {self.name!r} failed with {type(error).__name__}: see the gateway's log"
            ) from error


@dataclass(frozen=True)
class _Applied:
    """An adaptation that handles the answer, with the conversation that it left and its own state."""

    adaptation: BoundAdaptation
    plugin: OnAnswer
    conversation: Conversation
    state: Any


@dataclass
class RequestAdaptations:
    """The adaptations of one request, in the router's order."""

    adaptations: Sequence[BoundAdaptation]
    caller: PoolCaller
    record: RequestRecord
    _applied: list[_Applied] = field(default_factory=list)

    @property
    def handle_answers(self) -> bool:
        """Whether some adaptation reads the answer."""
        return bool(self._applied)

    async def on_request(self, request: ClientRequest) -> ClientRequest | Answered:
        """What pools are asked, or a plugin's own answer. After an answer, later adaptations are not applied.

        Raises RequestRefused where a plugin refuses, PluginFailed where a plugin fails whose failurePolicy is Fail.
        """
        for adaptation in self.adaptations:
            try:
                result = await adaptation.call(partial(self._asked, adaptation, request))
            except PluginFailed as error:
                if adaptation.required:
                    raise
                self._note(adaptation, {"error": error.message})
                continue
            if isinstance(result, Answered):
                return result
            request = result
        return request

    async def _asked(self, adaptation: BoundAdaptation, request: ClientRequest) -> ClientRequest | Answered:
        """The request after one adaptation, or its answer."""
        result: object = None
        if adaptation.on_request:
            with self.caller.pools.tracing.span(f"adapt {adaptation.name}", SpanKind.INTERNAL, self.caller.span, {}):
                result = await adaptation.on_request.on_request(
                    conversation=request.conversation, models=self._models(adaptation)
                )
        state = None
        match result:
            case Refused():
                raise RequestRefused(result.message)
            case Answered():
                self._note(adaptation, result.notes)
                return result
            case Rewritten():
                request, state = request.rewritten(result.messages, result.tools), result.state
                self._note(adaptation, result.notes)
            case None:
                pass
            case _:
                raise TypeError(f"on_request returned {type(result).__name__}")
        if adaptation.on_answer:
            self._applied.append(_Applied(adaptation, adaptation.on_answer, request.conversation, state))
        return request

    def on_answer(self, answer: AnswerReader) -> AnswerReader:
        """The answer as the adaptations release it, in the reverse of the router's order."""
        return AnswerReader(_AdaptedPieces(answer, self._channel)) if self._applied else answer

    def _channel(self) -> "_Channel":
        return _Channel([self._link(applied) for applied in reversed(self._applied)])

    def _link(self, applied: _Applied) -> "_Link":
        adaptation = applied.adaptation

        def opened() -> AnswerStream:
            models = self._models(adaptation)
            stream = applied.plugin.on_answer(
                conversation=applied.conversation, state=applied.state, models=models, channel=Channel()
            )
            return _Unhandled() if stream is None else stream

        return _Link(adaptation, opened, lambda notes: self._note(adaptation, notes))

    def _models(self, adaptation: BoundAdaptation) -> Models:
        return self.caller.models(adaptation.roles, self.record.plugin_calls)

    def _note(self, adaptation: BoundAdaptation, notes: Mapping[str, Any]) -> None:
        if notes:
            self.record.details.setdefault("plugins", {}).setdefault(adaptation.name, {}).update(notes)


class _Unhandled:
    """The stream of a channel that an adaptation does not handle."""

    async def push(self, text: str) -> Release:
        return Release(text)

    async def end(self, finish_reason: str | None) -> Release:
        return Release("")


class _Link:
    """One adaptation's part in one choice of an answer. After a failure, everything is released."""

    def __init__(
        self,
        adaptation: BoundAdaptation,
        opened: Callable[[], AnswerStream],
        note: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._adaptation = adaptation
        self._opened = opened
        self._stream: AnswerStream | None = None
        self._failed = False
        self._note = note
        self._held = ""

    async def push(self, text: str) -> str:
        """What the adaptation releases after this text."""
        if self._failed:
            return text
        self._held += text
        return await self._released(lambda: self._open().push(text))

    async def end(self, finish_reason: str | None) -> str:
        """What the adaptation releases at the end."""
        return "" if self._failed else await self._released(lambda: self._open().end(finish_reason))

    def _open(self) -> AnswerStream:
        self._stream = self._stream or self._opened()
        return self._stream

    async def _released(self, made: Callable[[], Awaitable[Release | Escalate | Refused]]) -> str:
        async def released() -> str:
            result: object = await made()
            if isinstance(result, Refused):
                raise RequestRefused(result.message)
            if not isinstance(result, Release):
                raise TypeError(f"the answer stream returned {type(result).__name__}")
            self._note(result.notes)
            return result.text

        try:
            text = await self._adaptation.call(released)
        except PluginFailed as error:
            if self._adaptation.required:
                raise
            self._note({"error": error.message})
            self._failed = True
            return self._held
        if text:
            self._held = self._held[len(text) :] if self._held.startswith(text) else ""
        return text


class _Channel:
    """One choice of an answer on its way through all adaptations."""

    def __init__(self, links: Sequence[_Link]) -> None:
        self._links = links
        self._ended = False

    async def adapt(self, choice: dict[str, Any], *, whole: bool) -> bool:
        """Replace the choice's text by what is released. Returns whether there is anything to send."""
        text = choice_text(choice)
        ends = whole or bool(choice.get("finish_reason"))
        released = await self._pushed(text, ends=ends, finish_reason=choice.get("finish_reason"))
        if released != text:
            set_choice_text(choice, released)
        return bool(released or not text) or ends or has_more_than_text(choice)

    async def end(self) -> str:
        """What is released at the end of an answer without a finish reason."""
        return "" if self._ended else await self._pushed("", ends=True, finish_reason=None)

    async def _pushed(self, text: str, *, ends: bool, finish_reason: str | None) -> str:
        for link in self._links:
            text = await link.push(text) if text else ""
            if ends:
                text += await link.end(finish_reason)
        self._ended = self._ended or ends
        return text


class _AdaptedPieces:
    """The pieces of an answer after the adaptations. Chunks of which nothing is released yet are left out."""

    parsed = True

    def __init__(self, answer: AnswerReader, channel: Callable[[], _Channel]) -> None:
        self._answer = answer
        self._new_channel = channel
        self._channels: dict[int, _Channel] = {}
        self._last: Chunk = {}

    async def receive(self) -> Piece | None:
        """The next piece of which something was released."""
        while piece := await self._answer.next():
            chunks = [chunk for chunk in piece.chunks or () if await self._adapt(chunk, whole=piece.whole)]
            if chunks:
                return Piece(b"", chunks, whole=piece.whole)
        chunks = [self._rest(index, text) for index, each in self._channels.items() if (text := await each.end())]
        return Piece(b"", chunks) if chunks else None

    async def _adapt(self, chunk: Chunk, *, whole: bool) -> bool:
        if not chunk["choices"]:
            return True
        self._last = chunk
        kept = []
        for choice in chunk["choices"]:
            index = choice.get("index", 0)
            if index not in self._channels:
                self._channels[index] = self._new_channel()
            if await self._channels[index].adapt(choice, whole=whole):
                kept.append(choice)
        chunk["choices"] = kept
        return bool(kept)

    def _rest(self, index: int, text: str) -> Chunk:
        """A chunk for what was still held when a stream ended without a finish reason."""
        is_chat = self._last.get("object") == "chat.completion.chunk"
        said: dict[str, Any] = {"delta": {"content": text}} if is_chat else {"text": text}
        choice = {"index": index, **said, "logprobs": None, "finish_reason": None}
        return {**self._last, "choices": [choice], "usage": None}
