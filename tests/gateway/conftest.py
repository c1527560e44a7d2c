"""A gateway in this process, stand-in engines behind it, and a real client in front."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson
import pytest
import yaml

from pilotfish.api import AdaptationPlugin, ModelPool, ModelRouter
from pilotfish.base.keys import Key
from pilotfish.gateway.server import GatewayServer
from pilotfish.plugin_api.learning import Outcomes
from pilotfish.plugins.builtin.scorers.linear_training import train_linear
from pilotfish.plugins.registry import Registry
from pilotfish.reconcile.kinds import parse_resource
from pilotfish.routing.snapshot import Endpoint, PoolState, PoolView, RouterView, snapshot
from pilotfish.settings import GatewaySettings
from pilotfish.telemetry.tracing import Tracing
from pilotfish.testing.stand_in_engine import Happened, Script, StandInEngine


def resource(text: str) -> Any:
    parsed, faults = parse_resource(yaml.safe_load(text))
    assert parsed is not None, faults
    return parsed


def pool(name: str, tier: str = "Small", extra: str = "") -> ModelPool:
    return resource(f"""
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {{name: {name}}}
spec: {{tier: {tier}, model: {{uri: "package://a/b"}}, replicas: 1{extra}}}
""")


def router(name: str, strategy: str, extra: str = "") -> ModelRouter:
    return resource(f"""
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {{name: {name}}}
spec: {{strategy: {strategy}{extra}}}
""")


def cascade(
    name: str = "assistant",
    threshold: int = 500,
    *,
    scorer: str = "{name: logprob, config: {scale: probability}}",
    streaming: str = "EarlyExit",
    within: int | None = None,
    extra: str = "",
) -> ModelRouter:
    horizon = f", decideWithinTokens: {within}" if within else ""
    accept = f"{{scorer: {scorer}, thresholdPermille: {threshold}{horizon}}}"
    stages = f"[{{poolRef: {{name: small}}, accept: {accept}}}, {{poolRef: {{name: large}}}}]"
    return router(name, f"{{type: Cascade, cascade: {{streaming: {streaming}, stages: {stages}}}}}", extra)


ADDRESS = "configmap://learned/scorer.npz"
ARTIFACT = "artifact: {configMapRef: {name: learned, key: scorer.npz}}"
SMALL_AT_500 = "candidates: [{poolRef: {name: small}, thresholdPermille: 500}, {poolRef: {name: large}}]"


def predictive(scorer: str, extra: str = "") -> ModelRouter:
    return router("assistant", f"{{type: Predictive, predictive: {{scorer: {scorer}, {SMALL_AT_500}}}}}", extra)


@pytest.fixture(scope="session")
def learned() -> bytes:
    """An artifact of `linear`: sums are what the small model cannot do."""
    random = np.random.default_rng(0)
    hard = np.arange(400) % 2 == 0
    texts = [f"{'Add up' if difficult else 'Name'} item {place % 37}" for place, difficult in enumerate(hard)]
    small = (random.random(400) < np.where(hard, 0.1, 0.95)).astype(float)
    return train_linear(texts, Outcomes(small, np.ones(400))).model.to_bytes()


SURE = Script([("Can", -0.05), ("berra", -0.05), (".", -0.05)])
UNSURE = Script([("Mel", -2.5), ("bourne", -2.5), (".", -2.5)])
LARGE = Script([("Canberra", -0.01), (" it", -0.01), (" is.", -0.01)])


@dataclass
class Answered:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> dict[str, Any]:
        return orjson.loads(self.raw)

    @property
    def payloads(self) -> list[bytes]:
        return [part[6:] for part in self.raw.split(b"\n\n") if part.startswith(b"data: ")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [orjson.loads(payload) for payload in self.payloads if payload != b"[DONE]"]

    @property
    def text(self) -> str:
        if self.raw.startswith(b"data:"):
            return "".join(
                choice["delta"].get("content") or "" for chunk in self.chunks for choice in chunk.get("choices", [])
            )
        return self.json["choices"][0]["message"]["content"]


@dataclass
class House:
    """Everything of one test."""

    engine: StandInEngine
    upstream: str
    tracing: Tracing = field(default_factory=Tracing)
    settings: GatewaySettings = field(default_factory=lambda: GatewaySettings(port=0, drain_seconds=1))
    registry: Registry = field(default_factory=Registry.installed)
    gateway: GatewayServer | None = None
    url: str = ""
    session: aiohttp.ClientSession | None = None
    states: dict[str, tuple[PoolState, str]] = field(default_factory=dict)
    hold_seconds: dict[str, int] = field(default_factory=dict)

    @property
    def log(self) -> list[Happened]:
        return self.engine.log

    async def serve(
        self,
        routers: list[ModelRouter],
        pools: list[ModelPool] | None = None,
        artifacts: Mapping[str, bytes] | None = None,
        plugins: Sequence[AdaptationPlugin] = (),
        prepared: Mapping[Key, Path] | None = None,
    ) -> None:
        if self.gateway is None:
            draws = random.Random(7).random
            self.gateway = GatewayServer(self.settings, self.registry, self.tracing, uniform=draws)
            self.url = f"http://127.0.0.1:{await self.gateway.start()}"
            self.session = aiohttp.ClientSession()
        views = [self.view(each) for each in pools or [pool("small"), pool("large", "Large")]]
        given = [RouterView(each, artifacts or {}) for each in routers]
        self.gateway.apply(snapshot(views, given, plugins, prepared=prepared or {}))

    def view(self, each: ModelPool) -> PoolView:
        state, reason = self.states.get(each.name, (PoolState.READY, ""))
        endpoints = () if state is PoolState.SCALED_TO_ZERO else (Endpoint(self.upstream),)
        return PoolView(each, state, endpoints, reason, hold_seconds=self.hold_seconds.get(each.name))

    async def ask(self, model: str = "assistant", path: str = "/v1/chat/completions", **body: Any) -> Answered:
        content = (
            {"prompt": "hello"} if path == "/v1/completions" else {"messages": [{"role": "user", "content": "hi"}]}
        )
        return await self.post(path, orjson.dumps({"model": model, **content, **body}))

    async def post(self, path: str, raw: bytes, **headers: str) -> Answered:
        assert self.session
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.url + path, data=raw, headers=sent) as response:
            return Answered(response.status, dict(response.headers), await response.read())

    async def get(self, path: str) -> Answered:
        assert self.session
        async with self.session.get(self.url + path) as response:
            return Answered(response.status, dict(response.headers), await response.read())

    def say(self, **scripts: Script) -> None:
        self.engine.scripts.update(scripts)

    def order(self, *wanted: tuple[str, str, int]) -> list[int]:
        """Positions in the log of (what, model, token)."""
        return [self.log.index(Happened(*each)) for each in wanted]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    engine = StandInEngine({"small": SURE, "large": LARGE})
    built = House(engine, await engine.start())
    yield built
    if built.session:
        await built.session.close()
    if built.gateway:
        await built.gateway.stop()
    await engine.stop()


Change = Callable[..., Script]


def slow(script: Script, seconds: float = 0.01) -> Script:
    return replace(script, seconds=seconds)
