"""The adaptation as it is prepared and used: demonstrations are indexed, and the best precede a question."""

import numpy as np
import orjson
import pytest

from pilotfish.base.errors import BadUpstream, ConfigError, ModelUnavailable
from pilotfish.plugin_api.adaptations import Conversation
from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnRequestContract
from pilotfish.testing.models import FailingModels, StandInModels
from pilotfish.testing.preparing import (
    CheckedProgress,
    InMemoryDocuments,
    Interrupted,
    PreparingContract,
    StandInWorkspace,
)
from pilotfish_prompt_retrieval import PromptRetrieval, demonstration_id

HISTORY = ({"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Yes?"})
COUNTRIES = {"Australia": "Canberra", "Norway": "Oslo", "Kenya": "Nairobi", "Vietnam": "Hanoi", "Brazil": "Brasilia"}
CAPITALS = [{"input": f"What is the capital of {each}?", "output": city} for each, city in COUNTRIES.items()]
SUMS = [{"input": f"Add {number} and 4.", "output": str(number + 4)} for number in (17, 28)]
WITHOUT_POOL = StandInModels(missing=frozenset({"embedder"}))


def jsonl(*rows):
    return b"\n".join(orjson.dumps(row) for row in rows)


DOCUMENTS = {"a.jsonl": jsonl(*CAPITALS), "b.jsonl": jsonl(*SUMS)}


class TestContract(OnRequestContract, PreparingContract):
    plugin = PromptRetrieval
    documents = DOCUMENTS


class TestContractWithoutPool(TestContract):
    settings = Settings({"placement": "LastTurn"})

    def models(self):
        return StandInModels(missing=frozenset({"embedder"}))


async def prepare(folder, *rows, config=None, models=WITHOUT_POOL, workspace=None):
    plugin = PromptRetrieval.from_settings(Settings(config or {}))
    into = workspace or StandInWorkspace(folder)
    documents = InMemoryDocuments({"rows.jsonl": jsonl(*rows)})
    return await plugin.prepare(documents=documents, into=into, models=models, progress=CheckedProgress())


async def asked(folder, question, config=None, models=WITHOUT_POOL, **conversation):
    plugin = PromptRetrieval.from_settings(Settings(config or {}, prepared=folder))
    messages = (*HISTORY, {"role": "user", "content": question})
    return await plugin.on_request(conversation=Conversation(messages, **conversation), models=models)


def trial(row, question, quality):
    ids = [demonstration_id(row["input"], row["output"])] if row else []
    return {"input": question, "demonstrations": ids, "quality": quality}


async def test_similar_demonstrations_are_turns_before_the_question_the_most_similar_last(tmp_path):
    prepared = await prepare(tmp_path, *CAPITALS, *SUMS)
    assert (prepared.documents, prepared.details["demonstrations"]) == (1, 7)
    question = "What is the capital of Norway, and of what is it the capital?"
    result = await asked(tmp_path, question, {"demonstrations": 2})
    assert result.messages[:2] == HISTORY
    assert result.messages[-1] == {"role": "user", "content": question}
    added = result.messages[2:-1]
    assert [each["role"] for each in added] == ["user", "assistant"] * 2
    assert added[-2:] == (
        {"role": "user", "content": "What is the capital of Norway?"},
        {"role": "assistant", "content": "Oslo"},
    )
    assert "Add" not in str(added)


async def test_in_the_last_turn_they_are_in_front_of_the_question(tmp_path):
    await prepare(tmp_path, *CAPITALS)
    result = await asked(tmp_path, "Capital of Kenya?", {"placement": "LastTurn", "demonstrations": 1})
    assert result.messages[:-1] == HISTORY
    expected = "Question: What is the capital of Kenya?\nAnswer: Nairobi\n\nCapital of Kenya?"
    assert result.messages[-1]["content"].endswith(expected)


async def test_a_demonstration_that_helped_is_preferred_to_one_that_did_harm(tmp_path):
    good, bad = CAPITALS[0], CAPITALS[1]
    trials = [trial(good, f"question {number}", 1.0) for number in range(5)]
    trials += [trial(bad, f"question {number}", 0.0) for number in range(5)]
    trials += [trial(None, f"question {number}", 0.5) for number in range(5)]
    prepared = await prepare(tmp_path, *CAPITALS, *trials)
    assert prepared.details["withKnownUsefulness"] == 2
    result = await asked(tmp_path, "What is the capital?", {"demonstrations": 5, "diversityPermille": 0})
    ids = [note["id"] for note in result.notes["demonstrations"]]
    assert ids[0] == demonstration_id(*good.values())
    assert ids[-1] == demonstration_id(*bad.values())
    assert result.notes["demonstrations"][0]["usefulness"] == pytest.approx(0.5 * 5 / 7, abs=1e-4)


async def test_near_copies_are_passed_over(tmp_path):
    copies = [{"input": f"What is the capital of Norway{mark}", "output": "Oslo"} for mark in ("?", "!", "?!", ".")]
    other = {"input": "What is the largest city of Norway?", "output": "Oslo"}
    await prepare(tmp_path, *copies, other)
    chosen = {}
    for diversity in (0, 1000):
        config = {"demonstrations": 2, "diversityPermille": diversity}
        chosen[diversity] = str((await asked(tmp_path, "What is the capital of Norway?", config)).messages)
    assert "largest" not in chosen[0]
    assert "largest" in chosen[1000]


async def test_vectors_of_a_pool_decide_where_there_is_one(tmp_path):
    vectors = {"Add 17 and 4.": [0.0, 2.0], "Sum of 3 and 5?": [0.1, 1.0]}
    models = StandInModels(vector=lambda string: vectors.get(string, [1.0, 0.0]))
    await prepare(tmp_path, *CAPITALS, *SUMS, models=models)
    by_words = await asked(tmp_path, "Sum of 3 and 5?", {"minSimilarityPermille": 200})
    assert by_words is None
    result = await asked(tmp_path, "Sum of 3 and 5?", {"demonstrations": 1}, models)
    assert result.messages[-2]["content"] == "21"


async def test_an_interrupted_preparation_embeds_only_what_is_missing(tmp_path):
    rows = [{"input": f"What is {number} + 1?", "output": str(number + 1)} for number in range(600)]
    models = StandInModels()
    await prepare(tmp_path, *rows, models=models)
    models.asked.clear()
    broken_off = StandInWorkspace(tmp_path / "again", stop_after=4)
    with pytest.raises(Interrupted):
        await prepare(tmp_path, *rows, models=models, workspace=broken_off)
    await prepare(tmp_path, *rows, models=models, workspace=StandInWorkspace(broken_off.path))
    assert len(models.asked) == 4


async def test_recorded_requests_with_a_good_answer_are_demonstrations(tmp_path):
    stages = [{"pool": "small", "answer": "Sydney", "quality": 0.0}, {"pool": "large", "answer": "Oslo", "quality": 1}]
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "Capital of Norway?"}]
    rows = [
        {"id": "1", "messages": messages, "stages": stages},
        {"id": "2", "prompt": "Capital of Peru?", "stages": [{"pool": "small", "answer": "Cusco", "quality": 0.0}]},
    ]
    assert (await prepare(tmp_path, *rows)).details["demonstrations"] == 1
    assert (await asked(tmp_path, "Capital of Norway?")).messages[-2]["content"] == "Oslo"


@pytest.mark.parametrize("placement", ["Turns", "LastTurn"])
async def test_what_is_added_stays_within_the_room(tmp_path, placement):
    rows = [{"input": f"What is the capital of {'A' * size}?", "output": "B" * size} for size in range(1, 300)]
    prepared = await prepare(tmp_path, *rows, config={"maxTokens": 120})
    assert prepared.details["longerThanMaxTokens"] > 0
    for room in (0, 30, 60, 100, None):
        config = {"maxTokens": 120, "demonstrations": 32, "placement": placement, "diversityPermille": 0}
        result = await asked(tmp_path, "What is the capital?", config, context_tokens=room)
        added = "".join(each["content"] for each in (result.messages[2:] if result else ()))
        assert estimate_tokens(added.removesuffix("What is the capital?")) <= min(120, 120 if room is None else room)
        assert bool(result) == (room not in (0, 30)) or placement == "Turns"


async def test_a_question_like_none_of_them_is_left_as_it_is(tmp_path):
    await prepare(tmp_path, *CAPITALS)
    assert await asked(tmp_path, "Wer schrieb Faust?") is None
    assert await asked(tmp_path, [{"type": "image_url", "image_url": {"url": "data:,"}}]) is None


async def test_vectors_of_another_length_are_refused(tmp_path):
    await prepare(tmp_path, *CAPITALS, models=StandInModels())
    for vector in ([1.0, 2.0, 3.0], [1.0]):
        with pytest.raises(BadUpstream, match="'embedder' returns vectors of another length"):
            await asked(tmp_path, "Capital?", models=StandInModels(vector=lambda _string, vector=vector: vector))


async def test_a_pool_that_is_gone_is_the_plugins_error(tmp_path):
    await prepare(tmp_path, *CAPITALS, models=StandInModels())
    with pytest.raises(ModelUnavailable):
        await asked(tmp_path, "Capital?", models=FailingModels())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"input": "a"}, r"sources.pages: rows.jsonl line 6: output: "),
        ({"input": "", "output": "b"}, r"line 6: input: "),
        ([], r"line 6: "),
        ({"input": "a", "demonstrations": ["x"], "quality": 2}, r"line 6: quality: "),
    ],
)
async def test_an_invalid_row_is_refused_with_its_line(tmp_path, row, reason):
    with pytest.raises(ConfigError, match=reason):
        await prepare(tmp_path, *CAPITALS, row)


async def test_documents_without_a_usable_demonstration_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="sources: have no demonstration"):
        await prepare(tmp_path, trial(None, "a", 1.0))
    with pytest.raises(ConfigError, match=r"config.maxTokens: .* increase it"):
        await prepare(tmp_path, {"input": "word " * 100, "output": "b"}, config={"maxTokens": 16})
    plugin = PromptRetrieval.from_settings(Settings())
    broken = InMemoryDocuments({"rows.jsonl": b"{'input': 1}"})
    with pytest.raises(ConfigError, match=r"rows\.jsonl line 1 is not JSON"):
        await plugin.prepare(
            documents=broken, into=StandInWorkspace(tmp_path), models=WITHOUT_POOL, progress=CheckedProgress()
        )


@pytest.mark.parametrize("config", [{"demonstrations": 0}, {"placement": "System"}, {"maxTokens": 1.5}, {"k": 4}])
def test_an_invalid_field_is_refused_by_name(config):
    with pytest.raises(ConfigError) as raised:
        PromptRetrieval.from_settings(Settings(config))
    assert raised.value.field == f"config.{next(iter(config))}"


async def test_bm25_ranks_like_its_formula(tmp_path):
    """A word that is rare counts more than a frequent one, and a short document more than a long one."""
    rows = [
        {"input": "zebra", "output": "1"},
        {"input": "zebra " + "grass " * 20, "output": "2"},
        *({"input": f"grass {number}", "output": "3"} for number in range(20)),
    ]
    await prepare(tmp_path, *rows)
    with np.load(tmp_path / "bm25.npz") as arrays:
        assert arrays["places"].dtype == np.int32
    notes = (await asked(tmp_path, "zebra grass", {"demonstrations": 3, "minSimilarityPermille": 0})).notes
    similarity = {each["id"]: each["similarity"] for each in notes["demonstrations"]}
    assert similarity[demonstration_id("zebra", "1")] > 3 * similarity.get(demonstration_id("grass 1", "3"), 0.0)
