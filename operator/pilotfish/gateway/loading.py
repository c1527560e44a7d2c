"""Loads the scorers and adaptations of routers. Those that did not change are kept for the next snapshot."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson

from pilotfish.api import AdaptationPlugin
from pilotfish.api.common import Model
from pilotfish.api.strategy import Scorer
from pilotfish.base.errors import ConfigError, PluginError
from pilotfish.gateway.adaptations.guard import check_policy
from pilotfish.gateway.prepared import PreparedAdaptations
from pilotfish.plugin_api.adaptations import Adaptation
from pilotfish.plugin_api.preparing import prepares
from pilotfish.plugin_api.scorers import AnswerScorer, JudgeScorer, PromptScorer
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.chain_digests import Identity, identity_of
from pilotfish.plugins.extension_points import ADAPTATIONS, SCORERS
from pilotfish.plugins.registry import Registry
from pilotfish.routing.snapshot import RouterView

AnyScorer = AnswerScorer | JudgeScorer | PromptScorer
P = TypeVar("P")


class PluginLoader:
    """Plugin instances by their manifest. What is not asked for between two calls of `begin` is dropped."""

    def __init__(self, registry: Registry, changed: Callable[[], None]) -> None:
        """`changed` is called whenever an adaptation that takes time to load was loaded or cannot be."""
        self._registry = registry
        self._prepared = PreparedAdaptations(changed)
        self._loaded: dict[str, Any] = {}
        self._used: dict[str, Any] = {}

    def begin(self) -> None:
        """A new snapshot: drop what the last one did not use."""
        self._loaded, self._used = self._used, {}
        self._prepared.begin()

    def stop(self) -> None:
        """Stop what is being loaded."""
        self._prepared.stop()

    def scorer(self, scorer: Scorer, view: RouterView) -> AnyScorer:
        """The scorer of a router. Raises PluginError, and ConfigError for its config or a missing artifact."""
        address = artifact_address(scorer)
        artifact = view.artifacts.get(address) if address else None
        if address and artifact is None:
            raise ConfigError(
                f"scorer {scorer.name}", f"its artifact {address} does not exist: create it, or correct `artifact`"
            )
        digest = hashlib.sha256(artifact).hexdigest() if artifact else ""
        return self._kept(
            _key("scorer", scorer, digest),
            lambda: self._registry.load(SCORERS, scorer.name).from_settings(Settings(scorer.config, artifact)),
        )

    def adaptation(self, plugin: AdaptationPlugin, prepared: Path | None) -> Adaptation:
        """The adaptation of a manifest, with the folder that it prepared. Raises PluginError, also while it is not
        prepared, UnsafePolicy, and ConfigError for its config.
        """
        found = self._registry.load(ADAPTATIONS, plugin.spec.type)
        check_policy(plugin, found)

        def load() -> Adaptation:
            return found.from_settings(Settings(plugin.spec.config, prepared=prepared))

        if prepares(found, plugin):
            return self._prepared.find(plugin, prepared, lambda: _from_folder(load))
        return self._kept(_key("adaptation", plugin.spec, f"{plugin.metadata.namespace}/{plugin.name}"), load)

    def identity(self, plugin: AdaptationPlugin, prepared: Path | None) -> Identity:
        """What the effect of an adaptation depends on. Raises PluginError."""
        return identity_of(plugin, self._registry.version(ADAPTATIONS, plugin.spec.type), prepared)

    def _kept(self, key: str, load: Callable[[], P]) -> P:
        found: P | None = self._used.get(key) or self._loaded.get(key)
        if found is None:
            found = _made(load)
        self._used[key] = found
        return found


def _made(load: Callable[[], P]) -> P:
    try:
        return load()
    except (ConfigError, PluginError):
        raise
    except Exception as error:  # the constructor of a plugin may raise anything
        raise PluginError(f"it cannot be made from its settings: {type(error).__name__}: {error}") from error


def _from_folder(load: Callable[[], P]) -> P:
    try:
        return _made(load)
    except ConfigError as error:
        raise PluginError(str(error)) from error


def artifact_address(scorer: Scorer) -> str | None:
    """The address of a scorer's artifact, the key of `RouterView.artifacts`."""
    artifact = scorer.artifact
    if artifact is None:
        return None
    if artifact.config_map_ref:
        return f"configmap://{artifact.config_map_ref.name}/{artifact.config_map_ref.key}"
    return artifact.uri


def _key(kind: str, manifest: Model, more: str) -> str:
    return f"{kind} {orjson.dumps(manifest.model_dump(mode='json'), option=orjson.OPT_SORT_KEYS).decode()} {more}"
