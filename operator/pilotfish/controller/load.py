"""The number of requests in progress at each pool, from every gateway, for the scaling rule."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from pilotfish.base.clock import Clock
from pilotfish.base.errors import PilotfishError
from pilotfish.base.keys import Key
from pilotfish.reconcile.scaling import ScalingMemory

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 2.0

InFlight = Callable[[], Awaitable[Mapping[Key, float]]]
"""Requests in flight by pool, over all gateways. Raises PilotfishError if a gateway does not report."""


class LoadBook:
    """What the scaling rule remembers of each pool that follows load; one entry per pool, dropped with it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._memories: dict[Key, ScalingMemory] = {}

    def now(self) -> float:
        """Seconds, on the clock of the samples."""
        return self._clock()

    def memory(self, key: Key) -> ScalingMemory | None:
        """What is known of the pool's load."""
        return self._memories.get(key)

    def remember(self, key: Key, memory: ScalingMemory) -> None:
        """Follow the pool's load from now on."""
        self._memories[key] = memory

    def forget(self, key: Key) -> None:
        """Drop a pool that was deleted or no longer follows load."""
        self._memories.pop(key, None)

    async def follow(self, in_flight: InFlight, enqueue: Callable[[Key], Awaitable[None]]) -> None:
        """Take samples until cancelled, and enqueue pools whose load changed or whose delay is running.

        If a gateway does not report, there is no sample, and replicas stay unchanged.
        """
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            if not self._memories:
                continue
            try:
                counts = await in_flight()
            except PilotfishError as error:
                logger.warning("reading the load of the pools failed: %s", error)
                continue
            for key in self._observe(counts):
                await enqueue(key)

    def _observe(self, counts: Mapping[Key, float]) -> list[Key]:
        """Take a sample of each pool. Returns those to reconcile. Awaits nothing, because pools may change."""
        concerned, now = [], self._clock()
        for key, memory in self._memories.items():
            load = counts.get(key, 0.0)
            busy = load > 0 or any(sample for _, sample in memory.samples)
            waiting = memory.above_since is not None or memory.below_since is not None
            self._memories[key] = memory.observe(now, load)
            if busy or waiting or not memory.samples:
                concerned.append(key)
        return concerned
