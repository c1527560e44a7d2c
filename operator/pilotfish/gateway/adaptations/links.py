"""One adaptation's part in one channel of an answer.

Held text is counted in estimated tokens, of four bytes each: the gateway does not know the tokenizer of every pool.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Protocol

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from pilotfish.base.errors import PluginFailed, RequestRefused
from pilotfish.gateway.adaptations.guard import (
    BoundAdaptation,
    Escalated,
    Fault,
    Hook,
    PluginFault,
    PluginGuard,
    checked_message,
)
from pilotfish.gateway.adaptations.notes import Notes, checked
from pilotfish.plugin_api.adaptations import AnswerStream, Escalate, Mode, Refused, Release
from pilotfish.telemetry.tracing import Tracing

BYTES_PER_TOKEN = 4
RELEASED_BEYOND = 64 * 1024
"""Characters that a stream may release in addition to RELEASED_PER_CHARACTER for each that it received."""
RELEASED_PER_CHARACTER = 16
OBSERVED_CHARACTERS = 1024 * 1024
"""Characters that may wait for an observer."""

Result = Release | Escalate | Refused
Opened = Callable[[], AnswerStream | None]


@dataclass
class AnswerState:
    """What the links of one answer share. `escalates`: another pool can be asked instead.

    `committed`: part of the answer has left for the client. `streamed`: parts leave before the answer is complete.
    """

    guard: PluginGuard
    notes: Notes
    tracing: Tracing
    span: Span
    streamed: bool
    escalates: bool
    committed: bool = False

    def begin(self, adaptation: BoundAdaptation) -> Span:
        """A span for what an adaptation does with one channel."""
        return self.tracing.begin(f"adapt answer {adaptation.name}", SpanKind.INTERNAL, self.span, {})


class Link(Protocol):
    """An adaptation in a channel."""

    @property
    def handles(self) -> bool:
        """Whether the adaptation may change or hold back what is pushed."""

    @property
    def protects(self) -> bool:
        """Whether nothing may bypass the adaptation."""

    async def open(self) -> None:
        """Open the plugin's stream."""

    async def push(self, text: str, *, more: bool) -> str:
        """What is released after this string. `more`: the channel continues."""

    async def end(self, finish_reason: str | None) -> str:
        """What is released at the end."""


class Adapter:
    """A link that changes or holds back what passes. After a failure that is ignored, everything passes."""

    def __init__(self, adaptation: BoundAdaptation, opened: Opened, answer: AnswerState) -> None:
        self._adaptation = adaptation
        self._declared = adaptation.declaration
        self._opened = opened
        self._answer = answer
        self._stream: AnswerStream | None = None
        self._held = ""
        self._received = self._released = 0
        self._hold_seconds = 0.0
        self._span: Span = INVALID_SPAN

    @property
    def handles(self) -> bool:
        """False where the plugin opened no stream, and after it failed."""
        return self._stream is not None

    @property
    def protects(self) -> bool:
        """Whether the plugin protects, or is a gate."""
        return self.handles and (self._declared.protects or self._declared.mode is Mode.GATE)

    async def open(self) -> None:
        """Open the plugin's stream."""

        async def opened() -> AnswerStream | None:
            return self._opened()

        try:
            self._stream = await self._answer.guard.call(self._adaptation, Hook.ON_ANSWER, opened)
        except PluginFailed as error:
            self._ignore(error)
        if self._stream is not None:
            self._span = self._answer.begin(self._adaptation)

    async def push(self, text: str, *, more: bool) -> str:
        """What the plugin releases after this string."""
        stream = self._stream
        if stream is None:
            return text
        self._held += text
        self._received += len(text)
        return await self._take(Hook.PUSH, lambda: stream.push(text), more=more)

    async def end(self, finish_reason: str | None) -> str:
        """What the plugin releases at the end."""
        stream = self._stream
        if stream is None:
            return ""
        released = await self._take(Hook.END, lambda: stream.end(finish_reason), more=False)
        self.close()
        return released

    def close(self) -> None:
        """End the span, where the stream did not end."""
        span, self._span = self._span, INVALID_SPAN
        self._answer.tracing.end(span)

    async def _take(self, hook: Hook, made: Callable[[], Awaitable[Result]], *, more: bool) -> str:
        async def taken() -> str:
            return self._took(await made(), more=more)

        started = perf_counter()
        left = max(0.0, self._adaptation.timeout_seconds - self._hold_seconds)
        try:
            text = await self._answer.guard.call(self._adaptation, hook, taken, left)
        except PluginFailed as error:
            return self._ignore(error)
        self._hold_seconds = 0.0 if text or not self._held else self._hold_seconds + perf_counter() - started
        return text

    def _took(self, result: object, *, more: bool) -> str:
        if isinstance(result, Escalate):
            result = self._escalated(result)
        if isinstance(result, Refused):
            self._answer.notes.add(self._adaptation.name, result.notes)
            raise RequestRefused(checked_message(result.message))
        if not isinstance(result, Release) or not isinstance(result.text, str):
            raise PluginFault(Fault.INVALID, f"returned {type(result).__name__} for a part of an answer")
        held = self._still_held(result)
        self._check(result, held, more=more)
        self._answer.notes.add(self._adaptation.name, result.notes)
        self._held = held
        self._released += len(result.text)
        return result.text

    def _escalated(self, escalate: Escalate) -> object:
        """What applies instead, where no other pool can be asked."""
        gated = self._declared.mode is Mode.GATE and self._answer.streamed and self._released > 0
        if self._answer.committed or gated:
            raise PluginFault(Fault.INVALID, "escalated after a part of its answer was released")
        checked_message(escalate.reason)
        checked(escalate.notes)
        if self._answer.escalates:
            raise Escalated(self._adaptation.name, escalate)
        self._answer.notes.add(self._adaptation.name, escalate.notes)
        return escalate.otherwise

    def _still_held(self, release: Release) -> str:
        """What of the pushed text is held back after a release."""
        if release.held is not None:
            if not 0 <= release.held <= len(self._held):
                raise PluginFault(Fault.INVALID, f"holds {release.held} characters, more than were pushed")
            return self._held[len(self._held) - release.held :]
        if self._held.startswith(release.text):
            return self._held[len(release.text) :]
        return ""

    def _check(self, release: Release, held: str, *, more: bool) -> None:
        most = RELEASED_BEYOND + RELEASED_PER_CHARACTER * self._received
        if self._released + len(release.text) > most:
            raise PluginFault(Fault.TOO_MUCH, f"released more than {most} characters of an answer")
        limit = self._declared.hold_tokens if more and self._answer.streamed else None
        if limit is not None and len(held) > limit and len(held.encode()) > limit * BYTES_PER_TOKEN:
            raise PluginFault(Fault.TOO_MUCH, f"held back more than its holdTokens, {limit}")

    def _ignore(self, error: PluginFailed) -> str:
        """Leave the plugin out from now on. Returns what it held."""
        if self._adaptation.required:
            raise error
        self._answer.notes.fail(self._adaptation.name, error)
        self._stream = None
        self.close()
        held, self._held = self._held, ""
        return held


class Observer:
    """A link that sees a copy. It takes what has waited in one `push`, beside the client."""

    handles = False
    protects = False

    def __init__(self, adaptation: BoundAdaptation, opened: Opened, answer: AnswerState) -> None:
        self._adaptation = adaptation
        self._opened = opened
        self._answer = answer
        self._waiting: list[str] = []
        self._characters = 0
        self._arrived = asyncio.Event()
        self._ended = False
        self._finish_reason: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to observe."""
        span = self._answer.begin(self._adaptation)
        self._task = asyncio.create_task(self._observe(), name=f"observer {self._adaptation.name}")
        self._task.add_done_callback(partial(_retrieve, self._answer.tracing, span))

    async def push(self, text: str, *, more: bool) -> str:
        """The string itself."""
        if self._task and not self._task.done():
            self._characters += len(text)
            if self._characters <= OBSERVED_CHARACTERS:
                self._waiting.append(text)
            self._arrived.set()
        return text

    async def end(self, finish_reason: str | None) -> str:
        """Nothing: everything has passed."""
        self._ended, self._finish_reason = True, finish_reason
        self._arrived.set()
        return ""

    async def finished(self, seconds: float) -> None:
        """Wait for the plugin until its timeout after the answer's end, `seconds` ago.

        Raises PluginFailed where it failed and must not.
        """
        if self._task is None:
            return
        left = max(0.0, self._adaptation.timeout_seconds - seconds)
        done, _ = await asyncio.wait({self._task}, timeout=left)
        try:
            if not done:
                self._task.cancel()
                text = "did not finish its observation within its timeoutSeconds"
                raise self._answer.guard.failed(self._adaptation, Fault.TIMEOUT, text)
            self._task.result()
        except PluginFailed as error:
            if self._adaptation.required:
                raise
            self._answer.notes.fail(self._adaptation.name, error)

    def close(self) -> None:
        """The answer is not needed any more."""
        if self._task:
            self._task.cancel()

    async def _observe(self) -> None:
        async def opened() -> AnswerStream | None:
            return self._opened()

        call = self._answer.guard.call
        stream = await call(self._adaptation, Hook.ON_ANSWER, opened)
        while stream is not None:
            await self._arrived.wait()
            self._arrived.clear()
            ended, text = self._ended, "".join(self._waiting)
            self._waiting, waited, self._characters = [], self._characters, 0
            if waited > OBSERVED_CHARACTERS:
                text = f"is slower than the answer: more than {OBSERVED_CHARACTERS} characters wait for it"
                raise self._answer.guard.failed(self._adaptation, Fault.TOO_MUCH, text)
            if text:
                await call(self._adaptation, Hook.PUSH, self._noted(partial(stream.push, text)))
            if ended:
                await call(self._adaptation, Hook.END, self._noted(partial(stream.end, self._finish_reason)))
                return

    def _noted(self, made: Callable[[], Awaitable[Result]]) -> Callable[[], Awaitable[None]]:
        async def noted() -> None:
            result: object = await made()
            if not isinstance(result, Release):
                raise PluginFault(
                    Fault.INVALID, f"returned {type(result).__name__}, but an observer returns Release alone"
                )
            self._answer.notes.add(self._adaptation.name, result.notes)

        return noted


def _retrieve(tracing: Tracing, span: Span, task: asyncio.Task[None]) -> None:
    """An observer whose answer was dropped is not awaited: asyncio then does not log its error."""
    tracing.end(span, None if task.cancelled() else task.exception())


def link_of(adaptation: BoundAdaptation, opened: Opened, answer: AnswerState) -> Adapter | Observer:
    """The link of an adaptation, by its mode."""
    kind = Observer if adaptation.declaration.mode is Mode.OBSERVE else Adapter
    return kind(adaptation, opened, answer)
