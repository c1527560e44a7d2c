"""The only place where an answer becomes the bytes that a client gets.

What a pool sent passes untouched where nothing of it was read. In what was read, the encoder removes log-probabilities
and usage that the client did not ask for, and adds the `pilotfish` object: to the last chunk of a stream, which is
therefore held back, or to the whole answer.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from pilotfish.gateway.wire import logprobs
from pilotfish.gateway.wire.assembly import Assembly
from pilotfish.gateway.wire.request import ClientRequest
from pilotfish.gateway.wire.upstream import Chunk, Piece, read_usage
from pilotfish.upstream.sse import DONE, event


class Encoder(Protocol):
    """Encodes one answer."""

    def add(self, piece: Piece) -> bytes:
        """What can be sent after this piece, possibly nothing."""

    def end(self, report: Mapping[str, Any]) -> bytes:
        """The rest of the answer, with `report` as its `pilotfish` object."""


def encoder_for(request: ClientRequest) -> Encoder:
    """Server-sent events where the client asked for a stream, else one JSON object."""
    return StreamEncoder(request) if request.stream else WholeEncoder(request)


class StreamEncoder:
    """Server-sent events, ended by [DONE]."""

    def __init__(self, request: ClientRequest) -> None:
        self._request = request
        self._last: Chunk | None = None
        self._usage_chunk: Chunk | None = None

    def add(self, piece: Piece) -> bytes:
        """The events of the piece that can be sent."""
        if piece.chunks is None:
            return piece.raw if self._last is None else _events(self._release()) + piece.raw
        return _events([ready for chunk in piece.chunks for ready in self._shaped(chunk)])

    def end(self, report: Mapping[str, Any]) -> bytes:
        """The chunks that were held back, the last one with the report, and [DONE]."""
        chunks = self._release()
        if self._request.include_usage and self._usage_chunk:
            chunks.append(self._usage_chunk)
        if chunks:
            chunks[-1]["pilotfish"] = report
        return _events(chunks) + event(DONE)

    def _shaped(self, chunk: Chunk) -> list[Chunk]:
        for choice in chunk["choices"]:
            logprobs.restore(self._request, choice)
        usage = read_usage(chunk)
        if usage and not chunk["choices"]:
            self._usage_chunk = chunk
            return []
        if usage and not self._request.continuous_usage:
            chunk["usage"] = None
            if not self._request.include_usage:
                del chunk["usage"]
        ready = self._release()
        if any(choice.get("finish_reason") for choice in chunk["choices"]):
            self._last = chunk
        else:
            ready.append(chunk)
        return ready

    def _release(self) -> list[Chunk]:
        held = [self._last] if self._last else []
        self._last = None
        return held


class WholeEncoder:
    """One JSON object, assembled where the pool streamed it."""

    def __init__(self, request: ClientRequest) -> None:
        self._request = request
        self._assembly: Assembly | None = None
        self._whole: Piece | None = None

    def add(self, piece: Piece) -> bytes:
        """Nothing: a whole answer is sent at its end."""
        if piece.whole:
            self._whole = piece
            return b""
        self._assembly = self._assembly or Assembly(self._request)
        for chunk in piece.chunks or ():
            self._assembly.add(chunk)
        return b""

    def end(self, report: Mapping[str, Any]) -> bytes:
        """The answer with the report: the pool's own bytes, if they are what the client asked for."""
        if self._whole and self._whole.raw:
            raw = self._whole.raw
            return raw[: raw.rindex(b"}")] + b',"pilotfish":' + orjson.dumps(report) + b"}"
        assembly = self._assembly or Assembly(self._request)
        answer = self._whole.chunks[0] if self._whole and self._whole.chunks else assembly.whole()
        for choice in answer["choices"]:
            logprobs.restore(self._request, choice)
        return orjson.dumps({**answer, "usage": answer.get("usage"), "pilotfish": report})


def _events(chunks: list[Chunk]) -> bytes:
    return b"".join(event(orjson.dumps(chunk)) for chunk in chunks)
