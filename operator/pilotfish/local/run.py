"""One run of local mode: a Ray, a fleet of pools on it, and a snapshot for the gateway whenever anything changes."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from pilotfish.api import AdaptationPlugin, AutoscalingPolicy, ModelPool, ModelRouter
from pilotfish.base.backoff import backoff_seconds
from pilotfish.base.errors import EngineFailed, RuntimeFailure, Unavailable
from pilotfish.base.keys import Key
from pilotfish.concurrency import first_done
from pilotfish.engine.ray_head import RayHead
from pilotfish.engine.reasons import explain
from pilotfish.local.artifacts import artifacts_of
from pilotfish.local.events import OnEvent
from pilotfish.local.fetching import Fetcher
from pilotfish.local.fleet import Fleet
from pilotfish.local.idle import IdlePools, InFlight
from pilotfish.local.preparing import Preparer
from pilotfish.local.secrets import Secrets
from pilotfish.manifests import Loaded
from pilotfish.reconcile.local_plan import LocalPlan, Wanted
from pilotfish.render.serve_application import serve_tracing_environment
from pilotfish.routing.snapshot import Endpoint, RouterView, Snapshot, snapshot
from pilotfish.upstream.ray_serve import Application, Replica
from pilotfish.weights.fetching import revision_of

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 2.0
"""Seconds before Ray is started again, doubled before each later try."""
MOST_RETRY_SECONDS = 60.0
STEADY_SECONDS = 600.0
"""A Ray that was up for longer resets the delay between tries."""


@dataclass(frozen=True)
class RunOptions:
    """Options of the command line."""

    cache: Path
    volumes: Mapping[str, Path] = field(default_factory=dict)
    secret_files: tuple[str, ...] = ()
    gpus: int = 0
    traces_endpoint: str | None = None
    prepared: Path | None = None
    """Folder for what plugins prepare. None: a folder in `cache`."""


def wanted_of(loaded: Loaded) -> Wanted:
    """The pools, policies and plugins among manifests."""
    pools = [resource for resource in loaded.resources if isinstance(resource, ModelPool)]
    policies = [entry for entry in loaded.resources if isinstance(entry, AutoscalingPolicy)]
    return Wanted.of(pools, policies, _plugins_of(loaded))


def _plugins_of(loaded: Loaded | None) -> list[AdaptationPlugin]:
    return [entry for entry in loaded.resources if isinstance(entry, AdaptationPlugin)] if loaded else []


class LocalRun:
    """Hand it manifests with `apply`, keep `serve` running, end with `stop`. Ray starts with the first engine.

    `on_ray` is called with a line for people whenever Ray starts, has started, or stopped.
    """

    def __init__(
        self,
        options: RunOptions,
        on_event: OnEvent,
        on_snapshot: Callable[[Snapshot], None],
        on_ray: Callable[[str], None],
    ) -> None:
        self._options = options
        self._on_ray = on_ray
        self._ray_wanted = asyncio.Event()
        self._ray_up = asyncio.Event()
        self._on_snapshot = on_snapshot
        self._loaded: Loaded | None = None
        self._secrets = Secrets()
        fetcher = Fetcher(
            options.cache, on_event, options.volumes, lambda: self._secrets, options.traces_endpoint,
            plugins=lambda: {plugin.key: plugin for plugin in _plugins_of(self._loaded)},
        )  # fmt: skip
        self._preparer = Preparer(
            options.prepared or options.cache / ".prepared",
            options.volumes,
            revisions=self._revision,
            on_event=on_event,
            on_change=self._publish,
        )
        self._head = self._new_head()
        self._fleet = Fleet(
            self,
            prepare=fetcher.prepare,
            explain=self._explain,
            files=fetcher.files,
            files_changed=fetcher.files_changed,
            on_event=on_event,
            on_change=self._publish,
            cores=len(os.sched_getaffinity(0)),
        )

    @property
    def metrics_url(self) -> str:
        """Where the engines' metrics are; empty while there is no Ray."""
        return self._head.metrics_url if self._ray_up.is_set() else ""

    async def apply(self, loaded: Loaded) -> LocalPlan:
        """Run these manifests. Raises ConfigError if a Secret is missing, and then changes nothing."""
        secrets = Secrets.gather(loaded.secrets, self._options.secret_files)
        wanted = wanted_of(loaded)
        reached = {key: _reach(pool, secrets) for key, pool in wanted.pools.items() if pool.spec.external}
        self._loaded, self._secrets = loaded, secrets
        self._preparer.apply(loaded, secrets)
        return await self._fleet.apply(wanted, lambda pool: reached[pool.key])

    async def serve(self) -> NoReturn:
        """Watch engines, and Ray itself, which is started again, with backoff, whenever it does not start or dies."""
        await first_done(self._serve_engines(), self._preparer.watch())

    async def _serve_engines(self) -> NoReturn:
        await first_done(self._ray_wanted.wait(), self._fleet.watch())
        tries = 0
        while True:
            reason, up_seconds = await self._one_ray(again=tries > 0)
            tries = 1 if up_seconds > STEADY_SECONDS else tries + 1
            seconds = backoff_seconds(tries, first=FIRST_RETRY_SECONDS, most=MOST_RETRY_SECONDS)
            self._on_ray(f"{reason}; it is started again in {seconds:.0f} s")
            self._fleet.interrupt(reason)
            await self._head.stop()
            self._head = self._new_head()
            await asyncio.sleep(seconds)

    async def _one_ray(self, *, again: bool) -> tuple[str, float]:
        """Start Ray, bring all pools up on it, and watch both until it is gone: why, and seconds that it was up."""
        self._on_ray("starting Ray")
        try:
            await self._head.start()
        except RuntimeFailure as failure:
            logger.warning("%s\n%s", failure, failure.details)
            return str(failure), 0.0
        began = time.monotonic()
        self._ray_up.set()
        self._on_ray("Ray started")
        try:
            if again:
                await self._fleet.begin_again()
            reason = await first_done(self._head.ended(), self._fleet.watch())
        except RuntimeFailure as failure:
            reason = str(failure)
        finally:
            self._ray_up.clear()
        return reason, time.monotonic() - began

    async def scale(self, in_flight: InFlight) -> NoReturn:
        """Stop engines without requests, where their policy wants it, and start them for requests."""
        await IdlePools(self._fleet, in_flight).follow()

    async def stop(self) -> None:
        """Stop everything that the run has started."""
        await self._preparer.stop()
        await self._fleet.stop()
        await self._head.stop()

    # what the fleet needs of a Ray: that of the moment

    async def up(self) -> None:
        """Return once Ray is up, which is started if it was not wanted before."""
        self._ray_wanted.set()
        await self._ray_up.wait()

    async def deploy(self, applications: list[Mapping[str, object]]) -> None:
        """Make these Serve's applications. Raises Unavailable while Ray is down."""
        if not self._ray_up.is_set():
            raise Unavailable("Ray is down")
        await self._head.deploy(applications)

    async def applications(self) -> dict[str, Application]:
        """Every Serve application with its state, once Ray is up."""
        await self._ray_up.wait()
        return await self._head.applications()

    def base_url(self, route_prefix: str) -> str:
        """The base URL of the application at `route_prefix`."""
        return self._head.base_url(route_prefix)

    def _new_head(self) -> RayHead:
        endpoint = self._options.traces_endpoint
        tracing = serve_tracing_environment(endpoint) if endpoint else {}
        return RayHead({**os.environ, **tracing}, self._options.gpus)

    async def _explain(self, message: str, replicas: tuple[Replica, ...]) -> EngineFailed:
        return await explain(self._head.logs, message, replicas)

    def _revision(self, key: Key) -> str | None:
        weights = self._fleet.weights(key)
        return revision_of(weights, self._options.cache) if weights else None

    def _publish(self) -> None:
        if self._loaded is None:
            return
        resources = self._loaded.resources
        routers = [
            RouterView(entry, artifacts_of(entry, self._loaded))
            for entry in resources
            if isinstance(entry, ModelRouter)
        ]
        views, prepared = self._fleet.views, dict(self._preparer.folders)
        self._preparer.see(views)
        self._on_snapshot(snapshot(views, routers, _plugins_of(self._loaded), prepared=prepared))


def _reach(pool: ModelPool, secrets: Secrets) -> Endpoint:
    external = pool.spec.external
    assert external is not None  # noqa: S101 - only external pools are reached
    ref = external.api_key_secret_ref
    where = f"ModelPool {pool.name}: spec.external.apiKeySecretRef"
    return Endpoint(external.base_url, secrets.get(pool.namespace, ref, where) if ref else None)
