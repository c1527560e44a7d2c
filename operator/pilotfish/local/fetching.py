"""Fetches the weights and secrets of a pool without blocking the event loop."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pilotfish.api import AdaptationPlugin, AutoscalingPolicy, ModelPool
from pilotfish.api.engine import ModelSource
from pilotfish.api.validation import format_path
from pilotfish.base.errors import ConfigError
from pilotfish.base.keys import Key
from pilotfish.local import engine_arguments
from pilotfish.local.events import OnEvent, Phase, PoolEvent
from pilotfish.local.secrets import Secrets
from pilotfish.plugins.installed import InstalledPlugins
from pilotfish.plugins.registry import Registry
from pilotfish.reconcile.logits_checks import check_pool_plugins
from pilotfish.render.logits import logits_settings
from pilotfish.render.serve_application import EngineContext
from pilotfish.weights import progress
from pilotfish.weights.fetching import ensure

FILES_POLL_SECONDS = 2.0

_PHASES = {
    progress.Phase.FOUND: Phase.FOUND,
    progress.Phase.WAITING: Phase.WAITING,
    progress.Phase.COPYING: Phase.COPYING,
    progress.Phase.VERIFYING: Phase.VERIFYING,
    progress.Phase.CONVERTING: Phase.CONVERTING,
}


Files = Mapping[Path, tuple[int, ...]]
"""Files and folders of this machine by path, each with a stamp: what changes when the file does."""


class _NotWanted(Exception):
    """Stops the work of a thread whose result is no longer awaited."""


@dataclass(frozen=True)
class Fetcher:
    """Fetches what the engine of a pool needs on this machine."""

    cache: Path
    on_event: OnEvent
    volumes: Mapping[str, Path] = field(default_factory=dict)
    secrets: Callable[[], Secrets] = Secrets
    """Those of the manifests as they are now."""
    traces_endpoint: str | None = None
    plugins: Callable[[], Mapping[Key, AdaptationPlugin]] = dict
    """Those of the manifests as they are now."""

    async def prepare(self, pool: ModelPool, policy: AutoscalingPolicy | None) -> EngineContext:
        """Fetch all weights of the pool, one after another. Raises WeightsError, PluginError and ConfigError."""
        key = pool.key
        model, speculative = pool.spec.model, pool.engine.speculative
        assert model is not None  # noqa: S101 - the API has it that a pool without a model is external
        engine_arguments.check(pool.engine.args)
        plugins = self._checked_plugins(pool)
        draft = speculative.draft_model if speculative else None
        adapters = {
            adapter.name: str(await self._fetch(key, adapter.model, f"spec.adapters[{adapter.name}].model"))
            for adapter in pool.spec.adapters or ()
        }
        beside = {
            (number, each.role): str(
                await self._fetch(key, each.model, f"spec.logits[{number}].models[{each.role}].model")
            )
            for number, use in enumerate(pool.spec.logits or ())
            for each in use.models
        }
        return EngineContext(
            weights=str(await self._fetch(key, model, "spec.model")),
            draft_weights=str(await self._fetch(key, draft, "spec.engine.speculative.draftModel")) if draft else None,
            adapters=adapters,
            logits=logits_settings(pool, plugins.get, lambda number, each: beside[number, each.role]),
            policy=policy,
            route_prefix=f"/{key.path}",
            application=f"{key.namespace}.{key.name}",
            traces_endpoint=self.traces_endpoint,
            environment=self._environment(pool, key),
        )

    def _checked_plugins(self, pool: ModelPool) -> Mapping[Key, AdaptationPlugin]:
        """All plugins. Raises ConfigError for one of the pool's `spec.logits` that does not exist or does not fit."""
        plugins = self.plugins()
        if pool.spec.logits:
            for index, use in enumerate(pool.spec.logits):
                if pool.key.beside("AdaptationPlugin", use.plugin_ref.name) not in plugins:
                    field_path = f"spec.logits[{index}].pluginRef.name"
                    raise ConfigError(field_path, f"there is no AdaptationPlugin {use.plugin_ref.name!r}")
            installed = InstalledPlugins(Registry.installed())
            for fault in check_pool_plugins(pool, plugins.get, installed):
                raise ConfigError(format_path(fault.path), fault.message)
        return plugins

    async def _fetch(self, key: Key, source: ModelSource, field_path: str) -> Path:
        ref = source.credentials_secret_ref
        credential = self.secrets().get(key.namespace, ref, f"{field_path}.credentialsSecretRef") if ref else None
        loop, not_wanted = asyncio.get_running_loop(), threading.Event()

        def report(step: progress.Progress) -> None:
            if not_wanted.is_set():
                raise _NotWanted
            if phase := _PHASES.get(step.phase):
                event = PoolEvent(key, phase, source.uri, step.done, step.total)
                loop.call_soon_threadsafe(self.on_event, event)

        def work() -> Path:
            return ensure(source, cache=self.cache, volumes=self.volumes, credential=credential, report=report)

        running = loop.run_in_executor(None, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            not_wanted.set()
            await asyncio.gather(running, return_exceptions=True)
            raise

    async def files(self, pool: ModelPool) -> Files:
        """The local files of the pool, at all depths, with what changes when one does."""
        return await asyncio.to_thread(stamps, tuple(self._local_paths(pool)))

    async def files_changed(self, pool: ModelPool, before: Files) -> None:
        """Wait until a local file of the pool is added, removed, or other than `before` in content or mode.

        It polls, because file watchers do not report changes of the mode.
        """
        while True:
            await asyncio.sleep(FILES_POLL_SECONDS)
            if await self.files(pool) != before:
                return

    def _local_paths(self, pool: ModelPool) -> Iterator[Path]:
        for _, source in pool.sources():
            scheme, _, rest = source.uri.partition("://")
            volume, _, below = rest.partition("/")
            if scheme == "file":
                yield Path(rest)
            elif scheme == "pvc" and volume in self.volumes:
                yield self.volumes[volume] / below

    def _environment(self, pool: ModelPool, key: Key) -> dict[str, str]:
        variables = pool.spec.pod.env if pool.spec.pod else ()
        return {
            variable.name: self.secrets().get(key.namespace, variable.secret_key_ref, f"spec.pod.env[{variable.name}]")
            for variable in variables
            if variable.secret_key_ref
        }


def stamps(paths: Sequence[Path]) -> Files:
    """Stamps of the paths that exist, and of all that is below them."""
    below = (
        Path(folder, name) for path in paths for folder, folders, files in os.walk(path) for name in (*folders, *files)
    )
    stamps = {}
    for path in (*paths, *below):
        with suppress(OSError):
            stamps[path] = _stamp(path)
    return stamps


def _stamp(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_mode, stat.st_uid
