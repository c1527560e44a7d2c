"""One replica of a pool as a pod: a Ray cluster with one engine, ready once it has answered.

Serve's own ingress answers `/v1/models` while no engine is up, so this module implements readiness: an answer of the
engine, requested each time the engine has started. All ports of Ray except Serve's stay on loopback.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import aiohttp
from aiohttp import web

from pilotfish.api.modelpool import Task
from pilotfish.base.errors import RuntimeFailure, Unavailable
from pilotfish.concurrency import first_done
from pilotfish.engine.health import EngineHealth, judge
from pilotfish.engine.ray_head import RayHead
from pilotfish.engine.reasons import explain
from pilotfish.render.serve_application import ServeApplication
from pilotfish.upstream.engine_load import requests_in_engine
from pilotfish.upstream.probe import probe

logger = logging.getLogger(__name__)

T = TypeVar("T")

POLL_SECONDS = 1.0
PATIENCE = 20
"""Times in a row that Serve may fail to report its applications."""
DEPLOY_TRIES = 300
"""Tries to deploy the application, at least a second apart. Then the pod ends and is restarted."""
DRAIN_POLL_SECONDS = 5.0
ANSWER_SECONDS = 300.0
"""Timeout of the first answer, seconds: a new engine may have to compile or warm up first."""


@dataclass(frozen=True)
class PodSettings:
    """What one pod runs. `application` is a Serve application with one model; a port of 0 chooses a free one."""

    application: Mapping[str, Any]
    task: Task
    host: str
    port: int
    health_port: int
    drain_seconds: float

    @property
    def serves(self) -> ServeApplication:
        """The application with typed access."""
        return ServeApplication(self.application)


class PoolPod:
    """Runs the replica until it is stopped or the engine fails."""

    def __init__(self, settings: PodSettings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._ray = RayHead(environ, settings.serves.accelerators, listen=settings.host, port=settings.port)
        self._answered = False
        self._deployed = False

    @property
    def ready(self) -> bool:
        """Whether the engine that runs now has answered."""
        return self._answered

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping`, then drain what was deployed. Raises RuntimeFailure with the engine's error."""
        health = await self._serve_health()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as http:
                await first_done(stopping.wait(), self._serve(http))
                if self._deployed:
                    await self._drain(http)
        finally:
            self._answered = False
            await self._ray.stop()
            await health.cleanup()

    async def _serve(self, http: aiohttp.ClientSession) -> None:
        await self._ray.start()
        await first_done(self._fail_with_ray(), self._deploy_and_follow(http))

    async def _fail_with_ray(self) -> NoReturn:
        raise RuntimeFailure(await self._ray.ended())

    async def _deploy_and_follow(self, http: aiohttp.ClientSession) -> None:
        await _patiently(lambda: self._ray.deploy([self._settings.application]), DEPLOY_TRIES)
        self._deployed = True
        await self._follow(http)

    async def _follow(self, http: aiohttp.ClientSession) -> None:
        """Keep `ready` equal to the engine's state. Raises RuntimeFailure if the engine does not start."""
        ever = False
        while True:
            known = await _patiently(self._ray.applications, PATIENCE)
            judgement = judge(known.get(self._settings.application["name"]), self._engine)
            if judgement.verdict is EngineHealth.RUNNING:
                if not self._answered:
                    await self._ask(http)
                    self._answered = ever = True
                    logger.info("ready: the engine has answered")
            else:
                if self._answered:
                    logger.warning("not ready: %s", judgement.message or judgement.verdict)
                self._answered = False
                if judgement.verdict is EngineHealth.BROKEN and (judgement.final or not ever):
                    raise await explain(self._ray.logs, judgement.message, judgement.replicas)
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self, http: aiohttp.ClientSession) -> None:
        settings = self._settings
        await probe(http, f"http://127.0.0.1:{self._ray.ports.serve}/v1", settings.task, settings.serves.model)

    async def _drain(self, http: aiohttp.ClientSession) -> None:
        """Wait until the engine's metrics, which lag by a few seconds, report no request twice in a row."""
        self._answered = False
        calm = 0
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                while calm < 2:
                    busy = await requests_in_engine(http, f"http://127.0.0.1:{self._ray.ports.metrics}/metrics")
                    calm = 0 if busy else calm + 1
                    await asyncio.sleep(DRAIN_POLL_SECONDS)
        except TimeoutError:
            logger.warning("requests in progress are cut off after %.0f s", self._settings.drain_seconds)

    @property
    def _engine(self) -> str:
        return self._settings.serves.engine_deployment

    async def _serve_health(self) -> web.AppRunner:
        async def livez(_: web.Request) -> web.Response:
            return web.Response(text="alive")

        async def readyz(_: web.Request) -> web.Response:
            return web.Response(text="ready") if self.ready else web.Response(status=503, text="no answer yet")

        app = web.Application()
        app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, self._settings.host, self._settings.health_port).start()
        return runner


async def _patiently(ask: Callable[[], Awaitable[T]], tries: int) -> T:
    for _ in range(tries - 1):
        try:
            return await ask()
        except Unavailable as error:
            logger.warning("%s\n%s", error, error.details)
        await asyncio.sleep(POLL_SECONDS)
    return await ask()
