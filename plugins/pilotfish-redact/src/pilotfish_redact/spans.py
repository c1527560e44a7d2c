"""Spans of a text that hold something personal."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a span holds."""

    EMAIL = "Email"
    IBAN = "Iban"
    CARD = "Card"
    PHONE = "Phone"
    IP_ADDRESS = "IpAddress"
    NATIONAL_ID = "NationalId"
    SECRET = "Secret"  # noqa: S105 - a name
    NAME = "Name"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """From `start` to before `end`."""

    start: int
    end: int
    kind: Kind


def merged(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans in order, those that overlap joined into one of the first one's kind."""
    current: Span | None = None
    for span in sorted(spans):
        if current is None:
            current = span
        elif span.start < current.end:
            current = Span(current.start, max(current.end, span.end), current.kind)
        else:
            yield current
            current = span
    if current:
        yield current
