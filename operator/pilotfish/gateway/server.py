"""The gateway's HTTP server. The seam at which the server library can be replaced: nothing else knows aiohttp's."""

import asyncio
import gc
import hmac
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from aiohttp import web
from opentelemetry.trace import INVALID_SPAN, SpanKind

from pilotfish.base.clock import Clock
from pilotfish.base.errors import (
    BadRequest,
    BodyTooLarge,
    ClientTimeout,
    DeadlineExceeded,
    RequestError,
    Unauthorized,
)
from pilotfish.base.keys import Key
from pilotfish.gateway.adaptations.watchdog import Watchdog
from pilotfish.gateway.exchange import Exchange
from pilotfish.gateway.objectives import AskGateways, Objectives, no_gateways
from pilotfish.gateway.pipeline import Pipeline
from pilotfish.gateway.pool_calls import Pools
from pilotfish.gateway.pooling import PoolingRequest, PoolingTask
from pilotfish.gateway.request_log import RequestLog
from pilotfish.gateway.routes import Route, RouteTable
from pilotfish.gateway.sender import Sender, error_response, json_response
from pilotfish.gateway.stages import Taken, Uniform
from pilotfish.gateway.wire.request import ClientRequest, Task
from pilotfish.plugins.registry import Registry
from pilotfish.routing.snapshot import Snapshot
from pilotfish.settings import GatewaySettings
from pilotfish.telemetry import genai
from pilotfish.telemetry.metrics import GatewayMetrics
from pilotfish.telemetry.tracing import Tracing
from pilotfish.upstream.client import ModelServers

logger = logging.getLogger(__name__)

UNKNOWN = "unknown"
MODELS = "/v1/models/"
CLIENT_LEFT = "499"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Body = TypeVar("Body", bytes, bytearray)
R = TypeVar("R", ClientRequest, PoolingRequest)


class GatewayServer:
    """One gateway: `start`, `apply` snapshots as they come, `stop`."""

    def __init__(
        self,
        settings: GatewaySettings,
        registry: Registry,
        tracing: Tracing,
        *,
        ask_gateways: AskGateways = no_gateways,
        clock: Clock = monotonic,
        uniform: Uniform = random.random,
    ) -> None:
        self._settings = settings
        self._tracing = tracing
        self._clock = clock
        self._metrics = GatewayMetrics()
        self._servers = ModelServers(settings)
        self._pools = Pools(self._servers, tracing, self._metrics, clock)
        self._watchdog = Watchdog(lambda: self._pools.guard.present)
        self._request_log = (
            RequestLog(settings.record_file, settings.record_max_bytes, self._metrics) if settings.record_file else None
        )
        table = RouteTable(registry, lambda: self.apply(table.snapshot))
        self._table = table
        self.objectives = Objectives(table, clock, ask_gateways)
        """Thresholds that move while serving."""
        self._following: asyncio.Task[None] | None = None
        self._pipeline = Pipeline(table, self._pools, self.objectives, uniform, self._request_log)
        self._runner: web.ServerRunner | None = None
        self._handlers: Mapping[tuple[str, str], Handler] = {
            **{
                ("POST", f"/v1{task}"): self._complete(partial(ClientRequest.parse, task), self._answer)
                for task in Task
            },
            **{
                ("POST", f"/v1{task}"): self._complete(partial(PoolingRequest.parse, task), self._pool)
                for task in PoolingTask
            },
            ("POST", "/pilotfish/v1/explain"): self._explain,
            ("GET", "/v1/models"): self._models,
            ("GET", "/healthz"): self._healthz,
            ("GET", "/readyz"): self._readyz,
            ("GET", "/metrics"): self._render_metrics,
            ("GET", "/pilotfish/v1/load"): self._load,
        }

    async def start(self) -> int:
        """Listen; the port that was bound. Raises OSError when the address is taken."""
        await self._servers.open()
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=self._settings.drain_seconds)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port, backlog=1024)
        await site.start()
        self._following = asyncio.create_task(self.objectives.follow())
        self._following.add_done_callback(_tell_failure)
        self._watchdog.start()
        # objects that exist now stay, so the garbage collector need not scan them again
        gc.freeze()
        return int(self._runner.addresses[0][1])

    def apply(self, snapshot: Snapshot) -> None:
        """Answer from this snapshot from now on; open requests keep the one they began with."""
        self._pipeline.apply(snapshot)

    def in_flight(self) -> Mapping[Key, int]:
        """Requests in progress at each pool, and those held for it."""
        return self._pools.in_flight

    async def stop(self) -> None:
        """Accept no more requests, let those in progress finish within the drain time, and export pending spans."""
        if self._runner:
            await self._runner.cleanup()
        self._table.stop()
        if self._following:
            self._following.cancel()
            await asyncio.wait({self._following})
        await self._servers.close()
        self._pools.threads.keep(())
        self._watchdog.stop()
        await asyncio.to_thread(self._tracing.shutdown)
        if self._request_log:
            await asyncio.to_thread(self._request_log.close)

    # requests

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = self._handlers.get((request.method, request.path))
        if handler is None and request.method == "GET" and request.path.startswith(MODELS):
            handler = self._model
        try:
            if handler is None:
                raise self._no_such_path(request)
            if request.method == "POST" or request.path.startswith("/v1/"):
                self._authorize(request)
            return await handler(request)
        except RequestError as error:
            return error_response(error)

    def _complete(
        self,
        parse: Callable[[bytes], R],
        answer: Callable[[R, Route, Sender, float], Awaitable[web.StreamResponse]],
    ) -> Handler:
        """A handler that parses a request, answers it, and counts it."""

        async def complete(request: web.BaseRequest) -> web.StreamResponse:
            started = self._clock()
            sender = Sender(request)
            route_name, status = UNKNOWN, "200"
            try:
                parsed = parse(await self._body(request))
                route = self._pipeline.route(parsed.model)
                route_name = route.name
                return await answer(parsed, route, sender, started)
            except RequestError as error:
                status = str(error.http_status)
                return await sender.fail(error)
            except (asyncio.CancelledError, ConnectionResetError):
                status = CLIENT_LEFT
                raise
            except Exception:
                logger.exception("a request to %s failed", route_name)
                status = str(RequestError.status)
                return await sender.fail(RequestError("the gateway failed: its log has the details"))
            finally:
                self._metrics.requests.labels(route_name, status).inc()
                self._metrics.seconds.labels(route_name).observe(self._clock() - started)

        return complete

    async def _answer(self, parsed: ClientRequest, route: Route, sender: Sender, started: float) -> web.StreamResponse:
        attributes: dict[str, str | int] = {
            genai.OPERATION: parsed.task.operation,
            genai.PROVIDER: genai.PROVIDER_NAME,
            genai.REQUEST_MODEL: route.name,
            genai.REQUEST_CHOICES: parsed.choices,
        }
        incoming = sender.request.headers

        async def send(exchange: Exchange, taken: Taken) -> None:
            self._metrics.first_byte_seconds.labels(route.name).observe(self._clock() - started)
            await sender.send(exchange, taken)

        name = f"{parsed.task.operation} {route.name}"
        try:
            with self._tracing.span(name, SpanKind.SERVER, incoming, attributes) as span:
                async with asyncio.timeout(route.timeout_seconds):
                    await self._pipeline.answer(parsed, route, incoming, span, send)
        except TimeoutError as error:
            raise _too_late(route) from error
        return sender.answer

    async def _pool(self, parsed: PoolingRequest, route: Route, sender: Sender, _started: float) -> web.StreamResponse:
        attributes = {
            genai.OPERATION: parsed.task.operation,
            genai.PROVIDER: genai.PROVIDER_NAME,
            genai.REQUEST_MODEL: route.name,
        }
        incoming = sender.request.headers
        try:
            with self._tracing.span(
                f"{parsed.task.operation} {route.name}", SpanKind.SERVER, incoming, attributes
            ) as span:
                async with asyncio.timeout(route.timeout_seconds):
                    sender.send_whole(*await self._pipeline.pool(parsed, route, incoming, span))
        except TimeoutError as error:
            raise _too_late(route) from error
        return sender.answer

    async def _body(self, request: web.BaseRequest) -> bytes:
        most = self._settings.max_body_bytes
        if (request.content_length or 0) > most:
            raise BodyTooLarge(f"the body has {request.content_length} bytes, but the maximum is {most}")
        if request.content.is_eof() and request.content.exception() is None:
            return self._allowed(request.content.read_nowait())  # it came with its headers, as small ones do
        body = bytearray()
        seconds = self._settings.body_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.content.iter_any():
                    body += chunk
                    self._allowed(body)
        except TimeoutError as error:
            raise ClientTimeout(f"the request was not complete within {seconds:.0f} s") from error
        except web.RequestPayloadError as error:
            raise BadRequest(f"the body was cut off: {error}") from error
        return bytes(body)

    def _allowed(self, body: Body) -> Body:
        most = self._settings.max_body_bytes
        if len(body) > most:
            raise BodyTooLarge(f"the body has more than {most} bytes")
        return body

    def _authorize(self, request: web.BaseRequest) -> None:
        if not self._settings.api_keys:
            return
        scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
        # bytes that are not UTF-8 arrive as surrogates
        given = credential.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""
        if not any(hmac.compare_digest(given, key.encode()) for key in self._settings.api_keys):
            raise Unauthorized(
                "the API key is missing or not valid: send it as a bearer token in the Authorization header",
                code="invalid_api_key",
            )

    def _no_such_path(self, request: web.BaseRequest) -> RequestError:
        methods = [method for method, path in self._handlers if path == request.path]
        if methods:
            return NoSuchPath(405, f"{request.path} accepts {', '.join(methods)}, not {request.method}")
        return NoSuchPath(404, f"the path {request.path} does not exist")

    # the rest of the API

    async def _explain(self, request: web.BaseRequest) -> web.StreamResponse:
        parsed = ClientRequest.parse(Task.CHAT, await self._body(request))
        route = self._pipeline.route(parsed.model)
        try:
            async with asyncio.timeout(route.timeout_seconds):
                return json_response(await self._pipeline.explain(parsed, route, request.headers, INVALID_SPAN))
        except TimeoutError as error:
            raise _too_late(route) from error

    async def _models(self, request: web.BaseRequest) -> web.StreamResponse:
        listed = [self._listed(name, route) for name, route in sorted(self._pipeline.table.routes.items())]
        return json_response({"object": "list", "data": listed})

    async def _model(self, request: web.BaseRequest) -> web.StreamResponse:
        name = request.path.removeprefix(MODELS)
        route = self._pipeline.table.routes.get(name)
        if route is None:
            raise self._pipeline.no_such_model(name)
        return json_response(self._listed(name, route))

    def _listed(self, name: str, route: Route) -> dict[str, Any]:
        status = self.objectives.status(route.key) if route.router else None
        snapshot = self._pipeline.table.snapshot
        reason = route.reason(snapshot)
        return {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": route.target.owner,
            "state": "Ready" if route.can_answer(snapshot) else "NotReady",
            **({"reason": reason} if reason else {}),
            **({"warning": route.stale} if route.stale else {}),
            **({"objective": status.model_dump(mode="json", by_alias=True, exclude_none=True)} if status else {}),
        }

    async def _healthz(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.BaseRequest) -> web.StreamResponse:
        table = self._pipeline.table
        if any(route.can_answer(table.snapshot) for route in table.routes.values()):
            return web.Response(text="ready\n")
        return web.Response(status=503, text="no model can answer yet\n")

    async def _render_metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        for name, threshold in self.objectives.thresholds().items():
            self._metrics.threshold.labels(name).set(threshold)
        self._metrics.in_flight.clear()
        for name, count in self._pools.counted(self._pipeline.table.snapshot).items():
            self._metrics.in_flight.labels(name).set(count)
        return web.Response(
            body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _load(self, request: web.BaseRequest) -> web.StreamResponse:
        pools = {key.path: count for key, count in self._pools.in_flight.items()}
        return json_response({"pools": pools, **self.objectives.usage().model_dump(mode="json", exclude_none=True)})


class NoSuchPath(RequestError):
    """No such path, or not with that method."""

    type = "invalid_request_error"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self._status = status

    @property
    def http_status(self) -> int:
        """404 or 405."""
        return self._status


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("the task of the objectives failed, so thresholds no longer move", exc_info=error)


def _too_late(route: Route) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the answer was not complete within {route.timeout_seconds} s, the timeoutSeconds of {route.name!r}"
    )
