"""Adaptations that read a prepared folder: each is loaded in a thread, and the one before it answers until then."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pilotfish.api import AdaptationPlugin
from pilotfish.base.backoff import backoff_seconds
from pilotfish.base.errors import PluginError
from pilotfish.base.keys import Key
from pilotfish.plugin_api.adaptations import Adaptation

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
"""Seconds before a folder is loaded again, doubled before each later try: a shared volume may show it late."""
MOST_RETRY_SECONDS = 60.0

Load = Callable[[], Adaptation]


@dataclass
class _Held:
    """What is loaded for one AdaptationPlugin, by what it was loaded from, and what is being loaded."""

    loaded: tuple[object, Adaptation] | None = None
    loading: tuple[object, "asyncio.Task[None]"] | None = None
    failure: str = ""

    def stop(self) -> None:
        if self.loading:
            self.loading[1].cancel()
            self.loading = None


class PreparedAdaptations:
    """Adaptations by their AdaptationPlugin. `changed` is called whenever one was loaded or cannot be."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._held: dict[Key, _Held] = {}
        self._used: set[Key] = set()

    def begin(self) -> None:
        """A new snapshot: drop what the last one did not use."""
        for key in self._held.keys() - self._used:
            self._held.pop(key).stop()
        self._used = set()

    def stop(self) -> None:
        """Stop loading."""
        for held in self._held.values():
            held.stop()

    def find(self, plugin: AdaptationPlugin, folder: Path | None, load: Load) -> Adaptation:
        """What is loaded of the plugin: for this folder, else for the one before. A new one begins to load.

        Raises PluginError if nothing is loaded yet.
        """
        self._used.add(plugin.key)
        held = self._held.setdefault(plugin.key, _Held())
        # The folder depends on type and config as well. Until they have their folder, the plugin stays as it was.
        if folder is not None and (held.loaded is None or held.loaded[0] != folder):
            self._begin(plugin.key, held, folder, load)
        if held.loaded is None:
            raise PluginError(_waiting(held))
        return held.loaded[1]

    def _begin(self, key: Key, held: _Held, folder: Path, load: Load) -> None:
        if held.loading and held.loading[0] == folder:
            return
        held.stop()
        held.loading = (folder, asyncio.create_task(self._load(key, held, folder, load)))

    async def _load(self, key: Key, held: _Held, folder: Path, load: Load) -> None:
        tries = 0
        while True:
            try:
                made = await asyncio.to_thread(load)
            except PluginError as error:
                tries += 1
                before, held.failure = held.failure, str(error)
                if before != held.failure:
                    self._changed()
                seconds = backoff_seconds(tries, first=FIRST_RETRY_SECONDS, most=MOST_RETRY_SECONDS)
                logger.warning("plugin %s: %s: loading it again in %.0f s", key.path, error, seconds)
                await asyncio.sleep(seconds)
                continue
            held.loaded, held.loading, held.failure = (folder, made), None, ""
            logger.info("plugin %s uses %s", key.path, folder)
            self._changed()
            return


def _waiting(held: _Held) -> str:
    if held.failure:
        return f"what it prepared cannot be loaded: {held.failure}"
    return "what it prepared is being loaded" if held.loading else "it is not prepared yet"
