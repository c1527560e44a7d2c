"""Checks that a RayService answers: one small request each time its engines have started.

A pod of a Deployment checks it in its readiness. The readiness of KubeRay's pods means that Serve runs, not that a
model answers.
"""

from collections.abc import Mapping
from typing import Protocol

from pilotfish.api import ModelPool
from pilotfish.api.modelpool import Task
from pilotfish.base.errors import NoAnswer, RuntimeFailure
from pilotfish.base.keys import Key
from pilotfish.reconcile.outcome import Manifest, Proof
from pilotfish.reconcile.rayservice_status import RayServiceStatus
from pilotfish.render import labels
from pilotfish.render.serve_application import served_model


class AskOnce(Protocol):
    """Asks a model server for one small answer."""

    async def __call__(self, base_url: str, *, task: Task, model: str) -> None:
        """Return when there is an answer. Raises NoAnswer if none comes, RuntimeFailure with the server's error."""


class Answers:
    """Which RayServices have answered since their engines started; one entry per pool, dropped with it."""

    def __init__(self, ask: AskOnce) -> None:
        self._ask = ask
        self._proven: dict[Key, str] = {}

    async def check(self, pool: ModelPool, children: Mapping[Key, Manifest], pods: tuple[Manifest, ...]) -> Proof:
        """Whether the pool's RayService has answered, asked now if its engines are up and have not been asked.

        A Ray cluster that requests were switched to is asked again; one whose engines are replaced in place is not.
        An operator that has just started asks all, and the pool's status names the cluster that has answered before:
        no answer in time does not take that back, because an engine with much work is late. An error does.
        """
        key, service = pool.key, RayServiceStatus.of(children, pods, pool.spec.nodes)
        ray, workers = service.active_ray, service.serving_workers
        if ray is None or not workers:
            self._proven.pop(key, None)
            return Proof(answered=False)
        if self._proven.get(key) != ray:
            # The Service's address may not be routed yet, and a lost connection to it would be kept.
            try:
                await self._ask(_url(workers[0]), task=pool.spec.task, model=served_model(pool))
            except NoAnswer as failure:
                return Proof(answered=pool.status is not None and pool.status.ray_cluster == ray, message=str(failure))
            except RuntimeFailure as failure:
                return Proof(answered=False, message=str(failure))
            self._proven[key] = ray
        return Proof(answered=True)

    def forget(self, key: Key) -> None:
        """Forget a deleted pool."""
        self._proven.pop(key, None)


def _url(pod: Manifest) -> str:
    address = pod["status"]["podIP"]
    return f"http://{f'[{address}]' if ':' in address else address}:{labels.SERVE_PORT}/v1"
