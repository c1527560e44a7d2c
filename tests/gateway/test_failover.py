"""Faults of a pool that cost the client nothing: the next pool answers, or the answer was whole after all."""

import asyncio
from dataclasses import replace

import pytest

from pilotfish.testing.stand_in_engine import EngineFault, Script

from .conftest import SURE, House, cascade, router

DIRECT = "{type: Direct, direct: {poolRef: {name: small}}}"
HALVES = (
    "{type: Weighted, weighted: {pools: [{poolRef: {name: small}, weight: 1}, {poolRef: {name: large}, weight: 1}]}}"
)
HANGS = replace(SURE, fault=EngineFault.STALLS, after=0)


@pytest.mark.parametrize(("kind", "stream"), [("cascade", False), ("cascade", True), ("fallback", False)])
async def test_a_pool_that_hangs_leaves_time_for_the_next(house: House, kind: str, stream: bool) -> None:
    house.say(small=HANGS)
    routers = {
        "cascade": cascade("plain", extra=", timeoutSeconds: 2"),
        "fallback": router("plain", DIRECT, ", timeoutSeconds: 2, fallback: [{poolRef: {name: large}}]"),
    }
    await house.serve([routers[kind]])
    answer = await house.ask("plain", stream=stream)
    assert (answer.status, answer.text) == (200, "Canberra it is.")
    told = answer.chunks[-1]["pilotfish"] if stream else answer.json["pilotfish"]
    assert [(stage["pool"], stage["verdict"]) for stage in told["stages"]] == [
        ("small", "Failed"),
        ("large", "Accepted"),
    ]


async def test_a_share_of_a_weighted_router_that_fails_goes_to_the_others(house: House) -> None:
    house.say(small=replace(SURE, fault=EngineFault.REFUSES))
    await house.serve([router("plain", HALVES)])
    answers = [await house.ask("plain") for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["pilotfish"]["answered_by"] for answer in answers} == {"large"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stream_that_ends_after_its_finish_reason_is_whole(house: House, stream: bool) -> None:
    house.say(small=Script([("sure ", -0.01)] * 9, fault=EngineFault.UNMARKED, after=-1))
    await house.serve([cascade("plain")])
    answer = await house.ask("plain", stream=stream)
    assert answer.text == "sure " * 9
    if stream:
        assert answer.payloads[-1] == b"[DONE]"


async def test_more_answers_than_a_gateway_can_hold_are_refused(house: House) -> None:
    await house.serve([router("plain", DIRECT)])
    body = {"prompt": ["x"] * 8000, "n": 128}
    answer = await house.ask("plain", "/v1/completions", **body)
    assert (answer.status, answer.json["error"]["param"]) == (400, "prompt")
    assert house.engine.bodies == []


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer secret", 200), ("bearer secret", 200), ("secret", 401), ("Basic secret", 401),
        ("Bearer s\xe9cret", 401), ("", 401),
    ],
)  # fmt: skip
async def test_only_a_bearer_token_that_is_a_key_opens(house: House, header: str, status: int) -> None:
    house.settings = replace(house.settings, api_keys=frozenset({"secret"}))
    await house.serve([router("plain", DIRECT)])
    body = b'{"model": "plain", "messages": [{"role": "user", "content": "hi"}]}'
    reader, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rpartition(":")[2]))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    writer.write((head + f"Authorization: {header}\r\n\r\n").encode("latin-1") + body)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
