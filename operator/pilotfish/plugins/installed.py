"""The installed plugins as the checks of specs need them: names, and the classes of scorers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pilotfish.api import AdaptationPlugin
from pilotfish.base.errors import PluginError
from pilotfish.plugin_api.preparing import prepares
from pilotfish.plugins.extension_points import ADAPTATIONS, LOGITS, SCORERS, SOURCES
from pilotfish.plugins.registry import Registry


@dataclass(frozen=True)
class InstalledPlugins:
    """Implements `reconcile.kind.Installed`."""

    registry: Registry

    @property
    def scorers(self) -> Sequence[str]:
        """Names of the installed scorers."""
        return self.registry.names(SCORERS)

    @property
    def sources(self) -> Sequence[str]:
        """Schemes of the installed sources."""
        return self.registry.names(SOURCES)

    @property
    def adaptations(self) -> Sequence[str]:
        """Names of the installed adaptations."""
        return self.registry.names(ADAPTATIONS)

    @property
    def logits(self) -> Sequence[str]:
        """Names of the installed logits plugins."""
        return self.registry.names(LOGITS)

    def scorer(self, name: str) -> Any:
        """The class of a scorer. Raises PluginError."""
        return self.registry.load(SCORERS, name)

    def adaptation(self, name: str) -> Any:
        """The class of an adaptation. Raises PluginError."""
        return self.registry.load(ADAPTATIONS, name)

    def prepares(self, plugin: AdaptationPlugin) -> bool:
        """Whether the plugin's class prepares its documents. False where the class cannot be loaded."""
        try:
            return prepares(self.adaptation(plugin.spec.type), plugin)
        except PluginError:
            return False

    def logits_plugin(self, name: str) -> Any:
        """The class of a logits plugin. Raises PluginError."""
        return self.registry.load(LOGITS, name)
