"""The explanation of an answer, from the gateway and as `pilotfish explain` prints it."""

import asyncio

import numpy as np
import orjson
from typer.testing import CliRunner

from pilotfish.cli.main import application
from pilotfish.plugin_api.learning import Outcomes
from pilotfish_embedding.training import train as train_embedding

from .conftest import ADDRESS, ARTIFACT, House, pool, predictive


async def explained(house: House, served, artifact: bytes, prompt: str) -> dict:
    pools = [pool("small"), pool("large", "Large"), pool("embedder", extra=", task: Embed")]
    await house.serve([served], pools, {ADDRESS: artifact})
    body = orjson.dumps({"model": "assistant", "messages": [{"role": "user", "content": prompt}]})
    return (await house.post("/pilotfish/v1/explain", body)).json


async def test_words_that_moved_a_linear_score_are_told_and_printed(house: House, learned: bytes) -> None:
    told = await explained(house, predictive(f"{{name: linear, {ARTIFACT}}}"), learned, "Add up item 5")
    prediction = told["prediction"]
    assert (told["answered_by"], prediction["pool"], prediction["thresholds"]) == ("large", "large", {"small": 500})
    assert prediction["score"] < 500
    contributions = prediction["details"]["contributions"]
    assert min(contributions, key=contributions.get).strip("…") in "Add up item 5"
    assert min(contributions.values()) < 0
    assert [stage["pool"] for stage in told["alternatives"]] == ["small"]
    assert told["alternatives"][0]["answer"] == "Canberra."

    command = ["explain", "-m", "assistant", "--url", house.url, "Name item 5"]
    printed = await asyncio.to_thread(CliRunner().invoke, application(("explain",)), command)
    assert printed.exit_code == 0
    assert "answered by small" in printed.output
    assert "contributions" in printed.output
    assert "small from 500" in printed.output


async def test_neighbours_of_an_embedding_score_are_told_by_their_requests(house: House) -> None:
    """The stand-in's vector is the prompt's length: short prompts are the small model's."""
    lengths = np.concatenate([np.linspace(1, 3, 150), np.linspace(40, 90, 150)])
    vectors = np.column_stack([lengths, np.ones(300)])
    random = np.random.default_rng(1)
    small = (random.random(300) < np.where(lengths < 10, 0.95, 0.1)).astype(float)
    names = [f"{'short' if length < 10 else 'long'}-{place}" for place, length in enumerate(lengths)]
    artifact = train_embedding(vectors, Outcomes(small, np.ones(300)), names).to_bytes()
    scorer = f"{{name: embedding, poolRefs: [{{role: embedder, name: embedder}}], {ARTIFACT}}}"
    told = await explained(house, predictive(scorer), artifact, "hi")
    neighbours = told["prediction"]["details"]["neighbours"]
    assert told["answered_by"] == "small"
    assert len(neighbours) == 5
    assert all(row["request"].startswith("short-") for row in neighbours)
    assert {"cosine", "outcome"} <= neighbours[0].keys()
    assert [call["pool"] for call in told["scorer_calls"]] == ["embedder"]


async def test_an_ordinary_answer_does_not_take_the_time_to_explain(house: House, learned: bytes) -> None:
    await explained(house, predictive(f"{{name: linear, {ARTIFACT}}}"), learned, "Name item 5")
    answer = await house.ask()
    assert "contributions" not in answer.json["pilotfish"]["prediction"]["details"]
