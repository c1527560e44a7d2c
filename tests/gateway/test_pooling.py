"""Embeddings, scores, rankings and classes: passed on whole, from a pool with that task, and accounted for."""

import openai
import pytest

from pilotfish.api import ModelPool
from pilotfish.testing.stand_in_engine import EngineFault, Script

from .conftest import House, cascade, pool, router

HALVES = (
    "{type: Weighted, weighted: {pools: [{poolRef: {name: gone}, weight: 1}, {poolRef: {name: vectors}, weight: 1}]}}"
)


def embedder(name: str, task: str = "Embed") -> ModelPool:
    return pool(name, extra=f", task: {task}, pricing: {{currency: USD, perMillionInputTokens: '2.00'}}")


async def test_the_openai_client_gets_vectors_of_a_pool(house: House) -> None:
    await house.serve([], [embedder("vectors")])
    async with openai.AsyncOpenAI(base_url=house.url + "/v1", api_key="none", max_retries=0) as client:
        answer = await client.embeddings.create(model="vectors", input=["a", "bcd"], encoding_format="float")
    assert [row.embedding for row in answer.data] == [[1.0, 1.0], [3.0, 1.0]]


async def test_a_router_passes_over_a_pool_that_fails_and_counts_what_was_used(house: House) -> None:
    await house.serve(
        [router("find", HALVES, ", limits: {tokensPerMinute: 7}")], [embedder("gone"), embedder("vectors")]
    )
    house.say(gone=Script([], fault=EngineFault.REFUSES))
    answers = [await house.ask("find", "/v1/embeddings", input=["a", "b"]) for _ in range(4)]
    assert [answer.status for answer in answers[:2]] == [200, 200]
    assert answers[0].headers["x-pilotfish-route"] == "find"
    assert answers[-1].status == 429


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "a"}),
        ("/v1/rerank", {"query": "a", "documents": ["b"]}),
        ("/v1/classify", {"input": "a"}),
    ],
)
async def test_a_pool_with_another_task_is_named(house: House, path: str, body: dict[str, object]) -> None:
    await house.serve([], [pool("small")])
    answer = await house.ask("small", path, **body)
    assert (answer.status, answer.json["error"]["param"]) == (400, "model")
    assert "'small' has task Generate" in answer.json["error"]["message"]


async def test_a_router_that_reads_prompts_and_answers_gives_no_vectors(house: House) -> None:
    await house.serve([cascade("plain")])
    answer = await house.ask("plain", "/v1/embeddings", input="a")
    assert (answer.status, answer.json["error"]["param"]) == (400, "model")


async def test_a_request_without_content_names_the_parameter(house: House) -> None:
    await house.serve([], [embedder("vectors")])
    for path, name in (("/v1/embeddings", "input"), ("/v1/score", "text_1"), ("/v1/rerank", "query")):
        answer = await house.ask("vectors", path)
        assert (answer.status, answer.json["error"]["param"]) == (400, name)
