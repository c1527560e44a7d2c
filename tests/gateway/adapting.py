"""Adaptation plugins that a test installs for its gateway, and the manifests that use them."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any, Self

from pilotfish.api import AdaptationPlugin
from pilotfish.plugin_api.adaptations import OnAnswer, OnRequest
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.extension_points import ADAPTATIONS
from pilotfish.plugins.registry import Installed, Registry

from .conftest import House, cascade, resource


class Configured:
    """Keeps its config."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(settings.config)


def install(house: House, module: str, plugins: Mapping[str, type[OnRequest] | type[OnAnswer]]) -> None:
    """Let the gateway of the house find these classes of a module, besides what is installed."""
    points = [EntryPoint(name, f"{module}:{each.__name__}", ADAPTATIONS.group) for name, each in plugins.items()]
    own = [Installed(ADAPTATIONS.group, point.name, "tests", "1", point) for point in points]
    house.registry = Registry([*Registry.installed().entries(), *own])


def plugin(kind: str, policy: str = "Fail", timeout: int = 5, **config: Any) -> AdaptationPlugin:
    text = "\n".join(f"    {name}: {value!r}" for name, value in config.items()) or "    {}"
    return resource(f"""
apiVersion: pilotfish.dev/v1alpha1
kind: AdaptationPlugin
metadata: {{name: {kind}}}
spec:
  type: {kind}
  poolRefs: [{{role: helper, name: large}}]
  failurePolicy: {policy}
  timeoutSeconds: {timeout}
  config:
{text}
""")


def adapted(*names: str) -> Any:
    uses = ", ".join(f"{{pluginRef: {{name: {name}}}}}" for name in names)
    return cascade(extra=f", plugins: [{uses}]")
