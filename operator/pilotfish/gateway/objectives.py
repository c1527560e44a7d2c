"""Objectives in force: counts what routers' requests take, and moves thresholds by the counts of all gateways.

A request only adds its counts at the end. A threshold is moved by replacing the route in the table, as a snapshot
does.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pilotfish.api.modelpool import Pricing
from pilotfish.api.modelrouter import ModelRouter
from pilotfish.api.status import ObjectiveStatus
from pilotfish.base.clock import Clock
from pilotfish.base.errors import PilotfishError
from pilotfish.base.keys import Key
from pilotfish.gateway.loading import artifact_address
from pilotfish.gateway.routes import RouteTable
from pilotfish.gateway.usage_counters import UsageCounters
from pilotfish.routing.figures import GatewayFigures, Ledger, RouterFigures, Totals
from pilotfish.routing.objective_status import RouterObjective, moved, router_objective
from pilotfish.routing.snapshot import RouterView, Snapshot
from pilotfish.routing.threshold_control import ControlState

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 2.0
"""Between two steps."""

Hear = Callable[[], Awaitable[Sequence[GatewayFigures]]]
"""The reports of all gateways, possibly including this one. Raises PilotfishError if no gateway can be asked."""


async def nobody() -> Sequence[GatewayFigures]:
    """The other gateways of one that is alone."""
    return ()


@dataclass
class Held:
    """One router here: what it took, and where its threshold is."""

    view: RouterView
    prices: Mapping[str, Pricing | None]
    aim: RouterObjective | None
    control: ControlState | None
    counters: UsageCounters

    @property
    def router(self) -> ModelRouter:
        """The router with the threshold in effect."""
        router = self.view.router
        return moved(router, self.control.threshold) if self.control else router

    @property
    def status(self) -> ObjectiveStatus | None:
        """The status of the objective."""
        return self.aim.status(self.control) if self.aim else None

    def figures(self) -> RouterFigures:
        """The report for other gateways and the operator."""
        belief, status = self.control.belief if self.control else None, self.status
        return RouterFigures(
            totals=self.counters.totals,
            debt=belief.debt if belief else None,
            share=belief.share if belief else None,
            objective=status.model_dump(mode="json", by_alias=True, exclude_none=True) if status else None,
        )


@dataclass
class Objectives:
    """The objectives of the routers in a route table."""

    table: RouteTable
    clock: Clock
    hear: Hear = nobody
    instance: str = field(default_factory=lambda: uuid.uuid4().hex)
    _held: dict[Key, Held] = field(default_factory=dict)
    _ledger: Ledger = field(default_factory=Ledger)
    _started: float = field(init=False)
    _looked: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self._looked = self.clock()

    def apply(self, snapshot: Snapshot) -> None:
        """Take over a snapshot that the table has. Routers keep their counts, and unchanged objectives their state."""
        pricing = {key: view.pool.spec.pricing for key, view in snapshot.pools.items()}
        self._held = {key: self._hold(key, view, pricing) for key, view in snapshot.routers.items()}
        self._put(self._held)

    def status(self, key: Key) -> ObjectiveStatus | None:
        """The status of a router's objective; None if it has none."""
        held = self._held.get(key)
        return held.status if held else None

    def thresholds(self) -> dict[str, int]:
        """The thresholds of objectives that can move, by router."""
        return {key.name: held.control.threshold for key, held in self._held.items() if held.control}

    def figures(self) -> GatewayFigures:
        """The report of this gateway: its routers that have an objective or got requests."""
        told = {key: held.figures() for key, held in self._held.items() if held.aim or held.counters.totals.requests}
        return GatewayFigures(instance=self.instance, seconds=self.clock() - self._started, routers=told)

    async def follow(self) -> None:
        """Step until cancelled. A round without reports of the others is made up for by the next one."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self.look()
            except PilotfishError as error:
                logger.warning("reading the reports of the other gateways failed: %s", error)

    async def look(self) -> None:
        """Read the reports of the other gateways, and step every objective that can move. Raises PilotfishError."""
        if any(held.control for held in self._held.values()):
            self._step([figures for figures in await self.hear() if figures.instance not in ("", self.instance)])
        else:
            self._looked = self.clock()

    def _step(self, others: Sequence[GatewayFigures]) -> None:
        own = self.figures()
        seconds = self._started + own.seconds - self._looked
        if seconds <= 0:
            return
        self._looked += seconds
        new = self._ledger.take((own, *others), seconds=own.seconds)
        changed: dict[Key, Held] = {}
        for key, held in self._held.items():
            if held.aim is None or held.control is None:
                continue
            before = held.control.threshold
            told = (figures.routers[key].belief for figures in others if key in figures.routers)
            control = held.control.agreeing([belief for belief in told if belief])
            held.control = held.aim.step(control, new.get(key, Totals()), seconds)
            if held.control.threshold != before:
                changed[key] = held
        self._put(changed)

    def _hold(self, key: Key, view: RouterView, pricing: Mapping[Key, Pricing | None]) -> Held:
        before = self._held.get(key)
        prices = {name: pricing.get(key.beside("ModelPool", name)) for name in view.router.strategy_pools}
        if before and (before.view, before.prices) == (view, prices):
            return before
        aim = _aim(view, prices)
        if before and before.aim == aim:
            control, counters = before.control, before.counters
        else:
            # Counters restart, because what was spent before does not belong to the new objective.
            control, counters = (aim.begin() if aim else None), UsageCounters()
        counters.follow(view.router)
        return Held(view, prices, aim, control, counters)

    def _put(self, changed: Mapping[Key, Held]) -> None:
        """Replace the routes of these routers with routes that have the threshold in effect, and count."""
        routes = {}
        for key, held in changed.items():
            router = held.router
            view = replace(held.view, router=router)
            for name in router.served_names:
                route = self.table.routes.get(name)
                if route is None or route.router is None or route.router.key != key:
                    continue
                routes[name] = route.with_router(view, held.counters)
        self.table.put(routes)


def _aim(view: RouterView, prices: Mapping[str, Pricing | None]) -> RouterObjective | None:
    scorers = view.router.scorers
    address = artifact_address(scorers[0]) if scorers else None
    return router_objective(view.router, view.artifacts.get(address) if address else None, prices)
