"""Weights and secrets of a pool, made ready without blocking the event loop."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.api.engine import ModelSource
from pilotfish.local import engine_arguments
from pilotfish.local.events import OnEvent, Phase, PoolEvent
from pilotfish.local.secrets import Secrets
from pilotfish.render.serve_application import EngineContext
from pilotfish.routing.snapshot import Key, namespace_of
from pilotfish.weights import progress
from pilotfish.weights.fetching import ensure

_PHASES = {
    progress.Phase.FOUND: Phase.FOUND,
    progress.Phase.WAITING: Phase.WAITING,
    progress.Phase.COPYING: Phase.COPYING,
    progress.Phase.VERIFYING: Phase.VERIFYING,
    progress.Phase.CONVERTING: Phase.CONVERTING,
}


class _NotWanted(Exception):
    """Ends the work of a thread whose result nobody waits for."""


@dataclass(frozen=True)
class Fetcher:
    """Turns a pool's manifest into what its engine needs on this machine."""

    cache: Path
    on_event: OnEvent
    volumes: Mapping[str, Path] = field(default_factory=dict)
    secrets: Callable[[], Secrets] = Secrets
    """Those of the manifests as they are now."""
    traces_endpoint: str | None = None

    async def prepare(self, pool: ModelPool, policy: AutoscalingPolicy | None) -> EngineContext:
        """Fetch all weights of the pool, one after another. Raises WeightsError, PluginError and ConfigError."""
        key = (namespace_of(pool), pool.name)
        model, speculative = pool.spec.model, pool.engine.speculative
        assert model is not None  # noqa: S101 - the API has it that a pool without a model is external
        engine_arguments.check(pool.engine.args)
        draft = speculative.draft_model if speculative else None
        adapters = {
            adapter.name: str(await self._fetch(key, adapter.model, f"spec.adapters[{adapter.name}].model"))
            for adapter in pool.spec.adapters or ()
        }
        return EngineContext(
            weights=str(await self._fetch(key, model, "spec.model")),
            draft_weights=str(await self._fetch(key, draft, "spec.engine.speculative.draftModel")) if draft else None,
            adapters=adapters,
            policy=policy,
            route_prefix=f"/{key[0]}/{key[1]}",
            application=f"{key[0]}.{key[1]}",
            traces_endpoint=self.traces_endpoint,
            environment=self._environment(pool, key),
        )

    async def _fetch(self, key: Key, source: ModelSource, field_path: str) -> Path:
        ref = source.credentials_secret_ref
        credential = self.secrets().get(key[0], ref, f"{field_path}.credentialsSecretRef") if ref else None
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

    def _environment(self, pool: ModelPool, key: Key) -> dict[str, str]:
        variables = pool.spec.pod.env if pool.spec.pod else ()
        return {
            variable.name: self.secrets().get(key[0], variable.secret_key_ref, f"spec.pod.env[{variable.name}]")
            for variable in variables
            if variable.secret_key_ref
        }
