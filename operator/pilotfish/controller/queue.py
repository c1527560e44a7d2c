"""A work queue without duplicates: one worker per key, and another run if the key was added meanwhile."""

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from pilotfish.base.backoff import backoff_seconds
from pilotfish.base.errors import PilotfishError

logger = logging.getLogger(__name__)

KeyT = TypeVar("KeyT", bound=Hashable)

Work = Callable[[KeyT], Awaitable[float | None]]
"""Reconciles one key. Returns the seconds until the next reconcile, None to wait for a change."""


class WorkQueue(Generic[KeyT]):
    """Keys that need work. It holds each key once, so it is bounded by the number of objects that there are.

    A failure puts the key back after a delay that doubles from `first_delay` to `longest_delay` seconds; a success
    resets it. Errors that users can fix are logged in one line, all others with their traceback.
    """

    def __init__(self, work: Work[KeyT], *, first_delay: float = 0.5, longest_delay: float = 120.0) -> None:
        self._work = work
        self._first_delay, self._longest_delay = first_delay, longest_delay
        self._waiting: OrderedDict[KeyT, None] = OrderedDict()
        self._active: set[KeyT] = set()
        self._again: set[KeyT] = set()
        self._timers: dict[KeyT, asyncio.TimerHandle] = {}
        self._failures: dict[KeyT, int] = {}
        self._wake = asyncio.Condition()
        self._pending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._active)

    async def add(self, key: KeyT) -> None:
        """Enqueue `key`, once, even if it is added several times."""
        async with self._wake:
            if key in self._active:
                self._again.add(key)
            elif key not in self._waiting:
                self._waiting[key] = None
                self._wake.notify()

    def add_after(self, key: KeyT, seconds: float) -> None:
        """Enqueue `key` in `seconds`, unless it is due earlier."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._fire, key)

    async def run(self, workers: int) -> None:
        """Work until cancelled. Running work is cancelled as well."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._worker())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    def _fire(self, key: KeyT) -> None:
        del self._timers[key]
        task = asyncio.ensure_future(self.add(key))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _worker(self) -> None:
        while True:
            async with self._wake:
                await self._wake.wait_for(lambda: self._waiting)
                key, _ = self._waiting.popitem(last=False)
                self._active.add(key)
            try:
                await self._attempt(key)
            finally:
                self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                await self.add(key)

    async def _attempt(self, key: KeyT) -> None:
        task = asyncio.ensure_future(self._work(key))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        error = task.exception()
        if error is None:
            self._failures.pop(key, None)
            after = task.result()
            if after is not None:
                self.add_after(key, after)
            return
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = backoff_seconds(failures, first=self._first_delay, most=self._longest_delay)
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, keeps no secret
        if isinstance(error, PilotfishError):
            logger.warning("%s: %s; retrying in %.1f s", key, error, delay)
        else:
            logger.error("%s: unexpected error; retrying in %.1f s", key, delay, exc_info=error)
        self.add_after(key, delay)
