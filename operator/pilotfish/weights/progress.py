"""Progress of fetching and converting weights."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Steps in order. All except Found and Ready are optional."""

    FOUND = "Found"
    WAITING = "Waiting"
    COPYING = "Copying"
    VERIFYING = "Verifying"
    CONVERTING = "Converting"
    READY = "Ready"


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a phase: bytes done and total bytes (0 if unknown or not counted)."""

    phase: Phase
    done: int = 0
    total: int = 0


Report = Callable[[Progress], None]
"""Called often, from the working thread. An exception stops the work cleanly and propagates."""


def ignore(_: Progress) -> None:
    """A report that discards the progress."""
