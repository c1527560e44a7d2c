"""Server-sent events as model servers send them, cut at their blank lines."""

import re
from collections.abc import AsyncGenerator, AsyncIterable

from pilotfish.base.errors import BadUpstream

DONE = b"[DONE]"
LARGEST_EVENT = 64 * 1024 * 1024
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


async def whole_events(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """The same bytes, cut so that every piece ends with the end of an event.

    Raises BadUpstream when the stream ends in the middle of one, or one is larger than 64 MiB.
    """
    rest = b""
    async for chunk in chunks:
        data = rest + chunk if rest else chunk
        if data.endswith(b"\n\n"):
            rest = b""
            yield data
            continue
        end = max((match.end() for match in _BLANK_LINE.finditer(data)), default=0)
        rest = data[end:]
        if len(rest) > LARGEST_EVENT:
            raise BadUpstream("the model server sent an event larger than 64 MiB")
        if end:
            yield data[:end]
    if rest.strip():
        raise BadUpstream("the model server's stream ended in the middle of an event")


def payloads(piece: bytes) -> list[bytes]:
    """The data of each event in a piece that holds whole events; comments and other fields are left out."""
    found = []
    for event in _BLANK_LINE.split(piece):
        data = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
        if data:
            found.append(b"\n".join(data))
    return found


def event(payload: bytes) -> bytes:
    """One event with that data."""
    return b"data: " + payload + b"\n\n"
