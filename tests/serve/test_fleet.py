"""The fleet against a stand-in for Serve, where order and failure are the thing: no engine, a real HTTP probe."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.base.errors import EngineFailed, Unavailable, WeightsError
from pilotfish.local import fleet as fleet_module
from pilotfish.local.fetching import Files
from pilotfish.local.fleet import Fleet
from pilotfish.local.idle import IdlePools
from pilotfish.reconcile.engine_reason import is_transient
from pilotfish.reconcile.local_plan import Wanted
from pilotfish.render.serve_application import EngineContext, engine_deployment
from pilotfish.routing.snapshot import Endpoint, PoolState
from pilotfish.upstream.ray_serve import Application, Deployment, Replica

FAILED_ONCE = "The deployment failed to start 1 times in a row. Error:\nRuntimeError: {}"


def pool(name="small", **spec):
    base = {"tier": "Small", "model": {"uri": f"file:///{name}"}, "replicas": 1}
    return ModelPool.model_validate(
        {"apiVersion": "pilotfish.dev/v1alpha1", "kind": "ModelPool", "metadata": {"name": name}, "spec": base | spec}
    )


class Changes:
    """Lets tests wait for something to become true."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await self._event.wait()


class StandInServe:
    """Knows applications by name; a test says what becomes of each."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.deployed: dict[str, dict] = {}
        self.deployments: list[list[str]] = []
        self.fate: dict[str, str] = {}
        self.deploy_faults = 0
        """Times that a deployment is still to be answered 500."""
        self.answer_faults = 0
        """Times that an engine is still to answer 500."""
        self.answers: Counter[str] = Counter()
        self._server: TestServer | None = None

    async def __aenter__(self) -> "StandInServe":
        app = web.Application()
        app.router.add_post("/{name}/v1/chat/completions", self._answer)
        self._server = TestServer(app)
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    async def _answer(self, request: web.Request) -> web.Response:
        if self.answer_faults:
            self.answer_faults -= 1
            return web.Response(status=500, text="the proxy has no replica")
        self.answers[request.match_info["name"]] += 1
        return web.json_response({"choices": []})

    async def up(self): ...

    async def deploy(self, applications):
        if self.deploy_faults:
            self.deploy_faults -= 1
            raise Unavailable("the dashboard answered 500: proxy late", "the whole traceback")
        self.deployed = {entry["name"]: entry for entry in applications}
        self.deployments.append(sorted(self.deployed))
        self.changes.tell()

    async def applications(self):
        return {name: self._state(name) for name in self.deployed}

    def base_url(self, route_prefix):
        return str(self._server.make_url(f"{route_prefix}/v1"))

    def _state(self, name):
        fate = self.fate.get(name, "runs")
        engine = engine_deployment(pool(name))
        replica = (Replica("r", "RUNNING" if fate == "runs" else "STARTING", 1, "w"),)
        if fate == "runs":
            return Application(name, "RUNNING", "", {engine: Deployment(engine, "HEALTHY", "", replica, ())})
        status = {"starts": "UPDATING", "dies": "UNHEALTHY"}.get(fate, "UPDATING")
        message = {"starts": "", "dies": "A replica's health check failed."}.get(fate, FAILED_ONCE.format(fate))
        return Application(name, "DEPLOYING", "", {engine: Deployment(engine, status, message, replica, ())})


class Harness:
    """A fleet on the stand-in, and a way to wait for what it says."""

    def __init__(self, serve: StandInServe) -> None:
        self._changes = serve.changes
        self.unreadable: set[str] = set()
        self.prepared: list[str] = []
        self.files = asyncio.Event()
        self.waited_on: list[Files] = []
        self.fleet = Fleet(
            serve,
            prepare=self._prepare,
            explain=self._explain,
            files=self._files,
            files_changed=self._files_changed,
            on_event=lambda event: None,
            on_change=serve.changes.tell,
        )

    async def _prepare(self, manifest, policy):
        self.prepared.append(manifest.name)
        if manifest.name in self.unreadable:
            raise WeightsError("cannot be read")
        return EngineContext(weights=f"/{manifest.name}", route_prefix=f"/{manifest.name}", policy=policy)

    async def _explain(self, message, replicas):
        reason = message.splitlines()[-1].removeprefix("RuntimeError: ")
        return EngineFailed(reason, transient=is_transient(reason), details=message)

    async def _files(self, manifest):
        return {Path(manifest.name): (self.prepared.count(manifest.name),)}

    async def _files_changed(self, manifest, before):
        self.waited_on.append(before)
        await self.files.wait()
        self.files.clear()

    async def apply(self, *pools, policies=()):
        wanted = Wanted.of(pools, policies)
        return await self.fleet.apply(wanted, lambda external: Endpoint(external.spec.external.base_url))

    def state(self, name):
        return next((view.state for view in self.fleet.views if view.pool.name == name), None)

    def reason(self, name):
        return next(view.reason for view in self.fleet.views if view.pool.name == name)

    async def until(self, name, state):
        await self._changes.until(lambda: self.state(name) is state)


@pytest.fixture
async def serve(monkeypatch) -> AsyncIterator[StandInServe]:
    monkeypatch.setattr(fleet_module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(fleet_module, "FIRST_RETRY_SECONDS", 0.01)
    async with StandInServe() as serve:
        yield serve


@pytest.fixture
async def harness(serve) -> AsyncIterator[Harness]:
    harness = Harness(serve)
    watching = asyncio.create_task(harness.fleet.watch())
    yield harness
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await harness.fleet.stop()


async def test_pools_start_one_after_another_and_small_before_large(harness, serve):
    serve.fate = {"big": "starts", "small": "starts"}
    await harness.apply(pool("big", tier="Large"), pool("small"))
    await serve.changes.until(lambda: serve.deployments)
    assert serve.deployments == [["small"]]
    assert harness.prepared == ["small"]  # on few cores a conversion would starve the start
    serve.fate["small"] = "runs"
    await harness.until("small", PoolState.READY)
    serve.fate["big"] = "runs"
    await harness.until("big", PoolState.READY)
    assert serve.deployments == [["small"], ["big", "small"]]
    assert serve.answers == {"small": 1, "big": 1}


async def test_a_hopeless_pool_is_withdrawn_and_makes_way_for_the_next(harness, serve):
    serve.fate = {"first": "ValueError: bad argument"}
    await harness.apply(pool("first"), pool("second"))
    await harness.until("second", PoolState.READY)
    assert (harness.state("first"), harness.reason("first")) == (PoolState.FAILED, "ValueError: bad argument")
    assert sorted(serve.deployed) == ["second"]


async def test_a_pool_without_memory_is_tried_again_and_does_not_keep_others_waiting(harness, serve):
    serve.fate = {"small": "killed due to memory pressure"}
    await harness.apply(pool(), pool("second"))
    await harness.until("second", PoolState.READY)
    await serve.changes.until(lambda: "memory pressure" in harness.reason("small"))
    assert harness.state("small") is PoolState.LOADING
    serve.fate["small"] = "runs"
    await harness.until("small", PoolState.READY)


async def test_an_unclear_failure_is_lasting_once_it_came_twice(harness, serve):
    serve.fate = {"small": "something odd"}
    await harness.apply(pool())
    await harness.until("small", PoolState.FAILED)
    assert len([names for names in serve.deployments if names]) == 2


async def test_a_late_dashboard_and_a_late_proxy_are_tried_again_with_the_tries_in_the_log(harness, serve, caplog):
    serve.deploy_faults, serve.answer_faults = 2, 2
    await harness.apply(pool())
    await harness.until("small", PoolState.READY)
    assert serve.deployments[0] == ["small"]
    tries = [record.getMessage() for record in caplog.records if "failed" in record.getMessage()]
    assert [line.split(":")[1].strip() for line in tries] == [f"try {number} failed" for number in (1, 2, 3, 4)]
    assert "the whole traceback" in tries[0]
    assert "500" in tries[2]


async def test_a_failed_pool_is_tried_again_when_its_files_or_its_manifest_change(harness, serve):
    harness.unreadable.add("small")
    serve.fate = {"other": "ValueError: bad argument"}
    await harness.apply(pool(), pool("other"))
    await harness.until("small", PoolState.FAILED)
    await harness.until("other", PoolState.FAILED)
    assert {Path("small"): (0,)} in harness.waited_on  # a change while it was prepared would count
    harness.unreadable.clear()
    harness.files.set()
    await harness.until("small", PoolState.READY)
    serve.fate["other"] = "runs"
    await harness.apply(pool(), pool("other"))
    assert harness.state("other") is PoolState.FAILED
    await harness.apply(pool(), pool("other", tier="Large"))
    await harness.until("other", PoolState.READY)


async def test_an_engine_that_dies_is_told_and_warmed_again(harness, serve):
    await harness.apply(pool())
    await harness.until("small", PoolState.READY)
    serve.fate["small"] = "dies"
    await harness.until("small", PoolState.LOADING)
    assert "health check" in harness.reason("small")
    serve.fate["small"] = "runs"
    await harness.until("small", PoolState.READY)
    assert serve.answers["small"] == 2


async def test_a_pool_that_is_still_loading_can_be_removed(harness, serve):
    serve.fate = {"small": "starts"}
    await harness.apply(pool())
    await serve.changes.until(lambda: serve.deployed)
    await harness.apply()
    assert serve.deployed == {}
    assert harness.fleet.views == ()


async def test_a_new_ray_gets_every_pool_again(harness, serve):
    await harness.apply(pool())
    await harness.until("small", PoolState.READY)
    harness.fleet.interrupt("Ray stopped")
    assert harness.reason("small") == "Ray stopped"
    serve.deployed = {}
    await harness.fleet.begin_again()
    await harness.until("small", PoolState.READY)
    assert sorted(serve.deployed) == ["small"]


async def test_an_engine_ends_when_its_pool_becomes_external(harness, serve):
    await harness.apply(pool(), pool("second"))
    await harness.until("second", PoolState.READY)
    await harness.until("small", PoolState.READY)
    await harness.apply(
        pool(model=None, replicas=None, external={"baseURL": "http://e/v1", "model": "m"}), pool("second")
    )
    assert sorted(serve.deployed) == ["second"]
    harness.fleet.interrupt("Ray stopped")
    assert harness.state("small") is PoolState.READY


async def test_pools_that_change_while_a_new_ray_begins_are_looked_after_once(harness, serve):
    serve.fate = {"small": "starts", "second": "starts"}
    await harness.apply(pool(), pool("second"))
    await serve.changes.until(lambda: serve.deployed)
    changed = [pool(tier="Large", engine={"maxModelLength": 256}), pool("third")]
    await asyncio.gather(harness.fleet.begin_again(), harness.apply(*changed), harness.fleet.begin_again())
    cares = sorted(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("tend "))
    assert [name.rpartition("/")[2] for name in cares] == ["small", "third"], cares
    serve.fate = {}
    await harness.until("small", PoolState.READY)
    await harness.until("third", PoolState.READY)
    assert sorted(serve.deployed) == ["small", "third"]


TO_ZERO = AutoscalingPolicy.model_validate(
    {
        "apiVersion": "pilotfish.dev/v1alpha1",
        "kind": "AutoscalingPolicy",
        "metadata": {"name": "to-zero"},
        "spec": {
            "minReplicas": 0,
            "maxReplicas": 1,
            "signals": [{"type": "OngoingRequests", "target": 8}],
            "scaleToZero": {"afterSeconds": 60, "holdRequestsSeconds": 30},
        },
    }
)


async def test_an_engine_stops_after_it_was_idle_and_starts_for_requests_that_wait(harness, serve):
    seconds, load = 0.0, {}
    idle = IdlePools(harness.fleet, lambda: load, lambda: seconds)
    small = pool("small", replicas=None, autoscalingPolicyRef={"name": "to-zero"})
    await harness.apply(small, pool("other"), policies=[TO_ZERO])
    await harness.until("small", PoolState.READY)
    await harness.until("other", PoolState.READY)
    await idle.step()
    seconds = 59.0
    await idle.step()
    assert harness.state("small") is PoolState.READY
    seconds = 61.0
    await idle.step()
    assert (harness.state("small"), sorted(serve.deployed)) == (PoolState.SCALED_TO_ZERO, ["other"])
    assert next(view for view in harness.fleet.views if view.name == "small").can_answer
    await harness.apply(small, pool("other"), policies=[TO_ZERO])
    assert harness.state("small") is PoolState.SCALED_TO_ZERO
    load, seconds = {small.key: 1}, 62.0
    await idle.step()
    await harness.until("small", PoolState.READY)
    assert sorted(serve.deployed) == ["other", "small"]
