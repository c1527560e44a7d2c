"""Proof that a RayService answers: one small request whenever its engines come up anew, and none after that.

A pod of a Deployment proves it itself, by its readiness. KubeRay's says that Serve runs, not that a model answers.
"""

from collections.abc import Mapping
from typing import Protocol

from pilotfish.api import ModelPool
from pilotfish.api.modelpool import Task
from pilotfish.base.errors import RuntimeFailure
from pilotfish.base.keys import Key
from pilotfish.reconcile.outcome import Manifest, Proof
from pilotfish.reconcile.rayservice_status import RayServiceStatus
from pilotfish.render import labels
from pilotfish.render.names import served_model


class AskOnce(Protocol):
    """Asks a model server for one small answer."""

    async def __call__(self, base_url: str, *, task: Task, model: str) -> None:
        """Return when an answer came. Raises RuntimeFailure with the server's words when none does."""


class Answers:
    """Which RayServices have answered since their engines came up; one entry a pool, dropped with it."""

    def __init__(self, ask: AskOnce) -> None:
        self._ask = ask
        self._proven: dict[Key, str] = {}

    async def check(self, pool: ModelPool, children: Mapping[Key, Manifest], pods: tuple[Manifest, ...]) -> Proof:
        """Whether the pool's RayService has answered, asked now if its engines are up and have not been asked.

        A Ray that requests were switched to is asked anew; one whose engines are replaced one by one answers on.
        """
        key, service = pool.key, RayServiceStatus.of(children, pods, pool.spec.nodes)
        ray, workers = service.active_ray, service.serving_workers
        if ray is None or not workers:
            self._proven.pop(key, None)
            return Proof(answered=False)
        if self._proven.get(key) != ray:
            # A Service's own address may not lead anywhere yet, and a connection that got lost there is kept.
            try:
                await self._ask(_url(workers[0]), task=pool.spec.task, model=served_model(pool))
            except RuntimeFailure as failure:
                return Proof(answered=False, message=str(failure))
            self._proven[key] = ray
        return Proof(answered=True)

    def forget(self, key: Key) -> None:
        """The pool has gone."""
        self._proven.pop(key, None)


def _url(pod: Manifest) -> str:
    address = pod["status"]["podIP"]
    return f"http://{f'[{address}]' if ':' in address else address}:{labels.SERVE_PORT}/v1"
