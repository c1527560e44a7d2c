"""Routes: how each served name is answered. Plugins are loaded and judges chosen here, once for each snapshot."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import orjson

from pilotfish.api.modelrouter import ModelRouter
from pilotfish.api.strategy import Scorer
from pilotfish.base.errors import ConfigError, PluginError
from pilotfish.gateway.judges import Judge, judge_of
from pilotfish.gateway.usage_counters import UsageCounters
from pilotfish.plugin_api.scorers import AnswerScorer, JudgeScorer, PromptScorer
from pilotfish.plugin_api.settings import Settings
from pilotfish.routing.plan import Plan, Step, fixed_plan
from pilotfish.routing.snapshot import RouterView, Snapshot, Target

AnyScorer = AnswerScorer | JudgeScorer | PromptScorer
LoadScorer = Callable[[str, Settings], AnyScorer]
"""Makes a scorer, by its entry-point name. Raises PluginError or ConfigError."""

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
    fault: str = ""
    counters: UsageCounters | None = None
    """Counts the requests of a router."""

    @property
    def router(self) -> ModelRouter | None:
        """The router behind the name, if it is not a pool's own."""
        return self.target.router.router if self.target.router else None

    @property
    def exploration_permille(self) -> int:
        """The share of requests that explore, in permille."""
        exploration = self.router.spec.exploration if self.router else None
        return exploration.permille if exploration else 0

    @property
    def reason(self) -> str:
        """Why the route cannot answer, as far as it is known."""
        return self.fault or (self.target.pool.reason if self.target.pool else "")

    def can_answer(self, snapshot: Snapshot) -> bool:
        """Whether some pool that the route may ask can answer now."""
        if self.fault:
            return False
        names: tuple[str, ...] = (self.name,)
        if self.router:
            fallback = (entry.pool_ref.name for entry in self.router.spec.fallback)
            names = (*self.router.strategy_pools, *fallback)
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


def artifact_address(scorer: Scorer) -> str | None:
    """The address of a scorer's artifact, the key of `RouterView.artifacts`."""
    artifact = scorer.artifact
    if artifact is None:
        return None
    if artifact.config_map_ref:
        return f"configmap://{artifact.config_map_ref.name}/{artifact.config_map_ref.key}"
    return artifact.uri


class RouteTable:
    """Routes by served name. Scorers that did not change are kept from one snapshot to the next."""

    def __init__(self, load_scorer: LoadScorer) -> None:
        self._load_scorer = load_scorer
        self._loaded: dict[str, AnyScorer] = {}
        self.snapshot = Snapshot({}, {}, {}, {}, {})
        self.routes: Mapping[str, Route] = {}

    def apply(self, snapshot: Snapshot) -> None:
        """Replace all routes. A router whose scorer cannot be made becomes a route with a fault."""
        kept: dict[str, AnyScorer] = {}
        self.routes = {name: self._route(target, kept) for name, target in snapshot.targets.items()}
        self.snapshot = snapshot
        self._loaded = kept

    def put(self, routes: Mapping[str, Route]) -> None:
        """Replace these routes. Open requests keep the route that they began with."""
        self.routes = {**self.routes, **routes}

    def _route(self, target: Target, kept: dict[str, AnyScorer]) -> Route:
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
            return self._with_scorers(route, target.router, kept)
        except (ConfigError, PluginError) as error:
            return replace(route, fault=f"router {router.name!r}: {error}")

    def _with_scorers(self, route: Route, view: RouterView, kept: dict[str, AnyScorer]) -> Route:
        predictive = view.router.spec.strategy.predictive
        if predictive:
            scorer = self._scorer(predictive.scorer, view, kept)
            if not isinstance(scorer, PromptScorer):
                raise ConfigError(
                    f"scorer {predictive.scorer.name}", "it scores answers, not prompts: use it in a cascade"
                )
            return replace(route, prompt_scorer=scorer)
        judges = tuple(
            judge_of(step.accept, step.pool, self._scorer(step.accept.scorer, view, kept)) if step.accept else None
            for step in (route.plan.steps if route.plan else ())
        )
        return replace(route, judges=judges)

    def _scorer(self, scorer: Scorer, view: RouterView, kept: dict[str, AnyScorer]) -> AnyScorer:
        address = artifact_address(scorer)
        artifact = view.artifacts.get(address) if address else None
        if address and artifact is None:
            raise ConfigError(f"scorer {scorer.name}", f"its artifact {address} was not found")
        key = _scorer_key(scorer, artifact)
        loaded = kept.get(key) or self._loaded.get(key)
        if loaded is None:
            loaded = self._load_scorer(scorer.name, Settings(scorer.config, artifact))
        kept[key] = loaded
        return loaded


def _scorer_key(scorer: Scorer, artifact: bytes | None) -> str:
    manifest = orjson.dumps(scorer.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS).decode()
    return manifest + (hashlib.sha256(artifact).hexdigest() if artifact else "")
