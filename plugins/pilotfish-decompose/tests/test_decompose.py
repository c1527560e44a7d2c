"""The adaptation as a router uses it: a question is split, the parts are answered, the answers precede it."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.errors import BadUpstream, ConfigError, ModelUnavailable
from pilotfish.plugin_api.adaptations import Conversation
from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnRequestContract
from pilotfish.testing.models import StandInModels
from pilotfish_decompose import Config, Decompose
from pilotfish_decompose.parts import LONGEST_PART, parts_of

QUESTION = (
    "Ann has 3 boxes of 12 eggs and Ben has 2 boxes of 10 eggs. They sell half of all the eggs. How many are left?"
)
PARTS = ["How many eggs does Ann have?", "How many eggs does Ben have?"]
HISTORY = ({"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Yes?"})
NEVER = "never"


@dataclass
class Pools(StandInModels):
    """The splitter writes `split`; the solver answers by part. An exception is raised, NEVER hangs."""

    split: object = "\n".join(f"{number}. {part}" for number, part in enumerate(PARTS, 1))
    answers: dict = field(default_factory=lambda: {PARTS[0]: "36", PARTS[1]: "20"})
    together: int = 0
    most_together: int = 0
    parameters: list = field(default_factory=list)

    async def complete(self, role, messages, **parameters):
        self.asked.append(role)
        self.parameters.append(parameters)
        part = messages[-1]["content"].rpartition("Answer this part alone: ")[2]
        answer = self.split if role == "splitter" else self.answers[part]
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        try:
            await (asyncio.Event().wait() if answer is NEVER else asyncio.sleep(0))
        finally:
            self.together -= 1
        if isinstance(answer, Exception):
            raise answer
        return {"choices": [{"message": {"content": answer}}]}


class TestContract(OnRequestContract):
    plugin = Decompose
    settings = Settings({"minWords": 0})

    def models(self):
        return StandInModels(texts=("\n".join(f"- {part}" for part in PARTS),))


async def rewritten(models, config=None, question=QUESTION, **conversation):
    plugin = Decompose.from_settings(Settings(config or {}))
    messages = (*HISTORY, {"role": "user", "content": question})
    return await plugin.on_request(conversation=Conversation(messages, **conversation), models=models)


async def test_parts_are_answered_together_and_precede_the_question():
    models = Pools()
    result = await rewritten(models, {"maxPartTokens": 64, "maxSplitTokens": 99})
    assert result.messages[:-1] == HISTORY
    shown = f"- {PARTS[0]} 36\n- {PARTS[1]} 20"
    assert result.messages[-1]["content"] == f"{Config().heading}\n{shown}\n\n{QUESTION}"
    assert result.notes == {"parts": [{"part": PARTS[0], "answer": "36"}, {"part": PARTS[1], "answer": "20"}]}
    assert models.most_together == 2
    assert [each["max_tokens"] for each in models.parameters] == [99, 64, 64]


@pytest.mark.parametrize("split", ["", QUESTION, f"1. {QUESTION}", "1. How many eggs are there?", "[]", "x" * 5000])
async def test_a_question_of_one_part_is_left_as_it_is(split):
    models = Pools(split=split)
    assert await rewritten(models) is None
    assert models.asked == ["splitter"]


@pytest.mark.parametrize(
    ("question", "room"),
    [("How many eggs are there?", None), (QUESTION, 40), (QUESTION, 0), (None, None)],
)
async def test_short_questions_and_full_windows_ask_no_pool(question, room):
    models = Pools()
    assert await rewritten(models, question=question, context_tokens=room) is None
    assert models.asked == []


async def test_no_more_than_max_parts_are_answered():
    parts = [f"What is part {number}?" for number in range(50)]
    models = Pools(split=json.dumps(parts), answers=dict.fromkeys(parts, "Yes."))
    await rewritten(models, {"maxParts": 3})
    assert models.asked.count("solver") == 3


async def test_answers_without_end_stay_within_the_room():
    models = Pools(answers=dict.fromkeys(PARTS, "鯨 word " * 50_000))
    for room in (60, 100, 1000, None):
        result = await rewritten(models, context_tokens=room)
        added = result.messages[-1]["content"].removesuffix(QUESTION)
        most = Config().max_parts * (Config().max_part_tokens + 16) + estimate_tokens(Config().heading) + 2
        assert estimate_tokens(added.strip()) <= min(most, room or most)


async def test_a_part_that_is_not_answered_in_time_is_left_out(monkeypatch):
    models = Pools(answers={PARTS[0]: "36", PARTS[1]: NEVER})
    waits = asyncio.timeout
    monkeypatch.setattr("pilotfish_decompose.plugin.asyncio.timeout", lambda seconds: waits(seconds / 1000))
    result = await rewritten(models, {"partSeconds": 10})
    assert result.messages[-1]["content"].startswith(f"{Config().heading}\n- {PARTS[0]} 36\n\n")
    assert result.notes["parts"][1] == {"part": PARTS[1], "answer": None}
    assert models.together == 0


async def test_a_pool_that_is_gone_is_the_plugins_error_and_ends_the_other_calls():
    gone = ModelUnavailable("pool 'small' is Failed")
    with pytest.raises(ModelUnavailable):
        await rewritten(Pools(split=gone))
    models = Pools(answers={PARTS[0]: NEVER, PARTS[1]: gone})
    with pytest.raises(ModelUnavailable) as raised:
        await rewritten(models)
    assert raised.value is gone
    assert models.together == 0


async def test_an_answer_without_choices_is_the_pools_error():
    class Empty(Pools):
        async def complete(self, role, messages, **parameters):
            return {"choices": []}

    with pytest.raises(BadUpstream, match="no `choices`"):
        await rewritten(Empty())


@pytest.mark.parametrize(
    "config", [{"maxParts": 1}, {"partSeconds": 0}, {"maxPartTokens": "9"}, {"solverInstruction": ""}]
)
def test_an_invalid_field_is_refused_by_name(config):
    with pytest.raises(ConfigError) as raised:
        Decompose.from_settings(Settings(config))
    assert raised.value.field == f"config.{next(iter(config))}"


@pytest.mark.parametrize(
    "text",
    [
        "1. {}\n2. {}",
        "Here are the parts:\n\n1) {}\n2) {}\n\nI hope that helps.",
        "- {}\n- {}",
        "* {}\n\n* {}\n",
        "{}\n{}",
        "Part 1: {}\nPart 2: {}",
        "a) {}\nb) {}",
        '["{}", "{}"]',
        '```json\n["{}", "{}"]\n```',
        '{{"parts": [{{"question": "{}"}}, {{"question": "{}"}}]}}',
        '["{}", "{}", "How many are the',
        '["{}", "{}"] These are the parts.',
    ],
)
def test_parts_are_read_from_what_small_models_write(text):
    assert parts_of(text.format(*PARTS), QUESTION) == PARTS


@given(
    st.text()
    | st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(json.dumps)
)
def test_any_text_is_read_without_an_error(text):
    parts = parts_of(text, QUESTION)
    assert len(set(parts)) == len(parts)
    assert all(part.strip() and len(part) <= LONGEST_PART for part in parts)
