"""Limits hold for requests that arrive together, and count answers that a client left."""

import asyncio

from pilotfish.testing.stand_in_engine import Script

from .conftest import House, pool, router

DIRECT = "{type: Direct, direct: {poolRef: {name: small}}}"
LONG = Script([("word ", -0.1)] * 200, seconds=0.005)


async def test_requests_that_arrive_together_do_not_pass_a_limit_together(house: House) -> None:
    await house.serve([router("plain", DIRECT, ", limits: {tokensPerMinute: 30}")])
    answers = await asyncio.gather(*(house.ask("plain", max_tokens=10) for _ in range(40)))
    answered = [answer for answer in answers if answer.status == 200]
    assert 1 <= len(answered) <= 2
    assert {answer.status for answer in answers} == {200, 429}


async def test_what_was_reserved_and_not_used_is_given_back(house: House) -> None:
    await house.serve([router("plain", DIRECT, ", limits: {tokensPerMinute: 1000}")])
    statuses = [(await house.ask("plain", max_tokens=900)).status for _ in range(5)]
    assert statuses == [200] * 5  # each uses 10 tokens


async def test_a_stream_that_is_left_is_counted(house: House) -> None:
    house.say(small=LONG)
    priced = ", pricing: {currency: USD, perMillionOutputTokens: '2.00'}"
    await house.serve([router("plain", DIRECT)], [pool("small", extra=priced)])
    assert house.session
    body = {"model": "plain", "stream": True, "max_tokens": 90, "messages": [{"role": "user", "content": "hi"}]}
    async with house.session.post(house.url + "/v1/chat/completions", json=body) as response:
        await house.engine.happened("token", "small")
        while len(house.log) < 60:
            await response.content.readany()
    await asyncio.wait_for(house.engine.happened("cancelled", "small"), 5)
    spent = (await house.get("/metrics")).raw.decode()
    [cost] = [line for line in spent.splitlines() if line.startswith("pilotfish_cost_total{")]
    assert float(cost.split()[-1]) > 50 * 2e-6
