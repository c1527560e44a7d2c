"""A run whose Ray does not start: manifests are still applied, and the delay between tries grows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pilotfish.base.errors import RuntimeFailure
from pilotfish.local import run as run_module
from pilotfish.local.run import LocalRun, RunOptions
from pilotfish.manifests import Loaded, load
from pilotfish.routing.snapshot import Snapshot

POOL = """\
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {{name: {name}}}
spec:
  tier: Small
  model: {{uri: "file://{model}"}}
  replicas: {replicas}
---
"""


class Rays:
    """Rays that start and end as a test says."""

    def __init__(self) -> None:
        self.may_start = True
        self.deployed: list[list[str]] = []
        self.changed = asyncio.Condition()
        self.ends = asyncio.Event()

    async def start(self) -> None:
        if not self.may_start:
            raise RuntimeFailure("Ray did not start")

    async def ended(self) -> str:
        await self.ends.wait()
        return "Ray stopped"

    async def stop(self) -> None: ...

    async def deploy(self, applications: list[dict[str, object]]) -> None:
        async with self.changed:
            self.deployed.append(sorted(str(entry["name"]) for entry in applications))
            self.changed.notify_all()

    async def applications(self) -> dict[str, object]:
        return {}

    @property
    def metrics_url(self) -> str:
        return ""


@pytest.fixture
def rays(monkeypatch: pytest.MonkeyPatch) -> Rays:
    rays = Rays()
    monkeypatch.setattr(run_module, "RayHead", lambda *_, **__: rays)
    return rays


@pytest.fixture
async def snapshots() -> list[Snapshot]:
    return []


@pytest.fixture
async def run(rays: Rays, snapshots: list[Snapshot], tmp_path: Path) -> AsyncIterator[LocalRun]:
    run = LocalRun(RunOptions(tmp_path / "cache"), lambda event: None, snapshots.append, lambda line: None)
    yield run
    await run.stop()


def manifests(folder: Path, **replicas: int) -> Loaded:
    model = folder / "model"
    model.mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("{}")
    file = folder / "pools.yaml"
    file.write_text("".join(POOL.format(name=name, model=model, replicas=number) for name, number in replicas.items()))
    return load([file])


async def test_pools_are_removed_and_set_to_zero_while_ray_is_down(
    run: LocalRun, rays: Rays, snapshots: list[Snapshot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = asyncio.Event()
    monkeypatch.setattr(run, "_on_ray", lambda line: down.set() if "is started again" in line else None)
    serving = asyncio.create_task(run.serve())
    try:
        async with asyncio.timeout(60):
            await run.apply(manifests(tmp_path, one=1, two=1, three=1))
            async with rays.changed:
                await rays.changed.wait_for(lambda: rays.deployed)
            rays.may_start = False
            rays.ends.set()
            await down.wait()
            for wanted in ({"two": 1, "three": 1}, {"two": 0, "three": 1}, {}):
                await run.apply(manifests(tmp_path, **wanted))
                assert {key.name for key in snapshots[-1].pools} == set(wanted)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_the_time_that_starts_of_ray_take_does_not_reset_the_delay(
    run: LocalRun, rays: Rays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def delay(failures: int, **_: float) -> float:
        tries.append(failures)
        rays.may_start = len(tries) == 3
        return 0.0

    monkeypatch.setattr(run_module, "backoff_seconds", delay)
    monkeypatch.setattr(run_module, "STEADY_SECONDS", 0.0)
    rays.may_start = False
    rays.ends.set()
    serving = asyncio.create_task(run.serve())
    try:
        async with asyncio.timeout(60):
            await run.apply(manifests(tmp_path, one=1))
            while len(tries) < 5:  # noqa: ASYNC110 - the run reports no event for it
                await asyncio.sleep(0)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert tries[:5] == [1, 2, 3, 1, 2]  # the fourth Ray was up, and the fifth did not start
