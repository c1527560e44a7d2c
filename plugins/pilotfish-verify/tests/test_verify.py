"""The adaptation as a router uses it: sentences are held, judged, and released or not."""

import asyncio
from dataclasses import dataclass
from math import log

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pilotfish.base.errors import BadUpstream, ConfigError, ModelUnavailable
from pilotfish.plugin_api.adaptations import Channel, Conversation, Escalate, Mode, Refused, Release
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnAnswerContract
from pilotfish.testing.models import StandInModels
from pilotfish_verify import Verify

CONTEXT = (
    "Use these passages.\n\n[1] handbook/leave.md\nEmployees of Acme get 28 days of paid leave each year. Leave is "
    "requested in the portal two weeks before it starts.\n\n[2] handbook/travel.md\nTrains are booked by the travel "
    "desk. A hotel costs at most 140 euros per night."
)
QUESTION = "How many days of leave do I get?"
RIGHT = "Employees get 28 days of paid leave each year. "
ALSO_RIGHT = "Leave is requested in the portal. "
WRONG = "Managers receive another 12 bonus holidays. "
MESSAGES = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": f"{CONTEXT}\n\nQuestion:\n\n{QUESTION}"},
)
NEVER = "never"


@dataclass
class Pools(StandInModels):
    """`yes` is the probability of yes by sentence. An exception is raised, NEVER hangs."""

    yes: object = 0.9
    together: int = 0
    most_together: int = 0
    prompts: tuple = ()

    async def complete(self, role, messages, **parameters):
        self.prompts = (*self.prompts, messages[-1]["content"])
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        try:
            await (asyncio.Event().wait() if self.yes is NEVER else asyncio.sleep(0))
        finally:
            self.together -= 1
        if isinstance(self.yes, Exception):
            raise self.yes
        tokens = [{"token": "Yes", "logprob": log(self.yes)}, {"token": " no", "logprob": log(1 - self.yes)}]
        return {"choices": [{"logprobs": {"content": [{"top_logprobs": tokens}]}}]}


class TestContractOfAGate(OnAnswerContract):
    """With overlap alone."""

    plugin = Verify
    settings = Settings({"action": "Flag"})
    conversation = Conversation(MESSAGES)
    answers = (RIGHT + WRONG + ALSO_RIGHT, "```\nx = 1.\n```\n" + WRONG, "", "One. Two? Three!")
    unchanged = (RIGHT + ALSO_RIGHT,)


class TestContractWithPools(OnAnswerContract):
    """With both pools, and the whole answer held."""

    plugin = Verify
    settings = Settings({"action": "Escalate", "weights": {"yes": 1000, "score": 1000}})
    conversation = Conversation(MESSAGES)
    answers = TestContractOfAGate.answers


class TestContractOfAnObserver(OnAnswerContract):
    """Notes alone."""

    plugin = Verify
    conversation = Conversation(MESSAGES)
    answers = TestContractOfAGate.answers


def plugin(**config):
    return Verify.from_settings(Settings(config))


def opened(config, models=None, messages=MESSAGES, channel=Channel(), **conversation):  # noqa: B008 - frozen
    return plugin(**config).on_answer(
        conversation=Conversation(messages, **conversation),
        state=None,
        models=models or StandInModels(),
        channel=channel,
    )


async def results(stream, *pushes):
    return [*[await stream.push(text) for text in pushes], await stream.end("stop")]


async def released(stream, *pushes):
    return [each.text for each in await results(stream, *pushes)]


async def test_flag_holds_each_sentence_until_it_is_judged():
    stream = opened({"action": "Flag", "flag": " [?]"})
    pushes = [RIGHT[:20], RIGHT[20:] + WRONG[:10], WRONG[10:] + ALSO_RIGHT]
    expected = ["", RIGHT, WRONG.rstrip() + " [?] ", ALSO_RIGHT]
    assert await released(stream, *pushes) == expected


async def test_notes_count_what_was_checked_and_list_what_is_not_supported():
    (*_, last) = await results(
        opened({"action": "Observe"}), "Sure! ", RIGHT + WRONG, "Do you need more details about it?"
    )
    assert last.text == ""
    assert last.notes["checked"] == 2
    (noted,) = last.notes["sentences"]
    assert noted["sentence"] == WRONG.strip()
    assert noted["signals"]["numbers"] == 0
    (*_, last) = await results(opened({"action": "Observe", "noteAll": True}), RIGHT + WRONG)
    assert [each["supported"] for each in last.notes["sentences"]] == [True, False]


async def test_refuse_releases_nothing_of_the_sentence():
    stream = opened({"action": "Refuse", "message": "no source"})
    assert await stream.push(RIGHT + WRONG[:15]) == Release(RIGHT, held=15)
    refused = await stream.push(WRONG[15:] + ALSO_RIGHT)
    assert isinstance(refused, Refused)
    assert refused.message == "no source"


@pytest.mark.parametrize("pushes", [(RIGHT, WRONG, ALSO_RIGHT), (RIGHT + WRONG + ALSO_RIGHT,)])
async def test_escalate_holds_the_answer_and_is_returned_before_anything_is_released(pushes):
    found = await results(opened({"action": "Escalate", "flag": "?"}), *pushes)
    first = next(each for each in found if isinstance(each, Escalate))
    assert all(each.text == "" for each in found[: found.index(first)])
    assert first.notes["checked"] == 2
    # No next pool is left: the stream continues, and what is released in all is the flagged answer.
    rest = found[found.index(first) + 1 :]
    assert first.otherwise.text + "".join(each.text for each in rest) == RIGHT + WRONG[:-1] + "? " + ALSO_RIGHT


async def test_a_supported_answer_is_released_at_its_end():
    assert await released(opened({"action": "Escalate"}), RIGHT, ALSO_RIGHT) == ["", "", RIGHT + ALSO_RIGHT]


async def test_escalate_becomes_otherwise_once_a_sentence_was_released():
    stream = opened({"action": "Escalate", "hold": "Sentence", "otherwise": "Refuse"})
    assert await stream.push(RIGHT + ALSO_RIGHT) == Release(RIGHT, held=len(ALSO_RIGHT))
    assert isinstance(await stream.push(WRONG + "Yes, sure."), Refused)


async def test_one_of_several_choices_does_not_escalate():
    found = await results(opened({"action": "Escalate"}, choices=2, channel=Channel(choice=1)), WRONG)
    assert all(isinstance(each, Release) for each in found)
    assert found[-1].notes["choice 1"]["checked"] == 1


UNCHECKED = (
    "```sh\nrm -rf 12345 everything dangerous\n```\n",
    "The passages do not contain an answer about parental leave. ",
    "Great question! ",
    "I don't know how many days a manager gets each year. ",
)


@pytest.mark.parametrize("unchecked", UNCHECKED)
async def test_code_abstentions_and_short_sentences_are_not_checked(unchecked):
    found = await results(opened({"action": "Refuse"}), unchecked)
    assert "".join(each.text for each in found) == unchecked
    assert found[-1].notes["checked"] == 0


async def test_a_negation_is_checked_and_a_citation_is_no_number():
    found = await results(opened({"action": "Refuse"}), "Managers do not receive another 12 holidays. ")
    assert isinstance(found[-1], Refused)
    (*_, last) = await results(opened({"noteAll": True}), "Employees get 28 days of paid leave [7, 9].")
    assert last.notes["sentences"][0]["signals"] == {"words": 1, "pairs": 1, "numbers": 1}


async def test_without_context_or_for_tools_no_answer_is_handled():
    assert opened({}, messages=({"role": "user", "content": QUESTION},)) is None
    assert opened({}, messages=({"role": "assistant", "content": CONTEXT},)) is None
    assert opened({}, channel=Channel(tool_call=0)) is None


async def test_results_of_tools_are_evidence():
    call = {"role": "assistant", "content": None, "tool_calls": []}
    tool = {"role": "tool", "content": "Managers receive another 12 bonus holidays.", "tool_call_id": "a"}
    for first in (MESSAGES[-1], {"role": "user", "content": QUESTION}):
        (*_, last) = await results(opened({"action": "Refuse"}, messages=(first, call, tool)), WRONG)
        assert last.text == WRONG


async def test_without_context_nothing_is_supported_if_it_is_required():
    found = opened({"action": "Refuse", "requireContext": True}, messages=({"role": "user", "content": QUESTION},))
    assert isinstance((await results(found, RIGHT))[-1], Refused)


@pytest.mark.parametrize(("marker", "between"), [("Question:", "Question:\n\nHello."), ("", "")])
async def test_the_question_is_no_evidence(marker, between):
    question = "Is it true that managers receive another 12 bonus holidays?"
    messages = ({"role": "user", "content": f"{CONTEXT}\n\n{between}\n\n{question}"},)
    found = await results(opened({"action": "Refuse", "questionMarker": marker}, messages=messages), WRONG)
    assert isinstance(found[-1], Refused)


async def test_the_judge_sees_the_passage_that_fits_and_its_probability_counts():
    weights = {"bias": 0, "words": 0, "pairs": 0, "numbers": 0, "yes": 10_000}
    config = {"action": "Refuse", "weights": weights, "longestContext": 500}
    filler = "\n\n".join(f"{word} is a word of the filler. " * 12 for word in ("Alpha", "Beta", "Gamma"))
    messages = ({"role": "user", "content": f"{filler}\n\n{CONTEXT}\n\nQuestion:\n{QUESTION}"},)
    models = Pools(yes=0.9)
    (*_, last) = await results(opened(config, models, messages), RIGHT)
    assert last.text == RIGHT
    assert "28 days" in models.prompts[0]
    assert "filler" not in models.prompts[0]
    assert isinstance((await results(opened(config, Pools(yes=0.1), messages), RIGHT))[-1], Refused)


async def test_a_passage_is_found_in_a_long_context():
    filler = "\n\n".join(f"{place} is a number of the filler. " * 12 for place in range(150))
    messages = ({"role": "user", "content": f"{filler}\n\n{CONTEXT}\n\n{filler}\n\nQuestion:\n{QUESTION}"},)
    (*_, last) = await results(opened({}, messages=messages), RIGHT + WRONG)
    assert [each["sentence"] for each in last.notes["sentences"]] == [WRONG.strip()]


async def test_the_scorer_classifies_or_scores_passages():
    weights = {"bias": -5000, "words": 0, "pairs": 0, "numbers": 0, "score": 10_000}
    entailment = {"template": "{passage} SEP {sentence}", "label": 2}
    models = StandInModels(labels=lambda text: (0.1, 0.1, 0.8 if "28 days" in text.split(" SEP ")[0] else 0.1))
    (*_, last) = await results(
        opened({"action": "Refuse", "weights": weights, "entailment": entailment}, models), RIGHT
    )
    assert last.text == RIGHT
    models = StandInModels(relevance=lambda sentence, passage: 0.1)
    assert isinstance((await results(opened({"action": "Refuse", "weights": weights}, models), RIGHT))[-1], Refused)


async def test_sentences_of_one_push_are_judged_at_the_same_time_but_not_all():
    models = Pools()
    await results(opened({"weights": {"yes": 1}}, models), RIGHT * 40)
    assert models.most_together == 8
    assert len(models.prompts) == 40


@pytest.mark.parametrize("fault", [ModelUnavailable("gone"), BadUpstream("broken")])
async def test_a_pool_that_fails_fails_the_plugin(fault):
    with pytest.raises(type(fault)):
        await results(opened({"weights": {"yes": 1}}, Pools(yes=fault)), RIGHT * 3)


async def test_a_pool_that_returns_no_log_probabilities_fails_the_plugin():
    models = StandInModels()
    models.complete = lambda role, messages, **_: asyncio.sleep(0, {"choices": [{"message": {"content": "Yes"}}]})
    with pytest.raises(BadUpstream, match="log-probabilities"):
        await results(opened({"weights": {"yes": 1}}, models), RIGHT)


@pytest.mark.parametrize("scores", [lambda _text: (float("nan"),), lambda _text: ()])
async def test_scores_that_are_no_numbers_fail_the_plugin(scores):
    config = {"weights": {"score": 1}, "entailment": {}}
    with pytest.raises(BadUpstream):
        await results(opened(config, StandInModels(labels=scores)), RIGHT)


async def test_a_call_that_is_cancelled_cancels_its_questions():
    models = Pools(yes=NEVER)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await results(opened({"weights": {"yes": 1}}, models), RIGHT * 3)
    assert models.together == 0


async def test_a_weight_without_its_pool_is_an_error_that_names_both():
    with pytest.raises(ConfigError, match=r"config.weights.yes.*'judge'"):
        await results(opened({"weights": {"yes": 1}}, StandInModels(missing=frozenset({"judge"}))), RIGHT)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"action": "Delete"}, "config.action"),
        ({"thresholdPermille": 1001}, "config.thresholdPermille"),
        ({"weights": {"bias": 0.5}}, "config.weights.bias"),
        ({"ignore": ["("]}, "config.ignore.0"),
        ({"entailment": {"template": "{passage}"}}, "config.entailment"),
    ],
)
def test_an_invalid_config_names_its_field(config, field):
    with pytest.raises(ConfigError) as error:
        plugin(**config)
    assert error.value.field == field


def test_the_action_decides_the_mode():
    assert plugin(action="Observe").mode is Mode.OBSERVE
    assert plugin(action="Flag").mode is Mode.GATE
    assert plugin(action="Escalate").hold_tokens is None


PARTS = st.sampled_from([RIGHT, WRONG, ALSO_RIGHT, "Hm. ", "```\nx = 1\n", "```\n", "\n\n", "- "])


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    st.lists(PARTS, max_size=8).map("".join),
    st.lists(st.integers(0, 200), max_size=6),
    st.sampled_from(["Flag", "Escalate"]),
)
def test_the_answer_does_not_depend_on_the_pushes_and_loses_nothing(text, cuts, action):
    ends = sorted({cut for cut in cuts if cut < len(text)})
    pushes = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]

    async def outcome(parts):
        found = await results(opened({"action": action, "flag": "#"}), *parts)
        return "".join((each.otherwise if isinstance(each, Escalate) else each).text for each in found)

    whole = asyncio.run(outcome([text]))
    assert asyncio.run(outcome(pushes)) == whole
    assert whole.replace("#", "") == text


@pytest.mark.parametrize("action", ["Flag", "Escalate"])
async def test_what_is_released_and_what_is_held_is_what_was_pushed(action):
    text, released, pushed = RIGHT + WRONG + ALSO_RIGHT + RIGHT, "", ""
    stream = opened({"action": action, "flag": ""})
    for start in range(0, len(text), 7):
        result = await stream.push(text[start : start + 7])
        result = result.otherwise if isinstance(result, Escalate) else result
        released, pushed = released + result.text, pushed + text[start : start + 7]
        assert released + pushed[len(pushed) - result.held :] == pushed
