"""What a run tells whoever shows its progress."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pilotfish.base.keys import Key


class Phase(StrEnum):
    """Where a pool is on its way to answering, in the order of the way."""

    WAITING = "waiting"
    FOUND = "weights found"
    COPYING = "copying weights"
    VERIFYING = "verifying weights"
    CONVERTING = "converting weights"
    LOADING = "engine loading"
    WARMING = "warming up"
    RETRYING = "trying again"
    READY = "ready"
    AT_ZERO = "at zero"
    FAILED = "failed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """A pool's phase; bytes done and in all where it is one of bytes; a line of text where there is more to say."""

    key: Key
    phase: Phase
    text: str = ""
    done: int = 0
    total: int = 0


OnEvent = Callable[[PoolEvent], None]
