"""A pod that has not deployed its application yet ends when it is stopped, or when its Ray ends."""

import asyncio

import pytest

from pilotfish.api import ModelPool
from pilotfish.api.modelpool import Task
from pilotfish.base.errors import RuntimeFailure, Unavailable
from pilotfish.engine import pod
from pilotfish.engine.pod import PodSettings, PoolPod
from pilotfish.render.serve_application import EngineContext, serve_application

POOL = {
    "apiVersion": "pilotfish.dev/v1alpha1",
    "kind": "ModelPool",
    "metadata": {"name": "small"},
    "spec": {"tier": "Small", "model": {"uri": "file:///m"}, "replicas": 1},
}


class DeafRay:
    """A Ray that starts, and whose dashboard never answers."""

    def __init__(self, *_: object, **__: object) -> None:
        self.asked, self.gone = asyncio.Event(), asyncio.Event()
        self.stopped = False

    async def start(self) -> None: ...

    async def ended(self) -> str:
        await self.gone.wait()
        return "Ray stopped: out of memory"

    async def deploy(self, applications: object) -> None:
        self.asked.set()
        raise Unavailable("does not answer")

    async def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> DeafRay:
    ray = DeafRay()
    monkeypatch.setattr(pod, "RayHead", lambda *_, **__: ray)
    return ray


def new_pod() -> PoolPod:
    application = serve_application(ModelPool.model_validate(POOL), EngineContext(weights="/m"))
    return PoolPod(PodSettings(application, Task.GENERATE, "127.0.0.1", 0, 0, 30.0), {})


async def test_a_pod_that_deploys_can_be_stopped(ray: DeafRay) -> None:
    stopping = asyncio.Event()
    running = asyncio.create_task(new_pod().run(stopping))
    await ray.asked.wait()
    stopping.set()
    async with asyncio.timeout(30):
        await running
    assert ray.stopped


async def test_a_pod_that_deploys_fails_with_its_ray(ray: DeafRay) -> None:
    running = asyncio.create_task(new_pod().run(asyncio.Event()))
    await ray.asked.wait()
    ray.gone.set()
    with pytest.raises(RuntimeFailure, match="out of memory"):
        async with asyncio.timeout(30):
            await running
    assert ray.stopped
