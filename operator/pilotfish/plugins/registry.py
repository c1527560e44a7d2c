"""What is installed: entry points by group and name, listed without import, loaded and checked once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from typing import Any, TypeVar, cast

from pilotfish.base.errors import PluginError
from pilotfish.plugin_api import PLUGIN_API_VERSION
from pilotfish.plugins.extension_points import EXTENSION_POINTS, ExtensionPoint

T = TypeVar("T")

GROUPS = tuple(point.group for point in EXTENSION_POINTS)


@dataclass(frozen=True)
class Installed:
    """One entry point, and the distribution that it comes from."""

    group: str
    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    def __str__(self) -> str:
        return f"{self.group} {self.name!r} of {self.distribution} {self.version} ({self.entry_point.value})"


class Registry:
    """The plugins of one environment. Two distributions with one name are a fault of that name alone."""

    def __init__(self, entries: Iterable[Installed]) -> None:
        self._entries: dict[str, dict[str, list[Installed]]] = {group: defaultdict(list) for group in GROUPS}
        for entry in entries:
            self._entries[entry.group][entry.name].append(entry)
        self._loaded: dict[tuple[str, str], Any] = {}

    @classmethod
    def installed(cls) -> "Registry":
        """What is installed in this environment. Imports no plugin."""
        found: dict[tuple[str, str, str], Installed] = {}
        for distribution in distributions():
            for point in distribution.entry_points:
                if point.group in GROUPS:
                    # the first on the path shadows later copies of the same distribution, as it does for imports
                    key = (point.group, point.name, distribution.name)
                    found.setdefault(key, Installed(*key, distribution.version, point))
        return cls(found.values())

    def entries(self) -> Sequence[Installed]:
        """Everything installed, by group and name."""
        return sorted(
            (entry for named in self._entries.values() for entries in named.values() for entry in entries),
            key=lambda entry: (GROUPS.index(entry.group), entry.name, entry.distribution),
        )

    def names(self, point: ExtensionPoint[Any]) -> Sequence[str]:
        """Names installed in a group, in order."""
        return sorted(self._entries[point.group])

    def load(self, point: ExtensionPoint[T], name: str) -> T:
        """What the entry point names, imported and checked.

        Raises PluginError, which names the distribution, the entry point and what is missing.
        """
        key = (point.group, name)
        if key not in self._loaded:
            self._loaded[key] = _load(point, self._only(point, name))
        return cast("T", self._loaded[key])

    def version(self, point: ExtensionPoint[Any], name: str) -> str:
        """The distribution that has the plugin, and its version. Raises PluginError."""
        entry = self._only(point, name)
        return f"{entry.distribution} {entry.version}"

    def _only(self, point: ExtensionPoint[Any], name: str) -> Installed:
        entries = self._entries[point.group].get(name, [])
        if not entries:
            installed = ", ".join(self.names(point)) or "none"
            raise PluginError(f"no {point.group} plugin is named {name!r}: install it, or use one of: {installed}")
        if len(entries) > 1:
            owners = " and ".join(f"{entry.distribution} {entry.version}" for entry in entries)
            raise PluginError(f"{point.group} {name!r} is provided by {owners}: uninstall all but one")
        return entries[0]


def _load(point: ExtensionPoint[T], entry: Installed) -> T:
    try:
        plugin = entry.entry_point.load()
    except Exception as error:  # a module may raise anything when it is imported
        raise PluginError(f"{entry} cannot be loaded: {type(error).__name__}: {error}") from error
    wanted = getattr(plugin, "plugin_api_version", PLUGIN_API_VERSION)
    if wanted != PLUGIN_API_VERSION:
        raise PluginError(
            f"{entry} requires plugin API {wanted}, this is {PLUGIN_API_VERSION}: install a version for this API"
        )
    try:
        return point.check(plugin)
    except TypeError as error:
        raise PluginError(f"{entry} {error}") from error
