"""Stops the engines of pools that scale to zero while they have no request, and starts them for the next one.

Ray Serve follows the load above zero. Only the way to zero and back is decided here, by the rule of the cluster.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NoReturn

from pilotfish.base.clock import Clock
from pilotfish.base.keys import Key
from pilotfish.local.fleet import Fleet
from pilotfish.local.member import Member
from pilotfish.reconcile.scaling import Running, ScalingMemory, decide
from pilotfish.routing.snapshot import PoolState

PERIOD_SECONDS = 0.5

InFlight = Callable[[], Mapping[Key, int]]
"""Requests in progress at the gateway, and held by it, by pool."""


class IdlePools:
    """Follows the requests of each pool whose policy has `scaleToZero`."""

    def __init__(self, fleet: Fleet, in_flight: InFlight, clock: Clock = time.monotonic) -> None:
        self._fleet = fleet
        self._in_flight = in_flight
        self._clock = clock
        self._memories: dict[Key, ScalingMemory] = {}

    async def follow(self) -> NoReturn:
        """Stop and start engines until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            await self.step()

    async def step(self) -> None:
        """Look once at every pool."""
        load, followed = self._in_flight(), self._fleet.scaling_to_zero()
        self._memories = {key: self._memories.get(key, ScalingMemory()) for key in followed}
        for key, member in followed.items():
            await self._step(key, member, load.get(key, 0))

    async def _step(self, key: Key, member: Member, load: int) -> None:
        assert member.policy is not None  # noqa: S101 - such pools have one
        now, at_zero = self._clock(), member.view.state is PoolState.SCALED_TO_ZERO
        running = Running(0 if at_zero else 1, int(member.view.state is PoolState.READY))
        memory = self._memories[key].observe(now, load)
        decision = decide(member.policy, memory, running, now=now, at=datetime.now(UTC))
        self._memories[key] = decision.memory
        if at_zero and decision.replicas:
            await self._fleet.wake(key)
        elif not at_zero and not decision.replicas:
            await self._fleet.rest(key, decision.why)
