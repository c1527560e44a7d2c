"""Prepares the AdaptationPlugins that routers use, each with `pilotfish prepare` in a process of its own."""

import asyncio
import base64
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import orjson
import yaml

from pilotfish.api import AdaptationPlugin, ModelPool, ModelRouter, Resource
from pilotfish.api.common import SecretKeyRef
from pilotfish.base.backoff import backoff_seconds
from pilotfish.base.errors import ConfigError, PilotfishError, PluginError
from pilotfish.base.keys import Key
from pilotfish.local import fetching
from pilotfish.local.events import OnEvent, Phase, PoolEvent
from pilotfish.local.fetching import Files, stamps
from pilotfish.local.secrets import Secrets
from pilotfish.manifests import Loaded
from pilotfish.plugins.installed import InstalledPlugins
from pilotfish.plugins.registry import Registry
from pilotfish.routing.snapshot import PoolView

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 2.0
"""Seconds before a preparation is tried again, doubled before each later try."""
MOST_RETRY_SECONDS = 60.0
LONGEST_LINE = 1024 * 1024
"""Bytes of one line of the command's output."""

Revisions = Callable[[Key], str | None]
"""The revision of the weights that a pool runs."""


class PreparationFailed(PluginError):
    """The command that prepares failed."""

    def __init__(self, message: str, *, transient: bool | None, details: str = "") -> None:
        super().__init__(message)
        self.transient, self.details = transient, details


@dataclass(frozen=True)
class _Wanted:
    """What a preparation depends on, besides the files at addresses."""

    plugin: AdaptationPlugin
    pools: tuple[ModelPool, ...]
    config_maps: Mapping[str, Mapping[str, bytes]] = field(repr=False)
    secrets: Mapping[SecretKeyRef, str] = field(repr=False)


@dataclass
class _Preparing:
    wanted: _Wanted
    task: asyncio.Task[None]


class Preparer:
    """Hand it manifests with `apply` and the pools with `see`. `folders` has what was prepared last.

    `on_change` is called when `folders` changed.
    """

    def __init__(
        self,
        to: Path,
        volumes: Mapping[str, Path],
        *,
        revisions: Revisions,
        on_event: OnEvent,
        on_change: Callable[[], None],
    ) -> None:
        self._to, self._volumes, self._revisions = to, volumes, revisions
        self._on_event, self._on_change = on_event, on_change
        self._installed = InstalledPlugins(Registry.installed())
        self._running: dict[Key, _Preparing] = {}
        self._views: Mapping[Key, PoolView] = {}
        self._woken = asyncio.Event()
        self._ending: set[asyncio.Task[None]] = set()
        self.folders: dict[Key, Path] = {}

    def apply(self, loaded: Loaded, secrets: Secrets) -> None:
        """Prepare what the routers of these manifests use. What did not change is not interrupted."""
        wanted = {each.plugin.key: each for each in self._wanted(loaded, secrets)}
        for key in list(self._running):
            if wanted.get(key) != self._running[key].wanted:
                task = self._running.pop(key).task
                task.cancel()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
        for key in self.folders.keys() - wanted.keys():
            del self.folders[key]
        for key, each in wanted.items():
            if key not in self._running:
                task = asyncio.create_task(self._tend(each), name=f"prepare {key}")
                task.add_done_callback(lambda _: self._wake())
                self._running[key] = _Preparing(each, task)

    def see(self, views: Iterable[PoolView]) -> None:
        """The pools as they are now."""
        self._views = {view.key: view for view in views}
        self._wake()

    async def watch(self) -> NoReturn:
        """Raise what ended a preparation and is no fault of its manifest: a bug."""
        while True:
            tasks = [each.task for each in self._running.values()]
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.result()
            await self._woken.wait()

    async def stop(self) -> None:
        """Stop all preparations, and their processes."""
        tasks = [each.task for each in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._ending, return_exceptions=True)

    def _wake(self) -> None:
        self._woken.set()
        self._woken = asyncio.Event()

    def _wanted(self, loaded: Loaded, secrets: Secrets) -> Iterable[_Wanted]:
        routers = [each for each in loaded.resources if isinstance(each, ModelRouter)]
        uses = ((router, use) for router in routers for use in router.spec.plugins)
        used = {router.key.beside("AdaptationPlugin", use.plugin_ref.name) for router, use in uses}
        for plugin in loaded.resources:
            if isinstance(plugin, AdaptationPlugin) and plugin.key in used and self._installed.prepares(plugin):
                try:
                    yield _gathered(plugin, loaded, secrets)
                except ConfigError as error:
                    self._on_event(PoolEvent(plugin.key, Phase.FAILED, str(error)))

    async def _tend(self, wanted: _Wanted) -> None:
        """Prepare, and again whenever a document changes. What failed is tried again, with backoff."""
        key, tries = wanted.plugin.key, 0
        while True:
            await self._until_pools_answer(wanted)
            before = await self._files(wanted)
            try:
                folder = await self._prepared(wanted)
            except PilotfishError as error:
                tries += 1
                logger.warning("%s: try %d failed: %s\n%s", key, tries, error, error.details)
                if error.transient:
                    seconds = backoff_seconds(tries, first=FIRST_RETRY_SECONDS, most=MOST_RETRY_SECONDS)
                    text = f"try {tries + 1} in {seconds:.0f} s: {error}"
                    self._on_event(PoolEvent(key, Phase.RETRYING, text))
                    await asyncio.sleep(seconds)
                    continue
                self._on_event(PoolEvent(key, Phase.FAILED, str(error)))
            else:
                tries = 0
                self._on_event(PoolEvent(key, Phase.PREPARED))
                if self.folders.get(key) != folder:
                    self.folders[key] = folder
                    self._on_change()
            await self._files_changed(wanted, before)

    async def _until_pools_answer(self, wanted: _Wanted) -> None:
        while silent := [pool.name for pool in wanted.pools if not self._answers(pool.key)]:
            self._on_event(PoolEvent(wanted.plugin.key, Phase.WAITING, f"for pools: {', '.join(silent)}"))
            await self._woken.wait()

    def _answers(self, key: Key) -> bool:
        return key in self._views and self._views[key].can_answer

    async def _files(self, wanted: _Wanted) -> Files:
        return await asyncio.to_thread(stamps, tuple(self._local_paths(wanted.plugin)))

    async def _files_changed(self, wanted: _Wanted, before: Files) -> None:
        while True:
            await asyncio.sleep(fetching.FILES_POLL_SECONDS)
            if await self._files(wanted) != before:
                return

    def _local_paths(self, plugin: AdaptationPlugin) -> Iterable[Path]:
        for source in plugin.spec.sources:
            scheme, _, rest = (source.uri or "").partition("://")
            volume, _, below = rest.partition("/")
            if scheme == "file":
                yield Path(rest)
            elif scheme == "pvc" and volume in self._volumes:
                yield self._volumes[volume] / below

    async def _prepared(self, wanted: _Wanted) -> Path:
        """The folder, made by the command. Raises PreparationFailed."""
        key = wanted.plugin.key
        self._on_event(PoolEvent(key, Phase.PREPARING))
        command = [sys.executable, "-m", "pilotfish", "prepare", "-", "--json"]
        command += ["--plugin", key.name, "--to", str(self._to / f"{key.namespace}.{key.name}")]
        for name, path in self._volumes.items():
            command += ["--volume", f"{name}={path}"]
        manifests = yaml.safe_dump_all(self._manifests(wanted)).encode()
        last: dict[str, Any] = {}
        async with aclosing(_output(command, manifests)) as lines:
            async for line in lines:
                last = orjson.loads(line)
                if "message" in last:
                    self._on_event(PoolEvent(key, Phase.PREPARING, last["message"], last["done"], last["total"]))
        if "error" in last:
            raise PreparationFailed(last["error"], transient=last["transient"])
        if "folder" not in last:
            raise PreparationFailed("the process that prepares ended without a result", transient=True)
        return Path(last["folder"])

    def _manifests(self, wanted: _Wanted) -> list[Mapping[str, Any]]:
        """What the command reads: the plugin, its pools with their addresses, ConfigMaps and Secrets."""
        namespace = wanted.plugin.namespace
        pools = []
        for pool in wanted.pools:
            status = {"url": self._views[pool.key].endpoints[0].base_url, "resolvedRevision": self._revisions(pool.key)}
            pools.append({**_spec_of(pool), "status": {name: value for name, value in status.items() if value}})
        data = [_keyed("ConfigMap", namespace, name, "binaryData", each) for name, each in wanted.config_maps.items()]
        secrets = [
            _keyed("Secret", namespace, ref.name, "data", {ref.key: value.encode()})
            for ref, value in wanted.secrets.items()
        ]
        return [_spec_of(wanted.plugin), *pools, *data, *secrets]


def _gathered(plugin: AdaptationPlugin, loaded: Loaded, secrets: Secrets) -> _Wanted:
    """Raises ConfigError for a Secret that does not exist."""
    names = {ref.name for ref in plugin.spec.pool_refs}
    there = [each for each in loaded.resources if isinstance(each, ModelPool) and each.namespace == plugin.namespace]
    pools = tuple(pool for pool in there if pool.name in names)
    refs = {
        f"spec.sources[{source.name}].credentialsSecretRef": source.credentials_secret_ref
        for source in plugin.spec.sources
    }
    refs |= {
        f"ModelPool {pool.name}: spec.external.apiKeySecretRef": pool.spec.external.api_key_secret_ref
        for pool in pools
        if pool.spec.external
    }
    keys = {source.config_map_ref.name for source in plugin.spec.sources if source.config_map_ref}
    found = {name: loaded.config_maps.get(plugin.key.beside("ConfigMap", name)) for name in sorted(keys)}
    return _Wanted(
        plugin,
        pools,
        {name: each.data for name, each in found.items() if each},
        {ref: secrets.get(plugin.namespace, ref, path) for path, ref in refs.items() if ref},
    )


def _spec_of(resource: Resource) -> dict[str, Any]:
    found = resource.to_manifest()
    return {name: value for name, value in found.items() if name != "status"}


def _keyed(kind: str, namespace: str, name: str, member: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, member: encoded}


async def _output(command: list[str], given: bytes) -> AsyncGenerator[bytes, None]:
    """The lines that a process prints. It and its own processes end with the iteration. Its errors go to the log."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, limit=LONGEST_LINE
    )
    assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - for the type checker
    errors = asyncio.create_task(process.stderr.read())
    try:
        process.stdin.write(given)
        process.stdin.close()
        async for line in process.stdout:
            yield line
        await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if text := (await errors).decode(errors="replace").strip():
            logger.warning("%s: %s", command[-1], text)
