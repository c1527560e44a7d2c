"""What a schema cannot know: warnings, as another installation may have what is missing here."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pilotfish.api import AdaptationPlugin, AutoscalingPolicy, ModelPool, ModelRouter, Resource
from pilotfish.api.engine import ModelSource
from pilotfish.api.engineargs import engine_arg_faults
from pilotfish.api.strategy import Cascade, Scorer, Streaming
from pilotfish.api.validation import Fault
from pilotfish.api.validation import Path as FieldPath
from pilotfish.base.errors import ConfigError, PluginError
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.extension_points import ADAPTATIONS, SCORERS, SOURCES, ExtensionPoint
from pilotfish.plugins.registry import Registry

Holds = Callable[[str, str], bool]
"""Whether an object of that kind (first) and name (second) is in the same namespace and in the files."""


@dataclass(frozen=True)
class Advisor:
    """Gives warnings about a resource, knowing what is installed and what else is there."""

    registry: Registry
    holds: Holds

    def advise(self, resource: Resource) -> Sequence[Fault]:
        """Everything about the resource that will not be accepted here, or not resolve."""
        match resource:
            case ModelPool():
                return tuple(self._pool(resource))
            case ModelRouter():
                return tuple(self._router(resource))
            case AdaptationPlugin():
                return tuple(self._plugin(resource))
        return ()

    def remark(self, resource: Resource) -> Sequence[Fault]:
        """What is accepted, and does not do what it seems to."""
        cascade = resource.spec.strategy.cascade if isinstance(resource, ModelRouter) else None
        return tuple(self._held(cascade)) if cascade else ()

    def _pool(self, pool: ModelPool) -> Iterator[Fault]:
        for path, source in sources_of(pool):
            yield from self._scheme((*path, "uri"), source.uri)
        yield from engine_arg_faults(pool)
        policy = pool.spec.autoscaling_policy_ref
        if policy is not None:
            yield from self._reference(("spec", "autoscalingPolicyRef", "name"), AutoscalingPolicy, policy.name)

    def _router(self, router: ModelRouter) -> Iterator[Fault]:
        for path, name in pool_references(router):
            yield from self._reference(path, ModelPool, name)
        for index, use in enumerate(router.spec.plugins):
            path = ("spec", "plugins", index, "pluginRef", "name")
            yield from self._reference(path, AdaptationPlugin, use.plugin_ref.name)
        for path, scorer in scorers_of(router):
            yield from self._scorer(path, scorer)

    def _held(self, cascade: Cascade) -> Iterator[Fault]:
        """Stages of EarlyExit whose scorer judges whole answers."""
        path: FieldPath = ("spec", "strategy", "cascade")
        accepts = [(index, stage.accept) for index, stage in enumerate(cascade.stages) if stage.accept is not None]
        held = [(index, accept) for index, accept in accepts if self._judges_whole(accept.scorer.name)]
        if cascade.streaming is not Streaming.EARLY_EXIT or not held:
            return
        for index, accept in held:
            if accept.decide_within_tokens is not None:
                text = f"scorer {accept.scorer.name!r} judges whole answers: this stage is held to its end; remove it"
                yield Fault((*path, "stages", index, "accept", "decideWithinTokens"), text)
        if len(held) == len(accepts):
            text = (
                "EarlyExit has no effect: every scorer judges whole answers, stages are held to their end; write Hold"
            )
            yield Fault((*path, "streaming"), text)

    def _judges_whole(self, scorer: str) -> bool:
        """Not so of one that cannot be loaded, which is told elsewhere."""
        try:
            return hasattr(self.registry.load(SCORERS, scorer), "judge")
        except PluginError:
            return False

    def _plugin(self, plugin: AdaptationPlugin) -> Iterator[Fault]:
        if plugin.spec.type not in self.registry.names(ADAPTATIONS):
            yield Fault(("spec", "type"), self._not_installed("plugin", ADAPTATIONS, plugin.spec.type))
        for index, ref in enumerate(plugin.spec.pool_refs):
            yield from self._reference(("spec", "poolRefs", index, "name"), ModelPool, ref.name)
        for index, source in enumerate(plugin.spec.sources):
            if source.uri is not None:
                yield from self._scheme(("spec", "sources", index, "uri"), source.uri)

    def _scheme(self, path: FieldPath, uri: str) -> Iterator[Fault]:
        scheme = uri.partition("://")[0]
        if scheme not in self.registry.names(SOURCES):
            yield Fault(path, self._not_installed("source", SOURCES, f"{scheme}://"))

    def _scorer(self, path: FieldPath, scorer: Scorer) -> Iterator[Fault]:
        if scorer.name not in self.registry.names(SCORERS):
            yield Fault((*path, "name"), self._not_installed("scorer", SCORERS, scorer.name))
            return
        try:
            plugin = self.registry.load(SCORERS, scorer.name)
            if scorer.artifact is None:
                plugin.from_settings(Settings(config=scorer.config))
        except PluginError as error:
            yield Fault((*path, "name"), str(error))
        except ConfigError as error:
            yield Fault((*path, *error.field.split(".")), error.message)

    def _reference(self, path: FieldPath, kind: type[Resource], name: str) -> Iterator[Fault]:
        if not self.holds(kind.__name__, name):
            yield Fault(path, f"there is no {kind.__name__} {name!r} in these files")

    def _not_installed(self, what: str, point: ExtensionPoint[Any], name: str) -> str:
        installed = ", ".join(self.registry.names(point)) or "none"
        return f"no installed {what} is called {name}; installed: {installed}"


def sources_of(pool: ModelPool) -> Iterator[tuple[FieldPath, ModelSource]]:
    """Every place of weights that a pool names, with its path: the model, its draft model, its adapters."""
    if pool.spec.model is not None:
        yield ("spec", "model"), pool.spec.model
    speculative = pool.engine.speculative
    if speculative is not None and speculative.draft_model is not None:
        yield ("spec", "engine", "speculative", "draftModel"), speculative.draft_model
    for index, adapter in enumerate(pool.spec.adapters or ()):
        yield ("spec", "adapters", index, "model"), adapter.model


def scorers_of(router: ModelRouter) -> Iterator[tuple[FieldPath, Scorer]]:
    """Every scorer that a router names, with its path."""
    strategy: FieldPath = ("spec", "strategy")
    if router.spec.strategy.predictive is not None:
        yield (*strategy, "predictive", "scorer"), router.spec.strategy.predictive.scorer
    if router.spec.strategy.cascade is not None:
        for index, stage in enumerate(router.spec.strategy.cascade.stages):
            if stage.accept is not None:
                yield (*strategy, "cascade", "stages", index, "accept", "scorer"), stage.accept.scorer


def pool_references(router: ModelRouter) -> Iterator[tuple[FieldPath, str]]:
    """Every pool that a router names, with the path of the name."""
    strategy = router.spec.strategy
    path: FieldPath = ("spec", "strategy")
    if strategy.direct is not None:
        yield (*path, "direct", "poolRef", "name"), strategy.direct.pool_ref.name
    for index, weighted in enumerate(strategy.weighted.pools if strategy.weighted else ()):
        yield (*path, "weighted", "pools", index, "poolRef", "name"), weighted.pool_ref.name
    for index, candidate in enumerate(strategy.predictive.candidates if strategy.predictive else ()):
        yield (*path, "predictive", "candidates", index, "poolRef", "name"), candidate.pool_ref.name
    for index, stage in enumerate(strategy.cascade.stages if strategy.cascade else ()):
        yield (*path, "cascade", "stages", index, "poolRef", "name"), stage.pool_ref.name
    for where, scorer in scorers_of(router):
        for index, ref in enumerate(scorer.pool_refs):
            yield (*where, "poolRefs", index, "name"), ref.name
    for index, fallback in enumerate(router.spec.fallback):
        yield ("spec", "fallback", index, "poolRef", "name"), fallback.pool_ref.name
