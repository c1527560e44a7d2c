"""The log that the gateway writes: what was decided, and with which odds."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pilotfish.api.strategy import Scorer
from pilotfish.calibration.log import RecordedRequest, read_log
from pilotfish.calibration.scores import holds
from pilotfish.plugin_api.artifacts import write_artifact
from pilotfish.routing.snapshot import PoolState
from pilotfish.testing.stand_in_engine import EngineFault, Script

from .conftest import ADDRESS, ARTIFACT, SURE, UNSURE, House, cascade, pool, predictive, router


@pytest.fixture
def log(house: House, tmp_path: Path) -> Path:
    """Where the gateway writes its rows."""
    house.settings = replace(house.settings, record_file=tmp_path / "log.jsonl")
    return tmp_path / "log.jsonl"


async def rows(house: House, log: Path) -> list[RecordedRequest]:
    """What was written, once the gateway has ended."""
    assert house.gateway
    await house.gateway.stop()
    house.gateway = None
    return await asyncio.to_thread(read_log, log)


async def test_a_row_for_every_answer_with_its_odds(house: House, log: Path) -> None:
    await house.serve([cascade(extra=", exploration: {permille: 100}")])
    answered = Counter([(await house.ask(stream=bool(turn % 2))).headers["x-pilotfish-stages"] for turn in range(150)])
    house.say(small=UNSURE)
    await house.serve([cascade(extra=", exploration: {permille: 100}")])
    await house.ask()
    *explored, rejected = await rows(house, log)
    assert Counter((row.action, row.propensity) for row in explored) == {
        ("small", 0.9): answered["small"],
        ("large", 0.1): answered["small,large"],
    }
    assert answered["small,large"]
    assert (rejected.action, rejected.propensity) == ("large", 1.0)
    assert rejected.stages[0].scores == {"logprob": 82}
    assert rejected.messages == ({"role": "user", "content": "hi"},)
    assert rejected.stages[1].output_tokens == 3


async def test_a_weighted_router_s_odds_are_the_shares_of_the_pools_that_answer(house: House, log: Path) -> None:
    house.states["gone"] = (PoolState.LOADING, "")
    weights = {"small": 1, "large": 3, "gone": 6}
    pools = [f"{{poolRef: {{name: {name}}}, weight: {weight}}}" for name, weight in weights.items()]
    strategy = f"{{type: Weighted, weighted: {{pools: [{', '.join(pools)}]}}}}"
    await house.serve([router("assistant", strategy)], [pool("small"), pool("large", "Large"), pool("gone")])
    for _ in range(60):
        await house.ask()
    found = {(row.action, row.propensity) for row in await rows(house, log)}
    assert found == {("small", 0.25), ("large", 0.75)}


@pytest.mark.parametrize("scale", ["", "scale: odds", "scale: probability"])
async def test_a_score_is_of_the_scale_that_it_was_made_on(house: House, log: Path, scale: str) -> None:
    await house.serve([cascade(scorer=f"{{name: logprob, config: {{{scale}}}}}", streaming="Hold")])
    await house.ask()
    (row,) = await rows(house, log)
    held = {
        name: holds(row.stages[0], Scorer(name="logprob", config={"scale": name})) for name in ("odds", "probability")
    }
    assert held == {"odds": "probability" not in scale, "probability": "probability" in scale}


async def test_a_score_on_the_scale_of_an_artifact_is_not_taken_for_the_default_s(house: House, log: Path) -> None:
    """An artifact without a scale was made on `probability`."""
    artifact = write_artifact("logprob", {})
    await house.serve(
        [cascade(scorer=f"{{name: logprob, {ARTIFACT}}}", streaming="Hold")], artifacts={ADDRESS: artifact}
    )
    await house.ask()
    (row,) = await rows(house, log)
    scorers = [Scorer(name="logprob", config=config) for config in ({}, {"scale": "probability"})]
    assert [holds(row.stages[0], scorer) for scorer in scorers] == [False, True]


async def test_who_answers_for_a_pool_that_failed_was_not_drawn(house: House, log: Path) -> None:
    house.say(small=replace(SURE, fault=EngineFault.REFUSES))
    pools = "[{poolRef: {name: small}, weight: 9}, {poolRef: {name: large}, weight: 1}]"
    strategy = f"{{type: Weighted, weighted: {{pools: {pools}}}}}, fallback: [{{poolRef: {{name: large}}}}]"
    await house.serve([router("assistant", strategy)], [pool("small"), pool("large", "Large")])
    for _ in range(40):
        await house.ask()
    found = {(tuple(stage.pool for stage in row.stages), row.action, row.propensity) for row in await rows(house, log)}
    assert found == {(("small", "large"), "large", None), (("large",), "large", 0.1)}


async def test_a_prediction_is_passed_over_with_the_odds_that_the_log_tells(
    house: House, log: Path, learned: bytes
) -> None:
    served = predictive(f"{{name: linear, {ARTIFACT}}}", ", exploration: {permille: 100}")
    await house.serve([served], artifacts={ADDRESS: learned})
    asked = [f"{what} item 5" for what in ("Name", "Add up") for _ in range(100)]
    told = [await house.ask(messages=[{"role": "user", "content": text}]) for text in asked]
    found = await rows(house, log)
    assert {(row.action, row.propensity) for row in found[:100]} == {("small", 0.9), ("large", 0.1)}
    assert {(row.action, row.propensity) for row in found[100:]} == {("large", 1.0)}
    predicted = [answer.json["pilotfish"]["prediction"] for answer in told]
    assert [row.action == "large" for row in found[:100]] == [one.get("explored", False) for one in predicted[:100]]


@pytest.mark.parametrize("streaming", ["EarlyExit", "Hold"])
async def test_a_row_has_the_id_that_the_client_saw_and_what_was_said(house: House, log: Path, streaming: str) -> None:
    await house.serve([cascade(streaming=streaming)])
    told = []
    for small in (UNSURE, SURE):
        house.say(small=small)
        told += [await house.ask(stream=stream) for stream in (False, True)]
    found = await rows(house, log)
    ids = [answer.headers["x-pilotfish-id"] for answer in told]
    assert [row.id for row in found] == ids
    assert [(answer.chunks or [answer.json])[-1]["pilotfish"]["id"] for answer in told] == ids
    last_unread = None  # the last stage's stream flows through
    assert [[stage.answer for stage in row.stages] for row in found] == [
        ["Melbourne.", "Canberra it is."], ["Melbourne.", last_unread], ["Canberra."], ["Canberra."],
    ]  # fmt: skip


@pytest.mark.parametrize(("streaming", "scores"), [("EarlyExit", {}), ("Hold", {"logprob": 50})])
async def test_the_score_of_a_beginning_is_not_logged_as_the_answer_s(
    house: House, log: Path, streaming: str, scores: dict[str, int]
) -> None:
    house.say(small=Script([("sure", -0.01), ("unsure", -2.0), ("lost", -3.0)]))
    await house.serve(
        [cascade(scorer="{name: logprob, config: {statistic: minimum, scale: probability}}", streaming=streaming)]
    )
    told = (await house.ask()).json["pilotfish"]["stages"][0]
    (row,) = await rows(house, log)
    assert (told["ground"], told["score"]) == (("Certain", 135) if streaming == "EarlyExit" else ("EndOfAnswer", 50))
    assert row.stages[0].scores == scores
