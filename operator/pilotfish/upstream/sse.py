"""Server-sent events of model servers, split at blank lines."""

import re

from pilotfish.base.errors import BadUpstream

DONE = b"[DONE]"
LARGEST_EVENT = 16 * 1024 * 1024
# a CR at the end of what arrived may be half of a CRLF
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n|\Z)){2}")
_LONGEST_BLANK_LINE = 4


class EventCutter:
    """Splits a stream of chunks at the ends of events."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """The complete events so far, unchanged. Raises BadUpstream for an event larger than 16 MiB."""
        if not self._rest and chunk.endswith(b"\n\n"):
            return chunk
        # what was searched before is not searched again, but a blank line may begin at its end
        start = max(0, len(self._rest) - _LONGEST_BLANK_LINE + 1)
        self._rest += chunk
        end = max((match.end() for match in _BLANK_LINE.finditer(self._rest, start)), default=0)
        events = bytes(self._rest[:end])
        del self._rest[:end]
        if len(self._rest) > LARGEST_EVENT:
            raise BadUpstream("the model server sent an event larger than 16 MiB")
        return events

    def end(self) -> bytes:
        """The last event, where the stream ended without a blank line after it."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest + b"\n\n" if rest.strip() else b""


def payloads(piece: bytes) -> list[bytes]:
    """The data of each event in a chunk of complete events, without comments and other fields."""
    found = []
    # most servers send no carriage returns, and bytes.split is several times faster than the regular expression
    for event in piece.split(b"\n\n") if b"\r" not in piece else _BLANK_LINE.split(piece):
        data = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
        if data:
            found.append(b"\n".join(data))
    return found


def event(payload: bytes) -> bytes:
    """An event with this data."""
    return b"data: " + payload + b"\n\n"
