"""Routes: how each served name is answered. Plugins are loaded and judges chosen here, once for each snapshot."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from pilotfish.api.adaptationplugin import FailurePolicy
from pilotfish.api.modelrouter import ModelRouter
from pilotfish.base.errors import ConfigError, PluginError
from pilotfish.base.keys import Key
from pilotfish.gateway.adaptations.guard import BoundAdaptation, UnsafePolicy
from pilotfish.gateway.judges import Judge, judge_of
from pilotfish.gateway.loading import PluginLoader
from pilotfish.gateway.usage_counters import UsageCounters
from pilotfish.plugin_api.scorers import PromptScorer
from pilotfish.plugins.chain_digests import chain_digest, staleness
from pilotfish.plugins.registry import Registry
from pilotfish.routing.plan import Plan, Step, fixed_plan
from pilotfish.routing.snapshot import RouterView, Snapshot, Target

logger = logging.getLogger(__name__)

POOL_TIMEOUT_SECONDS = 600
POOL_STRATEGY = "Direct"


@dataclass(frozen=True)
class Route:
    """How one served name is answered. `fault` is the reason why it cannot be, empty where it can.

    `judges` belong to the first steps of `plan`, in order. The other steps take any answer.
    """

    name: str
    namespace: str
    target: Target
    strategy: str
    timeout_seconds: float
    plan: Plan | None = None
    judges: tuple[Judge | None, ...] = ()
    prompt_scorer: PromptScorer | None = None
    """The scorer of a strategy of type Predictive."""
    adaptations: tuple[BoundAdaptation, ...] = ()
    plugins: str | None = None
    """A digest of the adaptations, None where there are none."""
    stale: str = ""
    """Why the thresholds do not belong to the adaptations."""
    fault: str = ""
    counters: UsageCounters | None = None
    """Counts the requests of a router."""

    @cached_property
    def key(self) -> Key:
        """The key of the router, or of the pool."""
        return Key("ModelRouter" if self.target.router else "ModelPool", self.namespace, self.name)

    @property
    def router(self) -> ModelRouter | None:
        """The router behind the name, if it is not a pool's own."""
        return self.target.router.router if self.target.router else None

    @property
    def exploration_permille(self) -> int:
        """The share of requests that explore, in permille."""
        exploration = self.router.spec.exploration if self.router else None
        return exploration.permille if exploration else 0

    def reason(self, snapshot: Snapshot) -> str:
        """Why the route cannot answer, as far as it is known; of a router, the reason of each of its pools."""
        if self.fault or self.target.pool:
            return self.fault or (self.target.pool.reason if self.target.pool else "")
        if self.router is None or self.can_answer(snapshot):
            return ""
        views = [snapshot.pool(self.namespace, name) for name in self.router.answering_pools]
        return "; ".join(f"pool {view.name!r} is {view.state.value}: {view.reason}" for view in views if view)

    def can_answer(self, snapshot: Snapshot) -> bool:
        """Whether some pool that the route may ask can answer now."""
        if self.fault:
            return False
        names = self.router.answering_pools if self.router else (self.name,)
        return not snapshot.answering.get(self.namespace, frozenset()).isdisjoint(names)

    def with_router(self, view: RouterView, counters: UsageCounters) -> Self:
        """The same route with the thresholds of `view`, counted by `counters`."""
        plan = fixed_plan(view.router)
        steps = plan.steps if plan else ()
        judges = tuple(
            judge.at(step.accept) if judge and step.accept else None
            for judge, step in zip(self.judges, steps, strict=False)
        )
        return replace(self, target=replace(self.target, router=view), plan=plan, judges=judges, counters=counters)


class RouteTable:
    """Routes by served name. Scorers that did not change are kept from one snapshot to the next."""

    def __init__(self, registry: Registry, changed: Callable[[], None]) -> None:
        """`changed` is called when the same snapshot makes other routes: apply it again."""
        self._loader = PluginLoader(registry, changed)
        self.snapshot = Snapshot({}, {}, {}, {}, {})
        self.routes: Mapping[str, Route] = {}

    def apply(self, snapshot: Snapshot) -> None:
        """Replace all routes. A router whose plugins cannot be loaded becomes a route with a fault."""
        self._loader.begin()
        self.routes = {name: self._route(target, snapshot) for name, target in snapshot.targets.items()}
        self.snapshot = snapshot

    def stop(self) -> None:
        """Stop what is being loaded."""
        self._loader.stop()

    def put(self, routes: Mapping[str, Route]) -> None:
        """Replace these routes. Open requests keep the route that they began with."""
        self.routes = {**self.routes, **routes}

    def _route(self, target: Target, snapshot: Snapshot) -> Route:
        if target.router is None:
            plan = Plan((Step(target.name),))
            return Route(target.name, target.namespace, target, POOL_STRATEGY, POOL_TIMEOUT_SECONDS, plan)
        router = target.router.router
        route = Route(
            router.name,
            target.namespace,
            target,
            router.spec.strategy.type.value,
            router.spec.timeout_seconds,
            fixed_plan(router),
            fault=target.fault,
        )
        try:
            route = self._with_scorers(route, target.router)
            adaptations = tuple(self._adaptations(route, snapshot))
            plugins = chain_digest([each.identity for each in adaptations])
            return replace(route, adaptations=adaptations, plugins=plugins, stale=staleness(router, plugins))
        except (ConfigError, PluginError) as error:
            return replace(route, fault=f"router {router.name!r}: {error}")

    def _with_scorers(self, route: Route, view: RouterView) -> Route:
        predictive = view.router.spec.strategy.predictive
        if predictive:
            scorer = self._loader.scorer(predictive.scorer, view)
            if not isinstance(scorer, PromptScorer):
                raise ConfigError(
                    f"scorer {predictive.scorer.name}", "it scores answers, not prompts: use it in a cascade"
                )
            return replace(route, prompt_scorer=scorer)
        judges = tuple(
            judge_of(step.accept, step.pool, self._loader.scorer(step.accept.scorer, view)) if step.accept else None
            for step in (route.plan.steps if route.plan else ())
        )
        return replace(route, judges=judges)

    def _adaptations(self, route: Route, snapshot: Snapshot) -> Iterator[BoundAdaptation]:
        """The router's adaptations. One that cannot be loaded is left out, unless its failurePolicy is Fail."""
        for use in route.router.spec.plugins if route.router else ():
            manifest = snapshot.plugins.get(Key("AdaptationPlugin", route.namespace, use.plugin_ref.name))
            if manifest is None:
                continue  # a fault of the target already
            try:
                folder = snapshot.prepared.get(manifest.key)
                plugin = self._loader.adaptation(manifest, folder)
                yield BoundAdaptation.of(manifest, plugin, self._loader.identity(manifest, folder))
            except UnsafePolicy as error:
                raise PluginError(f"plugin {manifest.name!r}: {error}") from error
            except (ConfigError, PluginError) as error:
                if manifest.spec.failure_policy is FailurePolicy.FAIL:
                    raise PluginError(f"plugin {manifest.name!r}: {error}") from error
                logger.warning("router %s answers without plugin %s: %s", route.name, manifest.name, error)
