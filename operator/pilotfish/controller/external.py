"""Periodic checks of external models."""

from dataclasses import dataclass
from typing import Protocol

from pilotfish.api import ModelPool
from pilotfish.base.clock import Clock
from pilotfish.base.keys import Key
from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import KubeError
from pilotfish.kube.secrets import secret_value
from pilotfish.reconcile.outcome import ExternalCheck

FRESH_SECONDS = 55.0


class Ask(Protocol):
    """Lists the models of an API, which costs nothing, unlike a completion."""

    async def __call__(self, base_url: str, *, model: str, api_key: str | None) -> ExternalCheck:
        """What the API reports about `model`."""


@dataclass(frozen=True)
class _Known:
    generation: int | None
    at: float
    check: ExternalCheck


class ExternalChecks:
    """The last check of each external pool; one entry per pool, dropped with it."""

    def __init__(self, client: KubeClient, ask: Ask, clock: Clock) -> None:
        self._client, self._ask, self._clock = client, ask, clock
        self._known: dict[Key, _Known] = {}

    async def check(self, key: Key, pool: ModelPool) -> ExternalCheck | None:
        """What the pool's API reports, asked again if the spec changed or the last answer is a minute old."""
        external = pool.spec.external
        if external is None:
            return None
        known = self._known.get(key)
        now, generation = self._clock(), pool.metadata.generation
        if known and known.generation == generation and now - known.at < FRESH_SECONDS:
            return known.check
        secret = external.api_key_secret_ref
        try:
            api_key = await secret_value(self._client, key.namespace, secret.name, secret.key) if secret else None
            check = await self._ask(external.base_url, model=external.model, api_key=api_key)
        except KubeError as error:
            check = ExternalCheck(reachable=False, message=f"spec.external.apiKeySecretRef: {error}")
        self._known[key] = _Known(generation, now, check)
        return check

    def forget(self, key: Key) -> None:
        """Forget a deleted pool."""
        self._known.pop(key, None)
