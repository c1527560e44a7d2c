"""A chain of rewriting adaptations gives the same text, however an answer is divided into chunks."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN
from resource_builders import a_plugin

from pilotfish.gateway.adaptations.chain import Chain
from pilotfish.gateway.adaptations.guard import BoundAdaptation, PluginGuard
from pilotfish.gateway.answer_reader import AnswerReader
from pilotfish.gateway.records import RequestRecord
from pilotfish.gateway.wire.assembly import Assembly
from pilotfish.gateway.wire.request import ClientRequest, Task
from pilotfish.gateway.wire.upstream import Chunk, Piece
from pilotfish.plugin_api.adaptations import AnswerStream, Channel, Conversation, Release
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import Settings
from pilotfish.telemetry.metrics import GatewayMetrics
from pilotfish.telemetry.tracing import Tracing
from pilotfish.testing.models import StandInModels


class Replacing:
    """Replaces one string by another, and holds what may begin it. `wordwise`: and the word that is not complete."""

    def __init__(self, old: str, new: str, *, wordwise: bool) -> None:
        self.old, self.new, self.wordwise = old, new, wordwise
        self.rest = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        raise NotImplementedError

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        return type(self)(self.old, self.new, wordwise=self.wordwise)

    async def push(self, text: str) -> Release:
        self.rest += text
        done, cut = "", 0
        while (found := self.rest.find(self.old, cut)) >= 0:
            done, cut = done + self.rest[cut:found] + self.new, found + len(self.old)
        self.rest = self.rest[cut:]
        held = next((size for size in range(len(self.old) - 1, 0, -1) if self.rest.endswith(self.old[:size])), 0)
        if self.wordwise:
            held = max(held, len(self.rest) - self.rest.rfind(" ") - 1)
        keep = len(self.rest) - held
        done, self.rest = done + self.rest[:keep], self.rest[keep:]
        return Release(done, held=len(self.rest))

    async def end(self, finish_reason: str | None) -> Release:
        return Release(self.rest + ("!" if finish_reason else "?"))


class Failing(Replacing):
    """Changes nothing, and fails at the nth call of its stream."""

    def __init__(self, old: str, *, fails_at: int, names_held: bool) -> None:
        super().__init__(old, old, wordwise=True)
        self.fails_at, self.names_held, self.calls = fails_at, names_held, 0

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        return type(self)(self.old, fails_at=self.fails_at, names_held=self.names_held)

    async def push(self, text: str) -> Release:
        released = await super().push(self._counted(text))
        return released if self.names_held else Release(released.text)

    async def end(self, finish_reason: str | None) -> Release:
        self._counted("")
        return Release(self.rest)

    def _counted(self, text: str) -> str:
        self.calls += 1
        if self.calls == self.fails_at:
            raise ValueError("broken")
        return text


class Parts:
    """The pieces of an answer, each of the given chunks."""

    parsed = True

    def __init__(self, pieces: Sequence[Sequence[Chunk]], *, whole: bool = False) -> None:
        self._pieces = [Piece(b"", list(chunks), whole=whole) for chunks in pieces]

    async def receive(self) -> Piece | None:
        return self._pieces.pop(0) if self._pieces else None


REQUEST = ClientRequest(Task.CHAT, {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True})


def chain(*plugins: Replacing, policy: str = "Fail") -> Chain:
    return Chain(
        [BoundAdaptation.of(a_plugin(f"p{n}", failurePolicy=policy), each, {}) for n, each in enumerate(plugins)],
        PluginGuard(GatewayMetrics()),
        RequestRecord("route", "Direct"),
        models=lambda _: StandInModels(),
        tracing=Tracing(),
        span=INVALID_SPAN,
        see=lambda conversation: conversation,
    )


def deltas(text: str, cuts: Sequence[int], argument: str) -> list[dict[str, Any]]:
    """The text in parts, and the same of a tool call's arguments beside it."""
    ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
    texts = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    arguments = [argument[start:end] for start, end in zip([0, *ends], [*ends[:-1], len(argument)], strict=False)]
    head: Mapping[str, Any] = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    parts = (head, *({"function": {"arguments": each}} for each in arguments))
    calls = [{"tool_calls": [{"index": 0, **part}]} for part in parts]
    return [{"role": "assistant", "content": ""}, *({"content": each} for each in texts), *calls]


def chunk(delta: Mapping[str, Any], finish: str | None = None) -> Chunk:
    choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "choices": [choice]}


async def released(adaptations: Chain, parts: Parts, *, streamed: bool) -> tuple[str, str]:
    """Text and arguments as the client gets them."""
    await adaptations.on_request(REQUEST)
    answer = adaptations.on_answer(AnswerReader(parts), streamed=streamed)
    assembly = Assembly(REQUEST)
    while piece := await answer.next():
        for each in piece.chunks or ():
            if piece.whole:
                message = each["choices"][0]["message"]
                return message["content"], message["tool_calls"][0]["function"]["arguments"]
            assembly.add(each)
    message = assembly.whole()["choices"][0]["message"]
    return message["content"] or "", message["tool_calls"][0]["function"]["arguments"]


def divided(chunks: Sequence[Chunk], sizes: Sequence[int]) -> Parts:
    """The chunks in pieces of these sizes, and the rest in one."""
    pieces = []
    for size in sizes:
        pieces, chunks = [*pieces, chunks[:size]], chunks[size:]
    return Parts([*pieces, chunks])


STRINGS = st.text("ab <é", max_size=40)
RULE = st.tuples(st.text("ab<", min_size=1, max_size=3), st.text("ab <X", max_size=4), st.booleans())


@settings(max_examples=400, deadline=None)
@given(
    STRINGS,
    STRINGS,
    st.lists(st.integers(0, 40), max_size=8),
    st.lists(st.integers(1, 3), max_size=6),
    st.lists(RULE, max_size=3),
)
def test_text_and_arguments_do_not_depend_on_how_they_are_divided(
    text: str, argument: str, cuts: Sequence[int], sizes: Sequence[int], rules: Sequence[tuple[str, str, bool]]
) -> None:
    chunks = [*map(chunk, deltas(text, cuts, argument)), chunk({}, "stop")]
    made = [Replacing(old, new, wordwise=wordwise) for old, new, wordwise in rules]
    streamed = asyncio.run(released(chain(*made), divided(chunks, sizes), streamed=True))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": argument}}
    message = {"role": "assistant", "content": text, "tool_calls": [call]}
    answer = {"choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]}
    whole = asyncio.run(released(chain(*made), Parts([[answer]], whole=True), streamed=False))
    assert streamed == whole
    if not rules:
        assert streamed == (text, argument)


@settings(max_examples=300, deadline=None)
@given(
    STRINGS,
    STRINGS,
    st.lists(st.integers(0, 40), max_size=8),
    st.lists(st.integers(1, 3), max_size=6),
    st.lists(st.tuples(st.text("ab<", min_size=1, max_size=3), st.integers(1, 6), st.booleans()), max_size=3),
)
def test_no_text_is_lost_and_none_sent_twice_where_a_failure_is_ignored(
    text: str, argument: str, cuts: Sequence[int], sizes: Sequence[int], rules: Sequence[tuple[str, int, bool]]
) -> None:
    chunks = [*map(chunk, deltas(text, cuts, argument)), chunk({}, "stop")]
    made = [Failing(old, fails_at=fails_at, names_held=names_held) for old, fails_at, names_held in rules]
    streamed = asyncio.run(released(chain(*made, policy="Ignore"), divided(chunks, sizes), streamed=True))
    assert streamed == (text, argument)
