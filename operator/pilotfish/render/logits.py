"""A pool's logits plugins as engine arguments of vLLM: `logits_processors`, and their settings in `additional_config`.

`engine/logits.py` reads them in the engine's processes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pilotfish.api import AdaptationPlugin, ModelPool
from pilotfish.api.logits import LogitsModel
from pilotfish.base.keys import Key

PROCESSORS = "pilotfish.engine.logits"
"""The module whose attribute of a plugin's type is a logits processor of vLLM."""
SETTINGS = "pilotfish_logits"
"""Key of the settings in vLLM's `additional_config`: by type, `config` and `models`, a folder by role."""


@dataclass(frozen=True)
class LogitsSettings:
    """One plugin of a pool's `spec.logits`."""

    type: str
    config: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    """Folder of each model's weights, by role."""


def logits_settings(
    pool: ModelPool, find: Callable[[Key], AdaptationPlugin | None], folder: Callable[[int, LogitsModel], str]
) -> tuple[LogitsSettings, ...]:
    """The plugins of a pool, in order, without those that are not found.

    `folder` returns the folder of a model; its first argument is the number of the plugin, from 0.
    """
    found = [
        (index, use, find(pool.key.beside("AdaptationPlugin", use.plugin_ref.name)))
        for index, use in enumerate(pool.spec.logits or ())
    ]
    return tuple(
        LogitsSettings(plugin.spec.type, plugin.spec.config, {each.role: folder(index, each) for each in use.models})
        for index, use, plugin in found
        if plugin is not None
    )


def logits_arguments(plugins: Iterable[LogitsSettings], given: Mapping[str, Any]) -> dict[str, Any]:
    """The engine arguments of the plugins. `given` are those of the manifest, which may name other processors.

    Log-probabilities are those after the plugins, because scorers judge what was sampled.
    """
    used = tuple(plugins)
    if not used:
        return {}
    others: Sequence[str] = given.get("logits_processors") or ()
    return {
        "logits_processors": [*others, *(f"{PROCESSORS}:{each.type}" for each in used)],
        "additional_config": {
            **(given.get("additional_config") or {}),
            SETTINGS: {each.type: {"config": dict(each.config), "models": dict(each.models)} for each in used},
        },
        "logprobs_mode": given.get("logprobs_mode", "processed_logprobs"),
    }
