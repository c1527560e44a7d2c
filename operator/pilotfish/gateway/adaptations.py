"""Runs adaptation plugins: on a request before any pool is asked, and on an answer before the client sees it.

A plugin that fails, or takes longer than its timeout, affects its own request alone. With failurePolicy Ignore the
request continues as if the plugin did not exist: its input is restored, and what it held of an answer is released.
With Fail the request fails.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from opentelemetry.trace import SpanKind

from pilotfish.api import AdaptationPlugin
from pilotfish.api.adaptationplugin import FailurePolicy
from pilotfish.base.errors import PluginFailed, RequestError, RequestRefused
from pilotfish.gateway.answer_reader import AnswerReader
from pilotfish.gateway.pool_calls import PoolCaller
from pilotfish.gateway.records import RequestRecord
from pilotfish.gateway.wire.request import ClientRequest
from pilotfish.gateway.wire.upstream import Chunk, Piece, choice_text, set_choice_text
from pilotfish.plugin_api.adaptations import (
    Adaptation,
    Answered,
    AnswerStream,
    Conversation,
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
    """An adaptation of one router: the loaded plugin, and its manifest."""

    manifest: AdaptationPlugin
    plugin: Adaptation

    @property
    def name(self) -> str:
        """The name of the AdaptationPlugin."""
        return self.manifest.name

    @property
    def required(self) -> bool:
        """Whether a request fails where the plugin fails."""
        return self.manifest.spec.failure_policy is FailurePolicy.FAIL

    @property
    def roles(self) -> Mapping[str, str]:
        """The pool of each role."""
        return {ref.role: ref.name for ref in self.manifest.spec.pool_refs}

    async def call(self, made: Callable[[], Awaitable[T]]) -> T:
        """The result of a call to the plugin. Raises PluginFailed where it raises or exceeds its timeout."""
        seconds = self.manifest.spec.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await made()
        except TimeoutError as error:
            raise PluginFailed(f"plugin {self.name!r} did not return within its timeoutSeconds, {seconds}") from error
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
            before = request.conversation
            result = await self._on_request(adaptation, before)
            if isinstance(result, Refused):
                raise RequestRefused(result.message)
            if isinstance(result, Answered):
                self._note(adaptation, result.notes)
                return result
            state = None
            if isinstance(result, Rewritten):
                self._note(adaptation, result.notes)
                request, state = request.rewritten(result.messages, result.tools), result.state
            if isinstance(adaptation.plugin, OnAnswer):
                self._applied.append(_Applied(adaptation, adaptation.plugin, request.conversation, state))
        return request

    def on_answer(self, answer: AnswerReader) -> AnswerReader:
        """The answer as the adaptations release it, in the reverse of the router's order."""
        return AnswerReader(_AdaptedPieces(answer, self._channel)) if self._applied else answer

    async def _on_request(
        self, adaptation: BoundAdaptation, conversation: Conversation
    ) -> Rewritten | Answered | Refused | None:
        plugin = adaptation.plugin
        if not isinstance(plugin, OnRequest):
            return None
        models = self._models(adaptation)
        with self.caller.pools.tracing.span(f"adapt {adaptation.name}", SpanKind.INTERNAL, self.caller.span, {}):
            try:
                return await adaptation.call(lambda: plugin.on_request(conversation=conversation, models=models))
            except PluginFailed as error:
                if adaptation.required:
                    raise
                self._note(adaptation, {"error": error.message})
                return None

    def _channel(self) -> "_Channel":
        return _Channel([self._link(applied) for applied in reversed(self._applied)])

    def _link(self, applied: _Applied) -> "_Link":
        adaptation = applied.adaptation
        stream = applied.plugin.on_answer(
            conversation=applied.conversation, state=applied.state, models=self._models(adaptation)
        )
        return _Link(adaptation, stream, lambda notes: self._note(adaptation, notes))

    def _models(self, adaptation: BoundAdaptation) -> Models:
        return self.caller.models(adaptation.roles, self.record.plugin_calls)

    def _note(self, adaptation: BoundAdaptation, notes: Mapping[str, Any]) -> None:
        if notes:
            self.record.details.setdefault("plugins", {}).setdefault(adaptation.name, {}).update(notes)


class _Link:
    """One adaptation's part in one choice of an answer."""

    def __init__(
        self, adaptation: BoundAdaptation, stream: AnswerStream, note: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._adaptation = adaptation
        self._stream: AnswerStream | None = stream
        self._note = note
        self._held = ""

    async def push(self, text: str) -> str:
        """What the adaptation releases after this text."""
        stream = self._stream
        if stream is None:
            return text
        self._held += text
        return await self._released(lambda: stream.push(text))

    async def end(self, finish_reason: str | None) -> str:
        """What the adaptation releases at the end."""
        stream = self._stream
        return "" if stream is None else await self._released(lambda: stream.end(finish_reason))

    async def _released(self, made: Callable[[], Awaitable[Release | Refused]]) -> str:
        try:
            result = await self._adaptation.call(made)
        except PluginFailed as error:
            if self._adaptation.required:
                raise
            self._note({"error": error.message})
            self._stream, held = None, self._held
            return held
        if isinstance(result, Refused):
            raise RequestRefused(result.message)
        self._note(result.notes)
        if result.text:
            self._held = self._held[len(result.text) :] if self._held.startswith(result.text) else ""
        return result.text


class _Channel:
    """One choice of an answer on its way through all adaptations."""

    def __init__(self, links: Sequence[_Link]) -> None:
        self._links = links

    async def adapt(self, choice: dict[str, Any]) -> bool:
        """Replace the choice's text by what is released. Returns whether there is anything to send."""
        text = choice_text(choice)
        finish = choice.get("finish_reason")
        released = text
        for link in self._links:
            released = await link.push(released) if released else ""
            if finish:
                released += await link.end(finish)
        if released != text:
            set_choice_text(choice, released)
        return bool(released or finish or not text)


class _AdaptedPieces:
    """The pieces of an answer after the adaptations. Chunks of which nothing is released yet are left out."""

    parsed = True

    def __init__(self, answer: AnswerReader, channel: Callable[[], _Channel]) -> None:
        self._answer = answer
        self._new_channel = channel
        self._channels: dict[int, _Channel] = {}

    async def receive(self) -> Piece | None:
        """The next piece of which something was released."""
        while piece := await self._answer.next():
            chunks = [chunk for chunk in piece.chunks or () if await self._adapt(chunk)]
            if chunks:
                return Piece(b"", chunks, whole=piece.whole)
        return None

    async def _adapt(self, chunk: Chunk) -> bool:
        if not chunk["choices"]:
            return True
        kept = []
        for choice in chunk["choices"]:
            index = choice.get("index", 0)
            if index not in self._channels:
                self._channels[index] = self._new_channel()
            if await self._channels[index].adapt(choice):
                kept.append(choice)
        chunk["choices"] = kept
        return bool(kept)
