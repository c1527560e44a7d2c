"""The API around the answers: models, health, limits, errors, and what bad input gets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import openai
import orjson
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pilotfish.routing.snapshot import PoolState
from pilotfish.telemetry.tracing import Tracing
from pilotfish.testing.stand_in_engine import EngineFault, Script

from .conftest import LARGE, SURE, UNSURE, House, cascade, pool, router, slow

DIRECT = "{type: Direct, direct: {poolRef: {name: small}}}"


@pytest.mark.parametrize("stream", [False, True])
async def test_direct_passes_the_answer_through_whole(house: House, stream: bool) -> None:
    house.say(small=Script([(f"w{i} ", -1.0) for i in range(50)] + [('"finish_reason":"x" [DONE]', -1.0)]))
    await house.serve([router("plain", DIRECT)])
    answer = await house.ask("plain", stream=stream)
    assert answer.text == "".join(text for text, _ in house.engine.scripts["small"].tokens)
    assert answer.headers["x-pilotfish-route"] == "plain"
    told = answer.chunks[-1]["pilotfish"] if stream else answer.json["pilotfish"]
    assert (told["answered_by"], told["stages"][0]["completion_tokens"]) == ("small", 51)
    if stream:
        assert answer.payloads[-1] == b"[DONE]"
        assert all("usage" not in chunk for chunk in answer.chunks)


async def test_usage_of_a_direct_stream_is_shown_when_asked_for(house: House) -> None:
    await house.serve([router("plain", DIRECT)])
    answer = await house.ask("plain", stream=True, stream_options={"include_usage": True})
    assert [chunk["choices"] for chunk in answer.chunks].count([]) == 1
    assert answer.chunks[-1]["usage"]["completion_tokens"] == 3
    assert answer.chunks[-2]["choices"][0]["finish_reason"] == "stop"


async def test_weights_share_the_requests_and_dead_pools_get_none(house: House) -> None:
    pools = "pools: [{poolRef: {name: small}, weight: 3}, {poolRef: {name: large}, weight: 1}]"
    await house.serve([router("canary", f"{{type: Weighted, weighted: {{{pools}}}}}")])
    seen = Counter([(await house.ask("canary")).json["model"] for _ in range(80)])
    assert seen["small"] > seen["large"] > 0
    house.states["small"] = (PoolState.FAILED, "out of memory")
    await house.serve([router("canary", f"{{type: Weighted, weighted: {{{pools}}}}}")])
    assert {(await house.ask("canary")).json["model"] for _ in range(10)} == {"large"}


async def test_an_adapter_is_a_model_of_its_own_on_its_pools_replicas(house: House) -> None:
    adapted = pool("small", extra=", adapters: [{name: legal, model: {uri: 's3://models/legal'}}]")
    house.say(**{"small:legal": Script([("Hereby", -0.1)])})
    await house.serve([], [adapted])
    assert [entry["id"] for entry in (await house.get("/v1/models")).json["data"]] == ["small", "small:legal"]
    answer = await house.ask("small:legal")
    assert (answer.text, answer.json["model"]) == ("Hereby", "small:legal")
    assert answer.headers["x-pilotfish-stages"] == "small:legal"
    assert (await house.ask("small")).text == "Canberra."
    assert (await house.ask("small:medical")).json["error"]["code"] == "model_not_found"


async def test_a_pool_answers_by_its_own_name_and_says_why_it_cannot(house: House) -> None:
    house.states["large"] = (PoolState.FAILED, "No module named 'flash_attn'")
    await house.serve([cascade()])
    assert (await house.ask("small")).text == "Canberra."
    failed = await house.ask("large")
    assert (failed.status, failed.headers["Retry-After"]) == (503, "5")
    assert "No module named 'flash_attn'" in failed.json["error"]["message"]
    listed = {model["id"]: model for model in (await house.get("/v1/models")).json["data"]}
    assert {name: model["state"] for name, model in listed.items()} == {
        "assistant": "Ready", "small": "Ready", "large": "NotReady",
    }  # fmt: skip
    assert (await house.get("/v1/models/large")).json == listed["large"]
    assert (await house.get("/v1/models/none")).status == 404
    assert listed["assistant"]["owned_by"] == "pilotfish-router"
    assert listed["large"]["reason"] == "No module named 'flash_attn'"


async def test_a_router_that_names_a_missing_pool_is_not_ready_and_says_which(house: House) -> None:
    await house.serve([router("lost", "{type: Direct, direct: {poolRef: {name: nowhere}}}")], [pool("small")])
    answer = await house.ask("lost")
    assert answer.status == 503
    assert "nowhere" in answer.json["error"]["message"]


async def test_ready_means_that_a_model_can_answer(house: House) -> None:
    house.states = dict.fromkeys(("small", "large"), (PoolState.LOADING, "loading weights"))
    await house.serve([cascade()])
    assert (await house.get("/healthz")).status == 200
    assert (await house.get("/readyz")).status == 503
    house.states["small"] = (PoolState.READY, "")
    await house.serve([cascade()])
    assert (await house.get("/readyz")).status == 200


@pytest.mark.parametrize("state", [PoolState.SCALED_TO_ZERO, PoolState.LOADING, PoolState.FAILED])
async def test_the_list_the_probe_and_a_request_agree_on_a_pool_that_cannot_answer(
    house: House, state: PoolState
) -> None:
    house.states = dict.fromkeys(("small", "large"), (state, "no replica runs"))
    await house.serve([cascade()])
    listed = (await house.get("/v1/models")).json["data"]
    assert {model["id"]: model["state"] for model in listed} == dict.fromkeys(
        ("assistant", "large", "small"), "NotReady"
    )
    assert (await house.get("/readyz")).status == 503
    for name in ("assistant", "small", "large"):
        answer = await house.ask(name)
        assert (answer.status, "no replica runs" in answer.json["error"]["message"]) == (503, True)


@pytest.mark.parametrize(
    ("raw", "status", "word"),
    [
        (b"{not json", 400, "JSON"),
        (b"[]", 400, "object"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', 400, "model"),
        (b'{"model": "assistant"}', 400, "messages"),
        (b'{"model": "assistant", "messages": []}', 400, "messages"),
        (b'{"model": "assistant", "messages": ["hi"]}', 400, "role"),
        (b'{"model": "assistant", "messages": [{"role": "user"}], "n": 0}', 400, "n"),
        (b'{"model": "assistant", "messages": [{"role": "user"}], "stream": "yes"}', 400, "stream"),
        (b'{"model": "absent", "messages": [{"role": "user"}]}', 404, "assistant"),
        (b"x" * 5000, 413, "4096"),
    ],
)
async def test_bad_bodies_get_a_clear_error(house: House, raw: bytes, status: int, word: str) -> None:
    house.settings = replace(house.settings, max_body_bytes=4096)
    await house.serve([cascade()])
    answer = await house.post("/v1/chat/completions", raw)
    assert answer.status == status
    assert word in answer.json["error"]["message"]
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    assert not house.engine.bodies


async def test_the_openai_client_understands_the_errors(house: House) -> None:
    house.settings = replace(house.settings, api_keys=frozenset({"secret"}))
    house.say(small=replace(SURE, fault=EngineFault.REFUSES, status=400))
    await house.serve([router("plain", DIRECT)])
    ask = {"messages": [{"role": "user", "content": "hi"}]}
    async with openai.AsyncOpenAI(base_url=house.url + "/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="plain", **ask)
    async with openai.AsyncOpenAI(base_url=house.url + "/v1", api_key="secret", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="plain, small") as caught:
            await client.chat.completions.create(model="absent", **ask)
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError, match="the stand-in refuses"):
            await client.chat.completions.create(model="plain", **ask)


@pytest.mark.parametrize("fault", [EngineFault.GARBAGE, EngineFault.HALF, EngineFault.NOTHING])
async def test_an_upstream_that_answers_nonsense_is_a_502(house: House, fault: EngineFault) -> None:
    house.say(small=replace(SURE, fault=fault))
    await house.serve([router("plain", DIRECT)])
    assert (await house.ask("plain")).status == 502


@pytest.mark.parametrize("fault", [EngineFault.GARBAGE, EngineFault.HALF, EngineFault.NOTHING, EngineFault.ERROR_EVENT])
async def test_a_stream_that_breaks_is_never_taken_for_a_whole_one(house: House, fault: EngineFault) -> None:
    house.say(small=Script([("word ", -1.0)] * 5, seconds=0.01, fault=fault, after=3))
    await house.serve([router("plain", DIRECT)])
    answer = await house.ask("plain", stream=True)
    assert b"data: [DONE]" not in answer.raw
    assert answer.json["error"] if answer.status != 200 else orjson.loads(answer.payloads[-1])["error"]


async def test_no_server_behind_the_address_is_a_503(house: House) -> None:
    await house.engine.stop()
    await house.serve([router("plain", DIRECT)])
    assert (await house.ask("plain")).status == 503


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/pilotfish/v1/explain"])
async def test_a_router_s_time_is_kept(house: House, path: str) -> None:
    house.say(small=slow(SURE, 30))
    await house.serve([router("plain", DIRECT, ", timeoutSeconds: 1")])
    answer = await house.ask("plain", path)
    assert (answer.status, answer.json["error"]["type"]) == (504, "timeout_error")
    await asyncio.wait_for(house.engine.happened("cancelled", "small"), 2)


async def test_limits_send_away_with_retry_after_and_survive_a_new_snapshot(house: House) -> None:
    limited = router("plain", DIRECT, ", limits: {requestsPerMinute: 2}")
    await house.serve([limited])
    paths = ("/v1/chat/completions", "/pilotfish/v1/explain")
    assert [(await house.ask("plain", path)).status for path in paths] == [200, 200]
    await house.serve([limited])
    for path in paths:
        refused = await house.ask("plain", path)
        assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(refused.headers["Retry-After"]) >= 1


async def test_a_new_snapshot_drops_no_stream(house: House) -> None:
    house.say(small=slow(Script([("word ", -0.1)] * 30)))
    await house.serve([router("plain", DIRECT)])
    asking = asyncio.create_task(house.ask("plain", stream=True))
    await house.engine.happened("token", "small")
    await house.serve([], [pool("other")])
    assert (await asking).text == "word " * 30
    assert (await house.ask("plain")).status == 404


async def test_one_trace_explains_an_escalation(house: House) -> None:
    exporter = InMemorySpanExporter()
    house.tracing = Tracing.exporting(SimpleSpanProcessor(exporter), "gateway")
    house.say(small=UNSURE)
    priced = ', pricing: {currency: USD, perMillionOutputTokens: "2.00"}'
    await house.serve([cascade()], [pool("small", extra=priced), pool("large", "Large", priced)])
    caller = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    body = orjson.dumps({"model": "assistant", "messages": [{"role": "user", "content": "hi"}]})
    answer = await house.post("/v1/chat/completions", body, traceparent=caller)
    assert answer.json["pilotfish"]["cost"] == {"currency": "USD", "amount": "0.000012"}
    spans = {span.name: span for span in exporter.get_finished_spans()}
    server, small, large = spans["chat assistant"], spans["chat small"], spans["chat large"]
    assert {span.context.trace_id for span in spans.values()} == {0x0123456789ABCDEF0123456789ABCDEF}
    assert server.parent.span_id == 0x0123456789ABCDEF
    assert small.parent.span_id == large.parent.span_id == server.context.span_id
    assert small.attributes["pilotfish.verdict"] == "Rejected"
    assert small.attributes["pilotfish.score_permille"] == 82
    assert small.attributes["pilotfish.threshold_permille"] == 500
    assert large.attributes["gen_ai.usage.output_tokens"] == 3
    assert server.attributes["pilotfish.stages"] == "small,large"
    for headers, span in zip(house.engine.headers, (small, large), strict=True):
        assert headers["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"


async def test_metrics_count_what_happened(house: House) -> None:
    house.say(small=UNSURE, large=LARGE)
    await house.serve([cascade()])
    await house.ask()
    await house.ask("no such model")
    text = (await house.get("/metrics")).raw.decode()
    assert 'pilotfish_requests_total{route="assistant",status="200"} 1.0' in text
    assert 'pilotfish_requests_total{route="unknown",status="404"} 1.0' in text
    assert 'pilotfish_escalations_total{route="assistant"} 1.0' in text
    assert 'pilotfish_stages_total{pool="small",route="assistant",verdict="Rejected"} 1.0' in text


async def test_load_counts_requests_at_pools(house: House) -> None:
    house.say(small=slow(Script([("word ", -0.1)] * 300)))
    await house.serve([router("plain", DIRECT)])
    asking = [asyncio.create_task(house.ask("plain", stream=True)) for _ in range(3)]
    while sum(entry.what == "started" for entry in house.log) < 3:
        await house.engine.happened("started", "small")
        await asyncio.sleep(0)
    assert (await house.get("/pilotfish/v1/load")).json["pools"] == {"default/small": 3}
    told = (await house.get("/metrics")).raw.decode()
    assert 'pilotfish_in_flight{pool="small"} 3.0' in told
    assert 'pilotfish_in_flight{pool="large"} 0.0' in told
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_explain_runs_every_stage_and_says_which_would_have_answered(house: House) -> None:
    await house.serve([cascade()])
    body = orjson.dumps({"model": "assistant", "messages": [{"role": "user", "content": "hi"}]})
    told = (await house.post("/pilotfish/v1/explain", body)).json
    assert told["answered_by"] == "small"
    assert [(stage["pool"], stage["answer"]) for stage in told["stages"]] == [
        ("small", "Canberra."), ("large", "Canberra it is."),
    ]  # fmt: skip
    assert (told["stages"][0]["score"], told["stages"][0]["threshold"]) == (951, 500)
    assert told["stages"][0]["scorer"] == "logprob"


async def test_what_is_not_sampled_costs_no_span_and_tells_the_engine_so(house: House) -> None:
    exporter = InMemorySpanExporter()
    house.tracing = Tracing.exporting(SimpleSpanProcessor(exporter), "gateway")
    house.say(small=UNSURE)
    await house.serve([cascade()])
    body = orjson.dumps({"model": "assistant", "messages": [{"role": "user", "content": "hi"}]})
    unsampled = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"
    await house.post("/v1/chat/completions", body, traceparent=unsampled)
    assert exporter.get_finished_spans() == ()
    for headers in house.engine.headers:
        trace, flags = headers["traceparent"].split("-")[1], headers["traceparent"].split("-")[3]
        assert (trace, flags) == ("0123456789abcdef0123456789abcdef", "00")


async def test_a_client_that_never_ends_its_request_is_sent_away(house: House) -> None:
    house.settings = replace(house.settings, body_timeout_seconds=0.2)
    await house.serve([cascade()])

    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"model": '
        await asyncio.Event().wait()

    assert house.session
    sending = house.session.post(house.url + "/v1/chat/completions", data=stalled())
    async with asyncio.timeout(10), sending as response:
        assert response.status == 408
        assert (await response.json())["error"]["type"] == "timeout_error"
