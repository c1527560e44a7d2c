"""What is installed: entry points by group and name, listed without importing, loaded by name, checked when loaded."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from typing import Any, cast

from pilotfish.base.errors import PluginError
from pilotfish.plugin_api import PLUGIN_API_VERSION
from pilotfish.plugin_api.scorers import AnswerScorer, JudgeScorer, PromptScorer
from pilotfish.plugin_api.sources import Source

SCORERS = "pilotfish.scorers"
SOURCES = "pilotfish.sources"
ADAPTATIONS = "pilotfish.adaptations"
LOGITS = "pilotfish.logits"

GROUPS = (SCORERS, SOURCES, ADAPTATIONS, LOGITS)

_MEMBERS: Mapping[str, tuple[frozenset[str], ...]] = {
    SCORERS: (
        frozenset({"from_settings", "start"}),
        frozenset({"from_settings", "judge"}),
        frozenset({"from_settings", "predict"}),
    ),
    SOURCES: (frozenset({"resolve", "files", "read"}),),
}
"""Members that a plugin of a group must have: all of one of the sets."""

ScorerType = type[AnswerScorer] | type[JudgeScorer] | type[PromptScorer]


@dataclass(frozen=True)
class Installed:
    """One entry point, and the distribution that brings it."""

    group: str
    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    def __str__(self) -> str:
        return f"{self.group} {self.name!r} of {self.distribution} {self.version}"


class Registry:
    """The plugins of one environment. Two distributions that bring one name are a fault of that name alone."""

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

    def names(self, group: str) -> Sequence[str]:
        """Names installed in a group, in order."""
        return sorted(self._entries[group])

    def load(self, group: str, name: str) -> Any:
        """What the entry point names, imported and checked. Raises PluginError, caused by the import error."""
        if (group, name) not in self._loaded:
            self._loaded[group, name] = _load(self._only(group, name))
        return self._loaded[group, name]

    def scorer(self, name: str) -> ScorerType:
        """The scorer of that name. Raises PluginError."""
        return cast("ScorerType", self.load(SCORERS, name))

    def source(self, scheme: str) -> Source:
        """The source of that scheme. Raises PluginError."""
        return cast("Source", self.load(SOURCES, scheme)())

    def _only(self, group: str, name: str) -> Installed:
        entries = self._entries[group].get(name, [])
        if not entries:
            installed = ", ".join(self.names(group)) or "none"
            raise PluginError(f"no {group} plugin is called {name!r}: install one, or name one of: {installed}")
        if len(entries) > 1:
            owners = " and ".join(f"{entry.distribution} {entry.version}" for entry in entries)
            raise PluginError(f"{group} {name!r} is brought by {owners}: uninstall all but one")
        return entries[0]


def _load(entry: Installed) -> Any:
    try:
        plugin = entry.entry_point.load()
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{entry} cannot be loaded: {entry.entry_point.value}: {error}") from error
    wanted = getattr(plugin, "plugin_api_version", PLUGIN_API_VERSION)
    if wanted != PLUGIN_API_VERSION:
        raise PluginError(
            f"{entry} is written for plugin API {wanted}, this is {PLUGIN_API_VERSION}: install a version that fits"
        )
    alternatives = _MEMBERS.get(entry.group, ())
    missing = [sorted(member for member in members if not hasattr(plugin, member)) for members in alternatives]
    if missing and all(missing):
        raise PluginError(f"{entry} lacks {' or '.join(', '.join(names) for names in missing)}")
    return plugin
