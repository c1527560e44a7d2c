"""What happens while weights are made ready, for whoever shows it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Steps, in the order in which they come; all but Found and Ready may be left out."""

    FOUND = "Found"
    WAITING = "Waiting"
    COPYING = "Copying"
    VERIFYING = "Verifying"
    CONVERTING = "Converting"
    READY = "Ready"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the work stands: bytes of the phase done, and in all (0: not known, or nothing to count)."""

    phase: Phase
    done: int = 0
    total: int = 0


Report = Callable[[Progress], None]
"""Called often, from the thread that does the work. What it raises ends the work cleanly and comes out of it."""


def ignore(_: Progress) -> None:
    """A report that nobody reads."""
