"""Objectives in force: thresholds that move by what was spent, at one gateway and at several."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from math import log

import pytest
from aiohttp import ClientSession

from pilotfish.base.keys import Key
from pilotfish.controller.gateway_reports import GatewayReports
from pilotfish.gateway.objectives import PERIOD_SECONDS
from pilotfish.gateway.server import GatewayServer
from pilotfish.plugin_api.artifacts import write_artifact
from pilotfish.plugins.registry import Registry
from pilotfish.reconcile.gateway_report import RouterReport
from pilotfish.routing.gateway_usage import GatewayUsage
from pilotfish.routing.snapshot import Endpoint, PoolState, PoolView, RouterView, snapshot
from pilotfish.routing.threshold_control import Scores, ThresholdBounds, ThresholdRange
from pilotfish.settings import GatewaySettings
from pilotfish.telemetry.tracing import Tracing
from pilotfish.testing.stand_in_engine import Script, StandInEngine
from pilotfish.upstream.peers import Peers

from .conftest import cascade, pool

LIMITS = ThresholdBounds(200, 800, 500)
UNIFORM = ThresholdRange(Scores.of(range(1000)), LIMITS)
ADDRESS = "configmap://learned/scorer.npz"
LEARNED = "{name: logprob, artifact: {configMapRef: {name: learned, key: scorer.npz}}}"
SMALL, LARGE = 1.0, 9.0
GOLDEN = 0.6180339887498949


def priced(name: str, tier: str, per_token: float, currency: str = "USD"):
    pricing = f', pricing: {{currency: {currency}, perMillionOutputTokens: "{int(per_token * 1_000_000)}"}}'
    return pool(name, tier, pricing)


def spending(per_second: float, scorer: str = LEARNED):
    hourly = int(per_second * 3600)
    objective = f', objective: {{type: Spend, spend: {{currency: USD, perHour: "{hourly}"}}}}'
    return cascade(scorer=scorer, streaming="Hold", extra=objective)


@dataclass
class Fleet:
    """Gateways in front of one engine, with a clock that stands still between rounds."""

    engine: StandInEngine
    upstream: str
    session: ClientSession
    peers: Peers
    now: float = 0.0
    gateways: list[GatewayServer] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    asked: int = 0

    async def hear(self) -> Sequence[GatewayUsage]:
        return await self.peers.usage(self.addresses)

    async def add(self) -> GatewayServer:
        gateway = GatewayServer(
            GatewaySettings(port=0, drain_seconds=1),
            Registry.installed(),
            Tracing(),
            ask_gateways=self.hear,
            clock=lambda: self.now,
        )
        self.gateways.append(gateway)
        self.addresses.append(f"127.0.0.1:{await gateway.start()}")
        return gateway

    def serve(
        self, router, *, learned: ThresholdRange | None = UNIFORM, currency: str = "USD", state=PoolState.READY
    ) -> None:
        pools = [priced("small", "Small", SMALL), priced("large", "Large", LARGE, currency)]
        artifacts = {ADDRESS: write_artifact("logprob", learned.to_arrays())} if learned else {}
        views = [PoolView(each, state, (Endpoint(self.upstream),)) for each in pools]
        for gateway in self.gateways:
            gateway.apply(snapshot(views, [RouterView(router, artifacts)]))

    async def ask(self, at: int) -> float:
        """One request at a gateway, of the next score; what it cost."""
        self.asked += 1
        sure = 0.001 + 0.998 * (self.asked * GOLDEN % 1)
        self.engine.scripts["small"] = Script([("x", log(sure))])
        body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
        async with self.session.post(f"http://{self.addresses[at]}/v1/chat/completions", json=body) as response:
            assert response.status == 200
            stages = (await response.json())["pilotfish"]["stages"]
        return sum(float(stage["cost"]["amount"]) for stage in stages)

    async def round(self, *requests: int) -> float:
        """So many requests at each gateway in one period, then a step of each; what was spent."""
        spent = [await self.ask(at) for at, count in enumerate(requests) for _ in range(count)]
        self.now += PERIOD_SECONDS
        for gateway in self.gateways:
            await gateway.objectives.step()
        return sum(spent)

    async def told(self, at: int = 0) -> dict:
        async with self.session.get(f"http://{self.addresses[at]}/v1/models/assistant") as response:
            return (await response.json())["objective"]


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    engine = StandInEngine({"small": Script([("x", -1.0)]), "large": Script([("y", -0.01)])})
    async with ClientSession() as session, Peers(5.0) as peers:
        built = Fleet(engine, await engine.start(), session, peers)
        yield built
        for gateway in built.gateways:
            await gateway.stop()
        await engine.stop()


async def test_the_threshold_goes_where_the_spend_is_held(fleet: Fleet) -> None:
    await fleet.add()
    per_second = 4 * (SMALL + 0.3 * LARGE)
    fleet.serve(spending(per_second))
    assert (await fleet.told())["thresholdPermille"] == 500
    await fleet.round(8)
    spent = 0.0
    for _ in range(40):
        spent += await fleet.round(8)
        assert LIMITS.least <= (await fleet.told())["thresholdPermille"] <= LIMITS.most
    told = await fleet.told()
    assert spent == pytest.approx(40 * PERIOD_SECONDS * per_second, rel=0.05)
    assert float(told["current"]) == pytest.approx(float(told["target"]), rel=0.1)
    assert told["unit"] == "USD per hour"
    async with fleet.session.get(f"http://{fleet.addresses[0]}/metrics") as response:
        assert f'threshold_permille{{route="assistant"}} {told["thresholdPermille"]}.0' in await response.text()
    assert told["thresholdPermille"] == pytest.approx(300, abs=60)


async def test_what_no_threshold_within_bounds_can_hold_is_told(fleet: Fleet) -> None:
    await fleet.add()
    fleet.serve(spending(0.001))
    for _ in range(6):
        await fleet.round(4)
    told = await fleet.told()
    assert (told["thresholdPermille"], told["reason"]) == (LIMITS.least, "AtLeastThreshold")
    fleet.serve(spending(10_000))
    for _ in range(6):
        await fleet.round(4)
    told = await fleet.told()
    assert (told["thresholdPermille"], told["reason"]) == (LIMITS.most, "AtMostThreshold")


async def test_a_burst_is_followed_without_swinging(fleet: Fleet) -> None:
    await fleet.add()
    fleet.serve(spending(4 * (SMALL + 0.3 * LARGE)))
    for _ in range(20):
        await fleet.round(8)
    settled = (await fleet.told())["thresholdPermille"]
    await fleet.round(40)
    burst = []
    for _ in range(15):
        await fleet.round(8)
        burst.append((await fleet.told())["thresholdPermille"])
    assert min(burst) >= LIMITS.least
    assert max(burst) <= settled + 120
    assert burst[-1] == pytest.approx(settled, abs=60)


async def test_several_gateways_hold_one_threshold_by_the_spend_of_all(fleet: Fleet) -> None:
    await fleet.add()
    per_second = 6 * (SMALL + 0.4 * LARGE)
    fleet.serve(spending(per_second))
    for _ in range(5):
        await fleet.round(12)
    await fleet.add()
    fleet.addresses.append("127.0.0.1:9")  # where no server listens
    fleet.serve(spending(per_second))
    for _ in range(20):
        await fleet.round(9, 3)
    spent = sum([await fleet.round(9, 3) for _ in range(20)])
    first, second = await fleet.told(0), await fleet.told(1)
    assert abs(first["thresholdPermille"] - second["thresholdPermille"]) <= 10
    assert float(first["current"]) == pytest.approx(float(second["current"]), rel=0.02)
    assert spent == pytest.approx(20 * PERIOD_SECONDS * per_second, rel=0.06)


async def test_the_operator_reads_it_rounded_and_only_what_changed(fleet: Fleet) -> None:
    await fleet.add()
    await fleet.add()
    fleet.serve(spending(6 * (SMALL + 0.4 * LARGE)))
    book = GatewayReports(fleet.hear, lambda: fleet.now)
    key = Key("ModelRouter", "default", "assistant")
    assert book.of(key) is None
    assert await book.look() == [key]
    for _ in range(10):
        await fleet.round(8, 4)
    assert await book.look() == [key]
    assert await book.look() == []
    found = book.of(key)
    assert found
    assert found.objective
    assert found.escalated_permille == pytest.approx(400, abs=80)
    assert found.escalated_permille % 10 == 0
    told = await fleet.told()
    assert found.objective.threshold_permille in {told["thresholdPermille"], (await fleet.told(1))["thresholdPermille"]}
    assert float(found.objective.current or 0) == pytest.approx(float(told["current"]), rel=0.05)
    fleet.addresses.clear()
    assert await book.look() == [key]
    assert book.of(key) == RouterReport()


async def test_a_snapshot_keeps_what_was_reached_and_decisions_go_by_it(fleet: Fleet) -> None:
    await fleet.add()
    fleet.serve(spending(0.001))
    for _ in range(6):
        await fleet.round(4)
    fleet.serve(spending(0.001))
    assert (await fleet.told())["thresholdPermille"] == LIMITS.least
    fleet.engine.scripts["small"] = Script([("x", log(0.3))])
    body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
    async with fleet.session.post(f"http://{fleet.addresses[0]}/v1/chat/completions", json=body) as response:
        stages = (await response.json())["pilotfish"]["stages"]
    assert [(stage["pool"], stage["score"], stage["threshold"]) for stage in stages] == [("small", 300, 200)]


@pytest.mark.parametrize(
    ("scorer", "currency", "reason"),
    [("{name: logprob}", "USD", "NotCalibrated"), (LEARNED, "EUR", "NotPriced")],
)
async def test_an_objective_that_cannot_be_held_says_so_and_the_threshold_stays(
    fleet: Fleet, scorer: str, currency: str, reason: str
) -> None:
    await fleet.add()
    fleet.serve(spending(0.001, scorer), currency=currency)
    for _ in range(3):
        await fleet.round(4)
    told = await fleet.told()
    assert (told["thresholdPermille"], told["reason"]) == (500, reason)
    assert told["message"]
