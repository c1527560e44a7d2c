"""What gateways report of the routers that they serve, read once a minute for the routers' statuses."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from pilotfish.base.clock import Clock
from pilotfish.base.errors import PilotfishError
from pilotfish.base.keys import Key
from pilotfish.reconcile.gateway_report import RouterReport, router_reports
from pilotfish.routing.gateway_usage import GatewayUsage, UsageDeltas

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 60.0

AskGateways = Callable[[], Awaitable[Sequence[GatewayUsage]]]
"""What every gateway reports. Raises PilotfishError where the gateways cannot be found."""


class GatewayReports:
    """What is known of each router; replaced as a whole each time the gateways are asked."""

    def __init__(self, ask: AskGateways, clock: Clock) -> None:
        self._ask, self._clock = ask, clock
        self._started = clock()
        self._deltas = UsageDeltas()
        self._routers: dict[Key, RouterReport] | None = None

    def of(self, key: Key) -> RouterReport | None:
        """The report of the router when gateways were last asked; None before they were asked at all."""
        return None if self._routers is None else self._routers.get(key, RouterReport())

    async def follow(self, enqueue: Callable[[Key], Awaitable[None]]) -> None:
        """Ask until cancelled, and enqueue the routers whose reports changed."""
        while True:
            try:
                changed = await self.look()
            except PilotfishError as error:
                logger.warning("reading the gateways' reports failed: %s", error)
            else:
                for key in changed:
                    await enqueue(key)
            await asyncio.sleep(PERIOD_SECONDS)

    async def look(self) -> list[Key]:
        """Ask once; the routers whose reports changed. Raises PilotfishError."""
        heard = [figures for figures in await self._ask() if figures.instance]
        new = self._deltas.take(heard, seconds=self._clock() - self._started)
        before = self._routers or {}
        reports = {key: found.after(before.get(key)) for key, found in router_reports(new, heard).items()}
        self._routers = reports
        return [key for key in before | reports if before.get(key) != reports.get(key)]
