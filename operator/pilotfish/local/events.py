"""Progress events of a run."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pilotfish.base.keys import Key


class Phase(StrEnum):
    """The phases of a pool, in order, and of a plugin that prepares."""

    WAITING = "waiting"
    FOUND = "weights found"
    COPYING = "copying weights"
    VERIFYING = "verifying weights"
    CONVERTING = "converting weights"
    LOADING = "engine loading"
    WARMING = "warming up"
    PREPARING = "preparing"
    PREPARED = "prepared"
    RETRYING = "trying again"
    READY = "ready"
    AT_ZERO = "at zero"
    FAILED = "failed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """The phase of a pool or plugin, with an optional message.

    `done` and `total` are bytes, or steps while preparing. They are 0 for phases that count nothing.
    """

    key: Key
    phase: Phase
    text: str = ""
    done: int = 0
    total: int = 0


OnEvent = Callable[[PoolEvent], None]
