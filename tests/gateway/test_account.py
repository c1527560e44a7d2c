"""The account of a request: what scorers ask and what explanations take is counted like everything else."""

from decimal import Decimal

import pytest

from pilotfish.base.keys import Key
from pilotfish.testing.stand_in_engine import EngineFault, Script

from .conftest import House, cascade, pool, router

POOLS = [
    pool(name, extra=', pricing: {currency: USD, perMillionOutputTokens: "1000000"}')
    for name in ("small", "medium", "judge", "large")
]


def judged_twice(extra: str = ""):
    accept = "{scorer: {name: self-check, config: {role: judge, samples: 1}, poolRefs: [{role: judge, name: judge}]}"
    stages = [
        f"{{poolRef: {{name: {name}}}, accept: {accept}, thresholdPermille: 500}}}}" for name in ("small", "medium")
    ]
    strategy = f"{{type: Cascade, cascade: {{stages: [{', '.join(stages)}, {{poolRef: {{name: large}}}}]}}}}"
    return router("assistant", strategy, extra)


@pytest.mark.parametrize("fault", [None, EngineFault.GARBAGE])
async def test_what_the_scorers_of_all_stages_asked_is_told_and_paid(house: House, fault: EngineFault | None) -> None:
    house.say(medium=Script([("Perth", -0.1)]), judge=Script([("No", -0.1)], fault=fault))
    await house.serve([judged_twice()], POOLS)
    told = (await house.ask()).json["pilotfish"]
    assert [stage["pool"] for stage in told["stages"]] == ["small", "medium", "large"]
    assert [call["pool"] for call in told["scorer_calls"]] == ["judge", "judge"]
    calls = (*told["stages"], *told["scorer_calls"])
    assert Decimal(told["cost"]["amount"]) == sum(Decimal(call["cost"]["amount"]) for call in calls) > 0


async def test_tokens_of_scorers_count_towards_the_limit(house: House) -> None:
    house.say(medium=Script([("Perth", -0.1)]), judge=Script([("No", -0.1)]))
    await house.serve([judged_twice()], POOLS)
    stages = (await house.ask()).json["pilotfish"]["stages"]
    most = sum(stage["prompt_tokens"] + stage["completion_tokens"] for stage in stages) + 8
    await house.serve([judged_twice(f", limits: {{tokensPerMinute: {most}}}")], POOLS)
    assert [(await house.ask()).status for _ in range(2)] == [200, 429]


async def test_an_explanation_is_no_request_but_costs_what_it_costs(house: House) -> None:
    objective = ', objective: {type: Spend, spend: {currency: USD, perHour: "1"}}'
    await house.serve([cascade(extra=objective)], POOLS)
    told = (await house.ask(path="/pilotfish/v1/explain")).json
    assert house.gateway
    totals = house.gateway.objectives.usage().routers[Key("ModelRouter", "default", "assistant")].totals
    small, large = (float(stage["cost"]["amount"]) for stage in told["stages"])
    assert (totals.requests, totals.escalated) == (0, 0)
    assert (totals.small_spend, totals.large_spend) == (small, large)
    assert small > 0 < large
