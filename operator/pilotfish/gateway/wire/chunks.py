"""A stream's end: usage is read, shown or hidden, and the `pilotfish` object goes into the last chunk."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from pilotfish.base.errors import BadUpstream
from pilotfish.gateway.wire.request import ClientRequest
from pilotfish.routing.cost import Usage

Chunk = dict[str, Any]

_NOTABLE = re.compile(rb'"(?:usage|finish_reason|error)":\s*[{"]|\[DONE\]')


def notable(piece: bytes) -> bool:
    """Whether a piece of a stream may hold more than text, or does not look like JSON: only then is it parsed.

    Quotes inside JSON texts are escaped, so an answer that spells these words does not look like this; one that says
    [DONE] is parsed in vain.
    """
    return (bool(piece) and not piece.endswith(b"}\n\n")) or _NOTABLE.search(piece) is not None


def parse_chunk(payload: bytes) -> Chunk:
    """Raises BadUpstream for what is no JSON object, and for an error that the model server sends amid its answer."""
    try:
        chunk = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadUpstream(f"the model server sent a chunk that is not JSON: {payload[:200]!r}") from error
    if not isinstance(chunk, dict):
        raise BadUpstream("the model server sent a chunk that is not an object")
    if chunk.get("error"):
        said = chunk["error"].get("message") if isinstance(chunk["error"], dict) else chunk["error"]
        raise BadUpstream(f"the model server failed amid its answer: {said}")
    if not isinstance(chunk.get("choices"), list):
        raise BadUpstream("the model server sent a chunk without choices")
    return chunk


def chunk_text(chunk: Chunk) -> str:
    """What a chunk adds to the text of the first choice."""
    for choice in chunk["choices"]:
        if not choice.get("index"):
            delta = choice.get("delta")
            return str((delta.get("content") if isinstance(delta, dict) else choice.get("text")) or "")
    return ""


def read_usage(answer: Mapping[str, Any]) -> Usage | None:
    """The usage in a chunk or a whole answer, if it tells any."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(usage.get("prompt_tokens"), usage.get("completion_tokens"))


class Ending:
    """Holds a stream's last chunks back until the stream has ended, so that something can be added to the very last."""

    def __init__(self, request: ClientRequest) -> None:
        self._request = request
        self._finish: Chunk | None = None
        self._usage_chunk: Chunk | None = None
        self.usage = Usage()
        self.usage_object: dict[str, Any] | None = None
        """The usage as the model server last told it."""

    def take(self, chunk: Chunk) -> list[Chunk]:
        """Take the next chunk; what may be sent comes back, in order."""
        usage = read_usage(chunk)
        if usage:
            self.usage = usage
            self.usage_object = chunk["usage"]
        if not chunk["choices"] and usage:
            self._usage_chunk = chunk
            return []
        if usage and not self._request.continuous_usage:
            chunk["usage"] = None
            if not self._request.include_usage:
                del chunk["usage"]
        ready = self.flush()
        if any(choice.get("finish_reason") for choice in chunk["choices"]):
            self._finish = chunk
        else:
            ready.append(chunk)
        return ready

    def flush(self) -> list[Chunk]:
        """What was held back, as something follows after all."""
        ready = [self._finish] if self._finish else []
        self._finish = None
        return ready

    def last(self, told: Mapping[str, Any]) -> list[Chunk]:
        """The stream has ended: its last chunks, the very last with the `pilotfish` object."""
        chunks = self.flush()
        if self._request.include_usage and self._usage_chunk:
            chunks.append(self._usage_chunk)
        if chunks:
            chunks[-1]["pilotfish"] = told
        return chunks
