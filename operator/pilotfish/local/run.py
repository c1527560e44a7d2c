"""One run of local mode: a Ray, a fleet of pools on it, and a snapshot for the gateway whenever anything changes."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pilotfish.api import AdaptationPlugin, AutoscalingPolicy, ModelPool, ModelRouter
from pilotfish.base.errors import RuntimeFailure
from pilotfish.concurrency import first_done
from pilotfish.engine.ray_head import RayHead
from pilotfish.engine.reasons import explain
from pilotfish.local.artifacts import artifacts_of
from pilotfish.local.events import OnEvent
from pilotfish.local.fetching import Fetcher
from pilotfish.local.fleet import Fleet
from pilotfish.local.secrets import Secrets
from pilotfish.manifests import Loaded
from pilotfish.reconcile.local_plan import LocalPlan, Wanted
from pilotfish.render.serve_application import serve_tracing_environment
from pilotfish.routing.snapshot import Endpoint, RouterView, Snapshot, namespace_of, snapshot
from pilotfish.upstream.ray_serve import Application, Replica

MOST_RESTARTS = 3
"""Times that Ray is started again in one run."""
TIMED_OUT = "timed out during startup"
"""What Ray says when it missed its own limit, which cannot be set."""
CORES_PER_START = 4
"""Cores that one more engine needs to start beside another."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line says."""

    cache: Path
    volumes: Mapping[str, Path] = field(default_factory=dict)
    secret_files: tuple[str, ...] = ()
    gpus: int = 0
    traces_endpoint: str | None = None


def wanted_of(loaded: Loaded) -> Wanted:
    """The pools and policies among manifests."""
    pools = [resource for resource in loaded.resources if isinstance(resource, ModelPool)]
    return Wanted.of(pools, [entry for entry in loaded.resources if isinstance(entry, AutoscalingPolicy)])


class LocalRun:
    """Start with `start`, hand it manifests with `apply`, keep `serve` running, end with `stop`."""

    def __init__(self, options: RunOptions, on_event: OnEvent, on_snapshot: Callable[[Snapshot], None]) -> None:
        self._options = options
        self._on_snapshot = on_snapshot
        self._loaded: Loaded | None = None
        self._secrets = Secrets()
        fetcher = Fetcher(
            options.cache, on_event, options.volumes, lambda: self._secrets, options.traces_endpoint
        )  # fmt: skip
        self._head = self._new_head()
        self._fleet = Fleet(
            self,
            prepare=fetcher.prepare,
            explain=self._explain,
            on_event=on_event,
            on_change=self._publish,
            starting=max(1, (os.cpu_count() or 1) // CORES_PER_START),
        )

    @property
    def head(self) -> RayHead:
        """The Ray of now."""
        return self._head

    async def start(self) -> None:
        """Start Ray, again where a busy machine let it time out. Raises RuntimeFailure."""
        for _ in range(MOST_RESTARTS - 1):
            try:
                return await self._head.start()
            except RuntimeFailure as failure:
                if TIMED_OUT not in str(failure):
                    raise
            await self._head.stop()
            self._head = self._new_head()
        return await self._head.start()

    async def apply(self, loaded: Loaded) -> LocalPlan:
        """Make these manifests what runs. Raises ConfigError where a Secret is missing; then nothing has changed."""
        secrets = Secrets.gather(loaded.secrets, self._options.secret_files)
        wanted = wanted_of(loaded)
        reached = {key: _reach(pool, secrets) for key, pool in wanted.pools.items() if pool.spec.external}
        self._loaded, self._secrets = loaded, secrets
        return await self._fleet.apply(wanted, lambda pool: reached[namespace_of(pool), pool.name])

    async def serve(self) -> None:
        """Watch engines, and Ray itself, which is started again when it dies. Raises RuntimeFailure after too many."""
        for _ in range(MOST_RESTARTS):
            reason = await self._until_ray_ends()
            self._fleet.fail_all(reason)
            await self._head.stop()
            self._head = self._new_head()
            await self.start()
            await self._fleet.begin_again()
        raise RuntimeFailure(f"Ray stopped {MOST_RESTARTS} times: {await self._until_ray_ends()}")

    async def stop(self) -> None:
        """End everything that the run has started."""
        await self._fleet.stop()
        await self._head.stop()

    # what the fleet needs of a Ray: that of the moment

    async def deploy(self, applications: list[Mapping[str, object]]) -> None:
        """Make these Serve's applications."""
        await self._head.deploy(applications)

    async def applications(self) -> dict[str, Application]:
        """Every Serve application with its state."""
        return await self._head.applications()

    def base_url(self, route_prefix: str) -> str:
        """Where the application at `route_prefix` takes OpenAI requests."""
        return self._head.base_url(route_prefix)

    def _new_head(self) -> RayHead:
        endpoint = self._options.traces_endpoint
        tracing = serve_tracing_environment(endpoint) if endpoint else {}
        return RayHead({**os.environ, **tracing}, self._options.gpus)

    async def _until_ray_ends(self) -> str:
        try:
            return await first_done(self._head.ended(), self._fleet.watch())
        except RuntimeFailure as failure:
            return str(failure)

    async def _explain(self, message: str, replicas: tuple[Replica, ...]) -> str:
        return await explain(self._head.logs, message, replicas)

    def _publish(self) -> None:
        if self._loaded is None:
            return
        resources = self._loaded.resources
        routers = [
            RouterView(entry, artifacts_of(entry, self._loaded))
            for entry in resources
            if isinstance(entry, ModelRouter)
        ]
        plugins = [entry for entry in resources if isinstance(entry, AdaptationPlugin)]
        self._on_snapshot(snapshot(self._fleet.views, routers, plugins))


def _reach(pool: ModelPool, secrets: Secrets) -> Endpoint:
    external = pool.spec.external
    assert external is not None  # noqa: S101 - only external pools are reached
    ref = external.api_key_secret_ref
    where = f"ModelPool {pool.name}: spec.external.apiKeySecretRef"
    return Endpoint(external.base_url, secrets.get(namespace_of(pool), ref, where) if ref else None)
