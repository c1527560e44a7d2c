"""What plugins add to the `pilotfish` object of an answer: JSON values of bounded size, by plugin."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from pilotfish.base.errors import PluginFailed
from pilotfish.gateway.adaptations.guard import Fault, PluginFault
from pilotfish.gateway.records import RequestRecord

MAX_NOTES_BYTES = 64 * 1024
"""The notes of one plugin on one request, as JSON."""

MAX_ERROR_CHARACTERS = 1000


@dataclass
class Notes:
    """The notes on a request, or on one answer of it: those are dropped with an answer that is not taken."""

    record: RequestRecord
    taken: bool = True
    waiting: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, plugin: str, notes: Mapping[str, Any]) -> None:
        """Add notes of a plugin to those that it has. Raises PluginFault where they are no JSON or too large."""
        if not notes:
            return
        kept = self._kept()
        merged = checked({**kept.get(plugin, {}), **notes})
        kept[plugin] = merged

    def fail(self, plugin: str, error: PluginFailed) -> None:
        """Note that a plugin failed."""
        self._kept().setdefault(plugin, {})["error"] = error.message[:MAX_ERROR_CHARACTERS]

    def take(self) -> None:
        """The answer is taken: its notes are the request's."""
        if not self.taken:
            self.taken = True
            for plugin, notes in self.waiting.items():
                self._kept().setdefault(plugin, {}).update(notes)

    def _kept(self) -> dict[str, dict[str, Any]]:
        if not self.taken:
            return self.waiting
        kept: dict[str, dict[str, Any]] = self.record.details.setdefault("plugins", {})
        return kept


def checked(notes: Mapping[str, Any]) -> dict[str, Any]:
    """The notes, if they are JSON of at most MAX_NOTES_BYTES. Raises PluginFault."""
    try:
        size = len(orjson.dumps(notes))
    except TypeError as error:
        raise PluginFault(Fault.INVALID, f"returned notes that are not JSON: {error}") from error
    if size > MAX_NOTES_BYTES:
        raise PluginFault(Fault.TOO_MUCH, f"returned notes of {size} bytes, but the maximum is {MAX_NOTES_BYTES}")
    return dict(notes)
