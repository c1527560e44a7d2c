"""Holds requests for pools at zero until a replica answers. The load report counts them, so that replicas start."""

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field

from pilotfish.base.clock import Clock
from pilotfish.base.errors import ModelUnavailable
from pilotfish.base.keys import Key
from pilotfish.routing.snapshot import PoolView, Snapshot, snapshot

MOST_REQUESTS = 1000
"""Requests that wait for one pool."""
MOST_BYTES = 256 * 1024 * 1024
"""Bodies of all requests that wait."""


@dataclass
class HeldRequests:
    """The requests that wait, by pool. `apply` every snapshot."""

    clock: Clock
    _snapshot: Snapshot = field(default_factory=lambda: snapshot((), ()))
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: Counter[Key] = field(default_factory=Counter)
    _bytes: int = 0
    _start_seconds: dict[Key, float] = field(default_factory=dict)
    """How long the last start of each pool took."""

    def apply(self, current: Snapshot) -> None:
        """Let requests continue whose pool has a replica in this snapshot."""
        self._snapshot = current
        self._start_seconds = {key: value for key, value in self._start_seconds.items() if key in current.pools}
        self._changed.set()
        self._changed = asyncio.Event()

    async def until_ready(self, view: PoolView, size: int) -> PoolView:
        """The pool once it has a replica. `size` is that of the request's body, bytes.

        Raises ModelUnavailable where too many requests wait, where the pool can no longer answer, and where no replica
        answers within the pool's `hold_seconds`.
        """
        if self._waiting[view.key] >= MOST_REQUESTS or self._bytes + size > MOST_BYTES:
            raise self._unavailable(view, "too many requests wait for it")
        began = self.clock()
        self._waiting[view.key] += 1
        self._bytes += size
        try:
            async with asyncio.timeout(view.hold_seconds):
                ready = await self._ready(view)
        except TimeoutError as error:
            seconds = f"{view.hold_seconds} s, the scaleToZero.holdRequestsSeconds of its policy"
            raise self._unavailable(view, f"none has started within {seconds}") from error
        finally:
            self._bytes -= size
            self._waiting[view.key] -= 1
            if not self._waiting[view.key]:
                del self._waiting[view.key]
        self._start_seconds[view.key] = max(self._start_seconds.get(view.key, 0.0), self.clock() - began)
        return ready

    async def _ready(self, view: PoolView) -> PoolView:
        while True:
            changed, found = self._changed, self._snapshot.pools.get(view.key)
            if found is None or not found.can_answer:
                raise self._unavailable(view, found.reason if found else "it was removed")
            if found.endpoints:
                return found
            await changed.wait()

    def _unavailable(self, view: PoolView, reason: str) -> ModelUnavailable:
        seconds = math.ceil(self._start_seconds.get(view.key, view.hold_seconds or 0))
        return ModelUnavailable(f"pool {view.name!r} has no replica, and {reason}", retry_after_seconds=max(1, seconds))
