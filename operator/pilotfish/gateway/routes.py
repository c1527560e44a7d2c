"""From a snapshot to what a request needs at hand: for every served name a route with its scorers loaded."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from pilotfish.api.modelrouter import ModelRouter
from pilotfish.api.strategy import Scorer
from pilotfish.base.errors import ConfigError, PluginError
from pilotfish.gateway.tally import Tally
from pilotfish.plugin_api.scorers import AnswerScorer, JudgeScorer, PromptScorer, Settings
from pilotfish.routing.plan import Plan, Step, fixed_plan
from pilotfish.routing.snapshot import RouterView, Snapshot, Target

AnyScorer = AnswerScorer | JudgeScorer | PromptScorer
LoadScorer = Callable[[str, Settings], AnyScorer]
"""Makes a scorer by its entry-point name. Raises PluginError or ConfigError."""

POOL_TIMEOUT_SECONDS = 600
POOL_STRATEGY = "Direct"


@dataclass(frozen=True)
class Route:
    """How one served name is answered. `fault` says why it cannot be."""

    name: str
    namespace: str
    target: Target
    strategy: str
    timeout_seconds: float
    plan: Plan | None = None
    scorers: Mapping[str, AnyScorer] = field(default_factory=dict)
    fault: str = ""
    tally: Tally | None = None
    """Counts a router's requests."""

    @property
    def router(self) -> ModelRouter | None:
        """The router behind the name, if it is not a pool's own."""
        return self.target.router.router if self.target.router else None

    def scorer(self, scorer: Scorer) -> AnyScorer:
        """The loaded scorer of a manifest's entry."""
        return self.scorers[scorer_key(scorer)]


def artifact_address(scorer: Scorer) -> str | None:
    """Where a scorer's artifact is, as RouterView keys it."""
    artifact = scorer.artifact
    if artifact is None:
        return None
    if artifact.config_map_ref:
        return f"configmap://{artifact.config_map_ref.name}/{artifact.config_map_ref.key}"
    return artifact.uri


def scorer_key(scorer: Scorer) -> str:
    """What tells one configured scorer from another."""
    return orjson.dumps(scorer.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS).decode()


class RouteTable:
    """Routes by served name. Scorers that did not change are kept from one snapshot to the next."""

    def __init__(self, load_scorer: LoadScorer) -> None:
        self._load_scorer = load_scorer
        self._loaded: dict[str, AnyScorer] = {}
        self.snapshot = Snapshot({}, {}, {}, {}, {})
        self.routes: Mapping[str, Route] = {}

    def apply(self, snapshot: Snapshot) -> None:
        """Take over a snapshot whole. A router whose scorer cannot be made becomes a route with a fault."""
        kept: dict[str, AnyScorer] = {}
        self.routes = {name: self._route(target, kept) for name, target in snapshot.targets.items()}
        self.snapshot = snapshot
        self._loaded = kept

    def put(self, routes: Mapping[str, Route]) -> None:
        """Answer these names by these routes from now on; open requests keep the one they began with."""
        self.routes = {**self.routes, **routes}

    def _route(self, target: Target, kept: dict[str, AnyScorer]) -> Route:
        if target.router is None:
            plan = Plan((Step(target.name),))
            return Route(target.name, target.namespace, target, POOL_STRATEGY, POOL_TIMEOUT_SECONDS, plan)
        router = target.router.router
        scorers: dict[str, AnyScorer] = {}
        fault = target.fault
        try:
            for scorer in router.scorers:
                scorers[scorer_key(scorer)] = self._scorer(scorer, target.router, kept)
        except (ConfigError, PluginError) as error:
            fault = f"router {router.name!r}: {error}"
        return Route(
            router.name,
            target.namespace,
            target,
            router.spec.strategy.type.value,
            router.spec.timeout_seconds,
            fixed_plan(router),
            scorers,
            fault,
        )

    def _scorer(self, scorer: Scorer, view: RouterView, kept: dict[str, AnyScorer]) -> AnyScorer:
        address = artifact_address(scorer)
        artifact = view.artifacts.get(address) if address else None
        if address and artifact is None:
            raise ConfigError(f"scorer {scorer.name}", f"its artifact {address} was not found")
        digest = hashlib.sha256(artifact).hexdigest() if artifact else ""
        key = scorer_key(scorer) + digest
        loaded = kept.get(key) or self._loaded.get(key)
        if loaded is None:
            loaded = self._load_scorer(scorer.name, Settings(scorer.config, artifact))
        kept[key] = loaded
        return loaded
