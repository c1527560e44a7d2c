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
from pilotfish.routing.gateway_usage import GatewayUsage, RouterUsage, Totals, UsageDeltas
from pilotfish.routing.objective_status import RouterObjective, moved, router_objective
from pilotfish.routing.snapshot import RouterView, Snapshot
from pilotfish.routing.threshold_control import ControlState

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 2.0
"""Between two steps."""

AskGateways = Callable[[], Awaitable[Sequence[GatewayUsage]]]
"""The reports of all gateways, possibly including this one. Raises PilotfishError if no gateway can be asked."""


async def no_gateways() -> Sequence[GatewayUsage]:
    """The other gateways of one that is alone."""
    return ()


@dataclass
class TrackedRouter:
    """One router here: what it took, and where its threshold is."""

    view: RouterView
    prices: Mapping[str, Pricing | None]
    objective: RouterObjective | None
    control: ControlState | None
    counters: UsageCounters
    stale: str = ""
    """Why the thresholds do not belong to the plugins."""

    @property
    def router(self) -> ModelRouter:
        """The router with the threshold in effect."""
        router = self.view.router
        return moved(router, self.control.threshold) if self.control else router

    @property
    def status(self) -> ObjectiveStatus | None:
        """The status of the objective."""
        if self.objective is None:
            return None
        status = self.objective.status(self.control)
        return status.model_copy(update={"message": status.message or self.stale})

    def usage(self) -> RouterUsage:
        """The report for other gateways and the operator."""
        belief, status = self.control.belief if self.control else None, self.status
        return RouterUsage(
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
    ask_gateways: AskGateways = no_gateways
    instance: str = field(default_factory=lambda: uuid.uuid4().hex)
    _tracked: dict[Key, TrackedRouter] = field(default_factory=dict)
    _deltas: UsageDeltas = field(default_factory=UsageDeltas)
    _started: float = field(init=False)
    _stepped_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self._stepped_at = self.clock()

    def apply(self, snapshot: Snapshot) -> None:
        """Take over a snapshot that the table has. Routers keep their counts, and unchanged objectives their state."""
        pricing = {key: view.pool.spec.pricing for key, view in snapshot.pools.items()}
        self._tracked = {key: self._track(key, view, pricing) for key, view in snapshot.routers.items()}
        self._put(self._tracked)

    def status(self, key: Key) -> ObjectiveStatus | None:
        """The status of a router's objective; None if it has none."""
        tracked = self._tracked.get(key)
        return tracked.status if tracked else None

    def thresholds(self) -> dict[str, int]:
        """The thresholds of objectives that can move, by router."""
        return {key.name: tracked.control.threshold for key, tracked in self._tracked.items() if tracked.control}

    def usage(self) -> GatewayUsage:
        """The report of this gateway: its routers that have an objective or got requests."""
        reported = {
            key: tracked.usage()
            for key, tracked in self._tracked.items()
            if tracked.objective or tracked.counters.totals.requests
        }
        return GatewayUsage(instance=self.instance, seconds=self.clock() - self._started, routers=reported)

    async def follow(self) -> None:
        """Step until cancelled. A round without reports of the others is made up for by the next one."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self.step()
            except PilotfishError as error:
                logger.warning("reading the reports of the other gateways failed: %s", error)

    async def step(self) -> None:
        """Read the reports of the other gateways, and step every objective that can move. Raises PilotfishError."""
        if any(tracked.control for tracked in self._tracked.values()):
            self._step([usage for usage in await self.ask_gateways() if usage.instance not in ("", self.instance)])
        else:
            self._stepped_at = self.clock()

    def _step(self, others: Sequence[GatewayUsage]) -> None:
        own = self.usage()
        seconds = self._started + own.seconds - self._stepped_at
        if seconds <= 0:
            return
        self._stepped_at += seconds
        new = self._deltas.take((own, *others), seconds=own.seconds)
        changed: dict[Key, TrackedRouter] = {}
        for key, tracked in self._tracked.items():
            if tracked.objective is None or tracked.control is None:
                continue
            before = tracked.control.threshold
            reported = (usage.routers[key].belief for usage in others if key in usage.routers)
            control = tracked.control.agreeing([belief for belief in reported if belief])
            tracked.control = tracked.objective.step(control, new.get(key, Totals()), seconds)
            if tracked.control.threshold != before:
                changed[key] = tracked
        self._put(changed)

    def _track(self, key: Key, view: RouterView, pricing: Mapping[Key, Pricing | None]) -> TrackedRouter:
        before = self._tracked.get(key)
        prices = {name: pricing.get(key.beside("ModelPool", name)) for name in view.router.strategy_pools}
        if before and (before.view, before.prices) == (view, prices):
            return before
        objective = _objective(view, prices)
        if before and before.objective == objective:
            control, counters = before.control, before.counters
        else:
            # Counters restart, because what was spent before does not belong to the new objective.
            control, counters = (objective.begin() if objective else None), UsageCounters()
        counters.follow(view.router)
        return TrackedRouter(view, prices, objective, control, counters)

    def _put(self, changed: Mapping[Key, TrackedRouter]) -> None:
        """Replace the routes of these routers with routes that have the threshold in effect, and count."""
        routes = {}
        for key, tracked in changed.items():
            router = tracked.router
            view = replace(tracked.view, router=router)
            for name in router.served_names:
                route = self.table.routes.get(name)
                if route is None or route.router is None or route.router.key != key:
                    continue
                tracked.stale = route.stale
                routes[name] = route.with_router(view, tracked.counters)
        self.table.put(routes)


def _objective(view: RouterView, prices: Mapping[str, Pricing | None]) -> RouterObjective | None:
    scorers = view.router.scorers
    address = artifact_address(scorers[0]) if scorers else None
    return router_objective(view.router, view.artifacts.get(address) if address else None, prices)
