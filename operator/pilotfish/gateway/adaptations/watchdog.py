"""A thread that names the plugin which blocks the event loop, while it does: the loop itself cannot report it."""

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
REPORTED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a plugin's coroutine that runs now."""

    plugin: str
    started: float


@dataclass
class Watchdog:
    """Reports each step once that blocks for REPORTED_SECONDS, with its stack. `present` is the step that runs now."""

    present: Callable[[], Step | None]
    period_seconds: float = PERIOD_SECONDS
    reported_seconds: float = REPORTED_SECONDS
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch the thread that calls this, which is the event loop's."""
        watched = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, args=(watched,), name="plugin-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread:
            self._thread.join()

    def _watch(self, watched: int) -> None:
        reported: Step | None = None
        while not self._stopped.wait(self.period_seconds):
            step = self.present()
            if step is None or step is reported:
                continue
            seconds = perf_counter() - step.started
            if seconds >= self.reported_seconds:
                reported = step
                frame = sys._current_frames().get(watched)
                stack = "".join(traceback.format_stack(frame)) if frame else ""
                logger.error(
                    "plugin %s has blocked the event loop for %.0f s, so no request is answered:\n%s",
                    step.plugin,
                    seconds,
                    stack,
                )
