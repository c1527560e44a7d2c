"""An answer as adaptations release it: each choice has one channel for its text, and one for each tool call.

What is no channel passes unchanged, such as reasoning and fields of engines. An adaptation that protects or is a gate
must not be bypassed: from a choice that it handles, everything is removed that is not in a channel.
Log-probabilities and token ids are kept where they belong to the text of a chunk, and that is unchanged.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from time import perf_counter
from typing import Any

from pilotfish.gateway.adaptations.links import Adapter, AnswerState, Observer
from pilotfish.gateway.answer_reader import AnswerReader
from pilotfish.gateway.wire.channels import (
    FUNCTION_CALL,
    TEXT,
    Number,
    channels,
    forget_tokens,
    message_of,
    names,
    restrict,
    set_channel,
)
from pilotfish.gateway.wire.upstream import Chunk, Piece
from pilotfish.plugin_api.adaptations import Channel

NewLinks = Callable[[Channel], Sequence[Adapter | Observer]]
"""The links of a channel, in the order in which an answer passes through them."""


class _Kept(Enum):
    """What of a choice is kept: HEAD begins a message or a tool call of which nothing is released yet."""

    RELEASED = "Released"
    HEAD = "Head"
    NOTHING = "Nothing"


class _Channel:
    """One channel on its way through all adaptations."""

    def __init__(self, links: Sequence[Adapter | Observer]) -> None:
        self._links = links

    async def open(self) -> None:
        for link in self._links:
            await link.open()

    @property
    def handled(self) -> bool:
        return any(link.handles for link in self._links)

    @property
    def protected(self) -> bool:
        return any(link.protects for link in self._links)

    async def pass_on(self, text: str, *, ends: bool, finish_reason: str | None) -> str:
        for link in self._links:
            text = await link.push(text, more=not ends) if text else ""
            if ends:
                text += await link.end(finish_reason)
        return text


class _Choice:
    """One choice, with its channels."""

    def __init__(self, index: int, new_links: NewLinks) -> None:
        self.index = index
        self._new_links = new_links
        self._channels: dict[Number, _Channel] = {}
        self._begun: set[str] = set()
        self.ended = False

    async def open(self) -> None:
        """Open the channel of the text, which every choice has."""
        await self._channel(TEXT)

    async def adapt(self, choice: dict[str, Any], *, ends: bool) -> _Kept:
        """Replace the strings of the choice by what is released of them."""
        strings = channels(choice)
        if self.ended:
            return self._after_end(choice, strings)
        protected = self._channels[TEXT].protected
        if protected:
            restrict(choice)
        numbers = dict.fromkeys((*strings, *self._channels)) if ends else strings
        released = False
        for number in numbers:
            text = await self._released(choice, number, strings.get(number, ""), ends=ends)
            released = released or bool(text)
        if protected and (not strings[TEXT] or len(strings) > 1):
            forget_tokens(choice)
        self.ended = self.ended or ends
        new = set(names(choice)) - self._begun
        self._begun |= new
        if released or ends or not self._handled or _has_more(choice):
            return _Kept.RELEASED
        return _Kept.HEAD if new else _Kept.NOTHING

    def _after_end(self, choice: dict[str, Any], strings: Mapping[Number, str]) -> _Kept:
        """What a pool sends after a finish reason has no stream to pass through."""
        if not self._handled:
            return _Kept.RELEASED
        for number, text in strings.items():
            if text:
                set_channel(choice, number, "")
        return _Kept.RELEASED if choice.get("finish_reason") else _Kept.NOTHING

    async def _released(self, choice: dict[str, Any], number: Number, text: str, *, ends: bool) -> str:
        channel = await self._channel(number)
        released = await channel.pass_on(text, ends=ends, finish_reason=choice.get("finish_reason"))
        if released != text:
            set_channel(choice, number, released)
            forget_tokens(choice)
        return released

    @property
    def _handled(self) -> bool:
        return any(channel.handled for channel in self._channels.values())

    async def _channel(self, number: Number) -> _Channel:
        channel = self._channels.get(number)
        if channel is None:
            call = None if number is TEXT else 0 if number == FUNCTION_CALL else number
            channel = _Channel(self._new_links(Channel(self.index, call)))
            self._channels[number] = channel
            await channel.open()
        return channel


class AdaptedPieces:
    """The pieces of an answer after the adaptations. Chunks of which nothing is released yet are left out.

    To be closed where it is not read to its end.
    """

    parsed = True

    def __init__(self, answer: AnswerReader, new_links: NewLinks, state: AnswerState) -> None:
        self._answer = answer
        self._new_links = new_links
        self.state = state
        self._choices: dict[int, _Choice] = {}
        self._opened: list[Adapter | Observer] = []
        self._heads: list[Chunk] = []
        self._last: Chunk = {}

    async def receive(self) -> Piece | None:
        """The next piece of which something was released. Raises Escalated where another pool is to be asked."""
        while piece := await self._answer.next():
            chunks = [kept for chunk in piece.chunks or () for kept in await self._adapt(chunk, whole=piece.whole)]
            if piece.whole:
                await self._observed()
            if chunks:
                return Piece(b"", chunks, whole=piece.whole)
        rest = [kept for chunk in self._rest() for kept in await self._adapt(chunk, whole=True)]
        chunks = [*self._heads, *(chunk for chunk in rest if _has_text(chunk))]
        self._heads = []
        await self._observed()
        return Piece(b"", chunks) if chunks else None

    def close(self) -> None:
        """Stop what still works on the answer."""
        for link in self._opened:
            link.close()

    async def _adapt(self, chunk: Chunk, *, whole: bool) -> list[Chunk]:
        if not chunk["choices"]:
            if self.state.committed or not self.state.streamed:
                return [chunk]
            self._heads.append(chunk)
            return []
        self._last = chunk
        found = []
        for choice in chunk["choices"]:
            ends = whole or bool(choice.get("finish_reason"))
            found.append((choice, await (await self._choice(choice.get("index", 0))).adapt(choice, ends=ends)))
        chunk["choices"] = [choice for choice, kept in found if kept is not _Kept.NOTHING]
        if not chunk["choices"]:
            return []
        if not self.state.committed and not any(kept is _Kept.RELEASED for _, kept in found):
            self._heads.append(chunk)
            return []
        self.state.committed = self.state.streamed
        heads, self._heads = self._heads, []
        return [*heads, chunk]

    async def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(index, self._links)
            await choice.open()
        return choice

    def _links(self, channel: Channel) -> Sequence[Adapter | Observer]:
        links = self._new_links(channel)
        self._opened.extend(links)
        return links

    async def _observed(self) -> None:
        ended = perf_counter()
        for observer in (link for link in self._opened if isinstance(link, Observer)):
            await observer.finished(perf_counter() - ended)

    def _rest(self) -> list[Chunk]:
        """A chunk for each choice that did not end when its stream did, to release what is held of it."""
        is_chat = self._last.get("object") == "chat.completion.chunk"
        return [
            {
                **self._last,
                "choices": [
                    {
                        "index": each.index,
                        **({"delta": {}} if is_chat else {"text": ""}),
                        "logprobs": None,
                        "finish_reason": None,
                    }
                ],
                "usage": None,
            }
            for each in self._choices.values()
            if not each.ended
        ]


def _has_text(chunk: Chunk) -> bool:
    return any(any(channels(choice).values()) for choice in chunk["choices"])


def _has_more(choice: dict[str, Any]) -> bool:
    """Whether a message has anything that is in no channel, such as reasoning."""
    known = {"role", "content", "tool_calls", "function_call"}
    return any(value for name, value in message_of(choice).items() if name not in known)
