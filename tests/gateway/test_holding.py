"""Requests to a pool at zero: they wait for a replica, are reported as load, and are answered once and whole."""

import asyncio

import pytest

from pilotfish.routing.snapshot import PoolState

from .conftest import LARGE, House, cascade, pool, router

DIRECT = "{type: Direct, direct: {poolRef: {name: small}}}"
AT_ZERO = (PoolState.SCALED_TO_ZERO, "no replica runs")
READY = (PoolState.READY, "")


async def at_zero(house: House, seconds: int = 30) -> None:
    house.states["small"], house.hold_seconds["small"] = AT_ZERO, seconds
    await house.serve([router("plain", DIRECT)], [pool("small"), pool("large", "Large")])


async def load(house: House) -> dict[str, int]:
    return (await house.get("/pilotfish/v1/load")).json["pools"]


async def waiting(house: House, count: int) -> None:
    async with asyncio.timeout(5):
        while await load(house) != ({"default/small": count} if count else {}):  # noqa: ASYNC110 - a peer over HTTP
            await asyncio.sleep(0.01)


async def a_replica_answers(house: House) -> None:
    house.states["small"] = READY
    await house.serve([router("plain", DIRECT)], [pool("small"), pool("large", "Large")])


@pytest.mark.parametrize("stream", [False, True])
async def test_twenty_requests_at_zero_are_answered_once_when_a_replica_is_there(house: House, stream: bool) -> None:
    await at_zero(house)
    asking = [asyncio.create_task(house.ask("plain", stream=stream)) for _ in range(20)]
    await waiting(house, 20)
    assert house.engine.bodies == []
    await a_replica_answers(house)
    answers = await asyncio.gather(*asking)
    assert {(answer.status, answer.text) for answer in answers} == {(200, "Canberra.")}
    assert len(house.engine.bodies) == 20
    assert await load(house) == {}


async def test_a_request_that_waited_for_long_enough_is_told_when_to_come_back(house: House) -> None:
    await at_zero(house, seconds=1)
    answer = await house.ask("plain")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert "holdRequestsSeconds" in answer.json["error"]["message"]
    assert await load(house) == {}


async def test_a_client_that_leaves_no_longer_counts(house: House) -> None:
    await at_zero(house)
    asking = asyncio.create_task(house.ask("plain"))
    await waiting(house, 1)
    asking.cancel()
    await waiting(house, 0)


async def test_a_pool_that_is_removed_or_fails_lets_its_requests_go(house: House) -> None:
    await at_zero(house)
    asking = asyncio.create_task(house.ask("plain"))
    await waiting(house, 1)
    house.states["small"] = (PoolState.FAILED, "the image does not exist")
    await house.serve([router("plain", DIRECT)], [pool("small"), pool("large", "Large")])
    answer = await asking
    assert answer.status == 503
    assert "the image does not exist" in answer.json["error"]["message"]


async def test_what_is_listed_agrees_with_what_is_answered(house: House) -> None:
    await at_zero(house)
    assert {model["id"]: model["state"] for model in (await house.get("/v1/models")).json["data"]}["plain"] == "Ready"
    assert (await house.get("/readyz")).status == 200


async def test_a_cascade_waits_for_its_share_of_the_time_and_goes_on(house: House) -> None:
    house.say(large=LARGE)
    house.states["small"], house.hold_seconds["small"] = AT_ZERO, 30
    await house.serve([cascade("plain", extra=", timeoutSeconds: 2")])
    answer = await house.ask("plain")
    assert (answer.status, answer.text) == (200, "Canberra it is.")
