"""A cascade, seen by a client: which model answers, what is cancelled when, and that its answer is whole."""

import asyncio
from dataclasses import replace

import openai
import orjson
import pytest

from pilotfish.testing.stand_in_engine import EngineFault, Happened, Script

from .conftest import LARGE, SURE, UNSURE, House, cascade, pool, slow


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("streaming", ["EarlyExit", "Hold"])
@pytest.mark.parametrize(
    ("small", "text", "stages"), [(SURE, "Canberra.", "small"), (UNSURE, "Canberra it is.", "small,large")]
)
async def test_the_sure_answer_is_taken_and_the_unsure_one_never_seen(
    house: House, stream: bool, streaming: str, small: Script, text: str, stages: str
) -> None:
    house.say(small=small)
    await house.serve([cascade(streaming=streaming)])
    answer = await house.ask(stream=stream)
    assert answer.text == text
    assert answer.headers["x-pilotfish-stages"] == stages
    assert answer.headers["x-pilotfish-escalated"] == str("," in stages).lower()
    assert answer.headers["x-pilotfish-score"] == ("951" if small is SURE else "82")
    assert b"Mel" not in answer.raw
    told = answer.chunks[-1]["pilotfish"] if stream else answer.json["pilotfish"]
    assert [stage["verdict"] for stage in told["stages"]][-1] == "Accepted"
    assert told["stages"][-1]["completion_tokens"] == 3
    assert told["stages"][-1]["prompt_tokens"] == 7


async def test_early_exit_cancels_the_small_generation_and_the_large_one_overtakes_it(house: House) -> None:
    tokens = [("sure ", -0.01)] * 4 + [("unsure ", -3.0)] * 196
    house.say(small=Script(tokens, seconds=0.01), large=slow(LARGE))
    await house.serve([cascade(scorer="{name: logprob, config: {statistic: minimum}}")])
    answer = await house.ask(stream=True)
    assert answer.text == "Canberra it is."
    await asyncio.wait_for(house.engine.happened("cancelled", "small"), 5)
    cancelled = next(entry for entry in house.log if entry.what == "cancelled")
    assert cancelled.model == "small"
    assert 5 <= cancelled.token < 10
    assert Happened("token", "large", 1) in house.log
    assert not any(entry == Happened("ended", "small", 200) for entry in house.log)


async def test_what_is_accepted_early_flows_while_it_is_written(house: House) -> None:
    house.say(small=Script([("word ", -0.01)] * 40, seconds=0.01))
    await house.serve([cascade(within=4)])
    assert house.session
    body = orjson.dumps({"model": "assistant", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    async with house.session.post(house.url + "/v1/chat/completions", data=body) as response:
        first = await response.content.readany()
        tokens_said = sum(entry.what == "token" for entry in house.log)
        rest = await response.content.read()
    assert first.count(b"word ") >= 4
    assert tokens_said < 40
    assert (first + rest).count(b"word ") == 40


@pytest.mark.parametrize("within", [1, 3, 7])
async def test_only_the_prefix_is_judged(house: House, within: int) -> None:
    house.say(small=Script([("a", -0.1)] * within + [("b", -9.0)] * 5))
    await house.serve([cascade(within=within)])
    answer = await house.ask()
    told = answer.json["pilotfish"]["stages"][0]
    assert (told["verdict"], told["judged_tokens"], told["score"]) == ("Accepted", within, 905)
    assert answer.text == "a" * within + "bbbbb"


async def test_a_client_that_leaves_cancels_the_engine(house: House) -> None:
    house.say(small=slow(Script([("word ", -0.01)] * 500)))
    await house.serve([cascade(within=2)])
    assert house.session
    body = orjson.dumps({"model": "assistant", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    async with house.session.post(house.url + "/v1/chat/completions", data=body) as response:
        await response.content.readany()
        response.close()
    await asyncio.wait_for(house.engine.happened("cancelled", "small"), 1)
    assert not any(entry.what == "ended" for entry in house.log)


async def test_a_client_that_leaves_before_the_verdict_starts_no_second_stage(house: House) -> None:
    house.say(small=slow(Script([("word ", -3.0)] * 500)))
    await house.serve([cascade(streaming="Hold")])
    asking = asyncio.create_task(house.ask(stream=True))
    await house.engine.happened("token", "small")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(house.engine.happened("cancelled", "small"), 1)
    assert not any(entry.model == "large" for entry in house.log)


async def test_logprobs_reach_the_client_only_when_it_asked(house: House) -> None:
    await house.serve([cascade()])
    plain = await house.ask(stream=True)
    assert all(choice["logprobs"] is None for chunk in plain.chunks for choice in chunk["choices"])
    asked = await house.ask(stream=True, logprobs=True, top_logprobs=2)
    told = [
        token
        for chunk in asked.chunks
        for choice in chunk["choices"]
        if choice["logprobs"]
        for token in choice["logprobs"]["content"]
    ]
    assert [token["token"] for token in told] == ["Can", "berra", "."]
    assert all(len(token["top_logprobs"]) == 2 for token in told)
    whole = await house.ask(logprobs=True)
    assert [token["token"] for token in whole.json["choices"][0]["logprobs"]["content"]] == ["Can", "berra", "."]
    assert (await house.ask()).json["choices"][0]["logprobs"] is None


async def test_usage_is_that_of_the_model_that_answered(house: House) -> None:
    house.say(small=Script([("x", -4.0)] * 30), large=LARGE)
    await house.serve([cascade(within=8)])
    asked = await house.ask(stream=True, stream_options={"include_usage": True})
    assert asked.chunks[-1]["choices"] == []
    assert asked.chunks[-1]["usage"]["completion_tokens"] == 3
    assert [stage["pool"] for stage in asked.chunks[-1]["pilotfish"]["stages"]] == ["small", "large"]
    assert asked.chunks[-1]["pilotfish"]["stages"][0]["completion_tokens"] <= 30
    not_asked = await house.ask(stream=True)
    assert all("usage" not in chunk for chunk in not_asked.chunks)
    assert not_asked.chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert (await house.ask()).json["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


async def test_each_of_several_choices_must_be_sure(house: House) -> None:
    await house.serve([cascade()])
    answer = await house.ask(n=3)
    assert [choice["message"]["content"] for choice in answer.json["choices"]] == ["Canberra."] * 3
    streamed = await house.ask(n=2, stream=True)
    texts = ["", ""]
    for chunk in streamed.chunks:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
    assert texts == ["Canberra."] * 2


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_come_through_a_cascade(house: House, stream: bool) -> None:
    call = {"name": "weather", "arguments": '{"city": "Canberra"}'}
    house.say(small=replace(SURE, finish_reason="tool_calls", tool_call=call))
    await house.serve([cascade()])
    client = openai.AsyncOpenAI(base_url=house.url + "/v1", api_key="none")
    asked = {
        "model": "assistant",
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
    }
    if stream:
        calls = [
            part
            async for chunk in await client.chat.completions.create(**asked, stream=True)
            for choice in chunk.choices
            for part in choice.delta.tool_calls or []
        ]
    else:
        calls = (await client.chat.completions.create(**asked)).choices[0].message.tool_calls
    await client.close()
    assert [(each.function.name, each.function.arguments) for each in calls] == [("weather", '{"city": "Canberra"}')]


async def test_every_parameter_reaches_both_engines(house: House) -> None:
    house.say(small=UNSURE)
    await house.serve([cascade()])
    sent = {
        "temperature": 0.3, "stop": ["\n"], "response_format": {"type": "json_object"}, "seed": 4, "min_p": 0.1,
        "vllm_xargs": {"alpha": 1}, "an_engine_invents": {"deep": [1, None, "é"]}, "max_tokens": 5,
    }  # fmt: skip
    await house.ask(**sent)
    for body, name in zip(house.engine.bodies, ["small", "large"], strict=True):
        assert body["model"] == name
        assert {key: body[key] for key in sent} == sent
    assert house.engine.bodies[0]["logprobs"] is True
    assert "logprobs" not in house.engine.bodies[1]


async def test_plain_completions_cascade_too(house: House) -> None:
    house.say(small=UNSURE)
    await house.serve([cascade()])
    answer = await house.ask(path="/v1/completions", max_tokens=3)
    assert answer.json["choices"][0]["text"] == "Canberra it is."
    house.say(small=SURE)
    streamed = await house.ask(path="/v1/completions", stream=True)
    assert "".join(choice["text"] for chunk in streamed.chunks for choice in chunk["choices"]) == "Canberra."


@pytest.mark.parametrize("fault", list(EngineFault))
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_small_model_is_never_noticed_before_the_commit_point(
    house: House, fault: EngineFault, stream: bool
) -> None:
    house.settings = replace(house.settings, idle_timeout_seconds=0.3)
    house.say(small=Script([("sure ", -0.01)] * 6, fault=fault, after=3))
    await house.serve([cascade()])
    answer = await house.ask(stream=stream)
    assert (answer.status, answer.text) == (200, "Canberra it is.")
    told = answer.chunks[-1]["pilotfish"] if stream else answer.json["pilotfish"]
    assert [stage["verdict"] for stage in told["stages"]] == ["Failed", "Accepted"]
    assert told["stages"][0]["error"]


async def test_after_the_commit_point_the_stream_ends_with_an_error_event(house: House) -> None:
    house.say(small=Script([("sure ", -0.01)] * 9, seconds=0.01, fault=EngineFault.HALF, after=7))
    await house.serve([cascade(within=3)])
    answer = await house.ask(stream=True)
    assert answer.status == 200
    assert b"data: [DONE]" not in answer.raw
    last = orjson.loads(answer.payloads[-1])
    assert last["error"]["type"] == "upstream_error"
    client = openai.AsyncOpenAI(base_url=house.url + "/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.APIError):
        async for _ in await client.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": "hi"}], stream=True
        ):
            pass
    await client.close()


async def test_fallback_answers_when_no_stage_can(house: House) -> None:
    house.say(
        small=replace(SURE, fault=EngineFault.REFUSES), large=replace(LARGE, fault=EngineFault.REFUSES), spare=SURE
    )
    await house.serve(
        [cascade(extra=", fallback: [{poolRef: {name: spare}}]")],
        [pool("small"), pool("large", "Large"), pool("spare")],
    )
    answer = await house.ask()
    assert (answer.text, answer.headers["x-pilotfish-stages"]) == ("Canberra.", "small,large,spare")


async def test_the_last_error_is_told_when_nothing_answers(house: House) -> None:
    house.say(
        small=replace(SURE, fault=EngineFault.REFUSES), large=replace(LARGE, fault=EngineFault.REFUSES, status=429)
    )
    await house.serve([cascade()])
    answer = await house.ask()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json["error"]["message"] == "the stand-in refuses"


async def test_an_answer_without_a_token_is_not_sure(house: House) -> None:
    house.say(small=Script([]))
    await house.serve([cascade(threshold=1)])
    assert (await house.ask(stream=True)).text == "Canberra it is."
