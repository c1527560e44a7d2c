"""Loads the scorers and adaptations of routers. Those that did not change are kept for the next snapshot."""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import orjson

from pilotfish.api import AdaptationPlugin
from pilotfish.api.common import Model
from pilotfish.api.strategy import Scorer
from pilotfish.base.errors import ConfigError, PluginError
from pilotfish.plugin_api.adaptations import Adaptation
from pilotfish.plugin_api.scorers import AnswerScorer, JudgeScorer, PromptScorer
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.extension_points import ADAPTATIONS, SCORERS
from pilotfish.plugins.registry import Registry
from pilotfish.routing.snapshot import RouterView

AnyScorer = AnswerScorer | JudgeScorer | PromptScorer
P = TypeVar("P")


class PluginLoader:
    """Plugin instances by their manifest. What is not asked for between two calls of `begin` is dropped."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._loaded: dict[str, Any] = {}
        self._used: dict[str, Any] = {}

    def begin(self) -> None:
        """A new snapshot: drop what the last one did not use."""
        self._loaded, self._used = self._used, {}

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

    def adaptation(self, plugin: AdaptationPlugin) -> Adaptation:
        """The adaptation of a manifest. Raises PluginError, and ConfigError for its config."""
        return self._kept(
            _key("adaptation", plugin.spec, f"{plugin.metadata.namespace}/{plugin.name}"),
            lambda: self._registry.load(ADAPTATIONS, plugin.spec.type).from_settings(Settings(plugin.spec.config)),
        )

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
