"""What gateways say of the routers that they serve, asked once a minute for the routers' statuses."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from pilotfish.base.clock import Clock
from pilotfish.base.errors import PilotfishError
from pilotfish.controller.mirror import Key
from pilotfish.reconcile.served import Served, served
from pilotfish.routing.figures import GatewayFigures, Ledger

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 60.0

AskFigures = Callable[[], Awaitable[Sequence[GatewayFigures]]]
"""What every gateway tells. Raises PilotfishError where the gateways cannot be found."""


class ServedBook:
    """What is known of each router; replaced as a whole each time the gateways are asked."""

    def __init__(self, ask: AskFigures, clock: Clock) -> None:
        self._ask, self._clock = ask, clock
        self._started = clock()
        self._ledger = Ledger()
        self._routers: dict[Key, Served] | None = None

    def of(self, key: Key) -> Served | None:
        """What gateways told of the router when they were last asked; None before they were asked at all."""
        return None if self._routers is None else self._routers.get(key, Served())

    async def follow(self, enqueue: Callable[[Key], Awaitable[None]]) -> None:
        """Ask for ever, and have those routers looked at of which something new is told."""
        while True:
            try:
                changed = await self.look()
            except PilotfishError as error:
                logger.warning("the figures of routers are not known: %s", error)
            else:
                for key in changed:
                    await enqueue(key)
            await asyncio.sleep(PERIOD_SECONDS)

    async def look(self) -> list[Key]:
        """Ask once; the routers of which other things are told than before. Raises PilotfishError."""
        heard = [figures for figures in await self._ask() if figures.instance]
        new = self._ledger.take(heard, seconds=self._clock() - self._started)
        before = self._routers or {}
        told = {(key := _key(name)): found.after(before.get(key)) for name, found in served(new, heard).items()}
        self._routers = told
        return [key for key in before | told if before.get(key) != told.get(key)]


def _key(name: str) -> Key:
    namespace, _, router = name.partition("/")
    return Key("ModelRouter", namespace, router)
