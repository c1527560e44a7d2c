"""One pool's answer while it arrives: a stream of pieces that a judge may read ahead of the client.

The reader does not need to know whether the pool streams: a whole answer is a stream of one piece.
"""

import time
import uuid
from collections import deque
from typing import Any, Protocol

from pilotfish.base.errors import BadUpstream
from pilotfish.gateway.wire.request import ClientRequest, Task
from pilotfish.gateway.wire.upstream import Chunk, Piece, choice_text, notable, parse_chunk, parse_whole, read_usage
from pilotfish.routing.cost import UNKNOWN_USAGE, Usage
from pilotfish.upstream.client import Reply
from pilotfish.upstream.sse import DONE, EventCutter, payloads

EVENT_END = b"\n\n"
UNFINISHED = "the model server ended its stream without a finish reason or [DONE]"


class Pieces(Protocol):
    """Where the pieces of an answer come from."""

    @property
    def parsed(self) -> bool:
        """Whether every piece has its chunks."""

    async def receive(self) -> Piece | None:
        """The next piece, None at the end. Raises RequestError when the answer breaks off."""


class StreamedPieces:
    """The pieces of a streamed answer. Unless `parse`, only events around its end are parsed.

    The answer is whole at [DONE], and where the stream ends after a finish reason for each of its `choices`.
    """

    def __init__(self, reply: Reply, *, parse: bool, choices: int = 1) -> None:
        self._reply = reply
        self.parsed = parse
        self._unfinished = set(range(choices))
        self._cutter = EventCutter()
        self._done = False

    async def receive(self) -> Piece | None:
        """The events that arrived together. Raises BadUpstream for an invalid event, or a stream that breaks off."""
        while not self._done:
            arrived = await self._reply.piece()
            events = self._cutter.feed(arrived) if arrived else self._cutter.end()
            if not events:
                if not arrived:
                    self._end()
                continue
            if not self.parsed and not notable(events):
                return Piece(events)
            if chunks := self._chunks(events):
                return Piece(events, chunks)
        return None

    def _chunks(self, events: bytes) -> list[Chunk]:
        chunks = []
        for payload in payloads(events):
            if payload == DONE:
                self._done = True
                break
            chunk = parse_chunk(payload)
            chunks.append(chunk)
            for choice in chunk["choices"]:
                if choice.get("finish_reason"):
                    self._unfinished.discard(choice.get("index", 0))
        return chunks

    def _end(self) -> None:
        if self._unfinished:
            raise BadUpstream(UNFINISHED)
        self._done = True


class WholePiece:
    """A whole answer as its only piece. `altered`: the client did not ask for all that is in it."""

    parsed = True

    def __init__(self, reply: Reply, *, altered: bool) -> None:
        self._reply: Reply | None = reply
        self._altered = altered

    async def receive(self) -> Piece | None:
        """The answer, once."""
        if self._reply is None:
            return None
        raw = await self._reply.read()
        self._reply = None
        return Piece(b"" if self._altered else raw, [parse_whole(raw)], whole=True)


class GivenPieces:
    """An answer that no pool gave, such as a plugin's: the same text for every choice."""

    parsed = True

    def __init__(self, request: ClientRequest, model: str, text: str) -> None:
        answer = _given(request, model, text)
        chunks = [answer, {**answer, "choices": [], "usage": answer.pop("usage")}] if request.stream else [answer]
        self._pieces = deque([Piece(b"", chunks, whole=not request.stream)])

    async def receive(self) -> Piece | None:
        """The answer, once."""
        return self._pieces.popleft() if self._pieces else None


def _given(request: ClientRequest, model: str, text: str) -> Chunk:
    chat = request.task is Task.CHAT
    place = "delta" if request.stream else "message"
    said: dict[str, Any] = {place: {"role": "assistant", "content": text}} if chat else {"text": text}
    kind = "chat.completion" if chat else "text_completion"
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
        "object": f"{kind}.chunk" if chat and request.stream else kind,
        "created": int(time.time()),
        "model": model,
        "choices": [
            {"index": index, **said, "logprobs": None, "finish_reason": "stop"} for index in range(request.choices)
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


class AnswerReader:
    """An answer, with its usage and text as far as they were read. What was read ahead is not lost to `next`."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._ahead: deque[Piece] = deque()
        self._text: list[str] = []
        self._text_complete = False
        self._ended = False
        self._usage = UNKNOWN_USAGE
        self.counted_tokens = 0
        """Tokens of the answer that a judge has seen, for answers that are cancelled before their usage arrives."""
        self._counted_chunks = 0

    @property
    def usage(self) -> Usage:
        """Tokens, as the model server last reported them. Before it has, a chunk of a stream counts as a token."""
        counted = max(self.counted_tokens, self._counted_chunks)
        if self._usage.completion_tokens or not counted:
            return self._usage
        return Usage(self._usage.prompt_tokens, counted)

    @property
    def text(self) -> str | None:
        """The text of the first choice, None unless all of it was parsed."""
        return "".join(self._text) if self._text_complete else None

    async def next(self) -> Piece | None:
        """The next piece, None at the end. Raises BadUpstream or DeadlineExceeded when the answer breaks off."""
        if self._ahead:
            return self._ahead.popleft()
        if self._ended:
            return None
        piece = await self._pieces.receive()
        if piece is None or piece.chunks:
            self._note(piece)
        else:
            self._counted_chunks += piece.raw.count(EVENT_END)
        return piece

    def take_ahead(self) -> list[Piece]:
        """All pieces that were read ahead, so that they can be sent at once. `next` will not return them."""
        taken = list(self._ahead)
        self._ahead.clear()
        return taken

    async def read_ahead(self) -> Piece | None:
        """The next piece that was not read before, None at the end. `next` will return it too."""
        if self._ended:
            return None
        piece = await self._pieces.receive()
        self._note(piece)
        if piece is not None:
            self._ahead.append(piece)
        return piece

    async def begin(self, *, whole: bool) -> None:
        """Read ahead as far as is needed before anything is sent: the first piece, or the `whole` answer."""
        if not whole:
            if not self._ahead:
                await self.read_ahead()
            return
        while await self.read_ahead():
            pass

    def _note(self, piece: Piece | None) -> None:
        if piece is None:
            self._ended, self._text_complete = True, self._pieces.parsed
        elif piece.chunks:
            self._ended = piece.whole
            self._counted_chunks += 0 if piece.whole else len(piece.chunks)
            for chunk in piece.chunks:
                self._usage = read_usage(chunk) or self._usage
                if self._pieces.parsed:
                    self._note_text(chunk)
            self._text_complete = self._text_complete or piece.whole

    def _note_text(self, chunk: Chunk) -> None:
        for choice in chunk["choices"]:
            if not choice.get("index"):
                self._text.append(choice_text(choice))
                self._text_complete = self._text_complete or bool(choice.get("finish_reason"))
                break
