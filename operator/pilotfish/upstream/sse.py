"""Server-sent events of model servers, split at blank lines."""

import re

from pilotfish.base.errors import BadUpstream

DONE = b"[DONE]"
LARGEST_EVENT = 64 * 1024 * 1024
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class EventCutter:
    """Splits a stream of chunks at the ends of events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """The complete events so far, unchanged. Raises BadUpstream for an event larger than 64 MiB."""
        data = self._rest + chunk if self._rest else chunk
        if data.endswith(b"\n\n"):
            self._rest = b""
            return data
        end = max((match.end() for match in _BLANK_LINE.finditer(data)), default=0)
        self._rest = data[end:]
        if len(self._rest) > LARGEST_EVENT:
            raise BadUpstream("the model server sent an event larger than 64 MiB")
        return data[:end]


def payloads(piece: bytes) -> list[bytes]:
    """The data of each event in a chunk of complete events, without comments and other fields."""
    found = []
    for event in _BLANK_LINE.split(piece):
        data = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
        if data:
            found.append(b"\n".join(data))
    return found


def event(payload: bytes) -> bytes:
    """An event with this data."""
    return b"data: " + payload + b"\n\n"
