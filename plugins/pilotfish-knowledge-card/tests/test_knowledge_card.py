"""The adaptation as a router uses it: experts write, relevant cards go in front of the question."""

import asyncio
from dataclasses import dataclass, field

import pytest

from pilotfish.base.errors import ConfigError, ModelUnavailable
from pilotfish.plugin_api.adaptations import Conversation
from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnRequestContract
from pilotfish.testing.models import StandInModels
from pilotfish_knowledge_card import Config, KnowledgeCard
from pilotfish_knowledge_card.cards import Card, brief, overlap, sentences

QUESTION = "What is the capital of Australia?"
HISTORY = ({"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Yes?"})
CANBERRA = "The capital of Australia is Canberra. It was founded in 1913."
NO_RANKING = frozenset({"reranker", "embedder", "expert-2", "expert-3", "expert-4"})


@dataclass
class Experts(StandInModels):
    """Each expert writes its own card; a card that is an exception is raised."""

    cards: dict = field(default_factory=dict)
    finish_reason: str = "stop"
    missing: frozenset = NO_RANKING

    async def complete(self, role, messages, **parameters):
        self.asked.append(role)
        card = self.cards[role]
        if isinstance(card, Exception):
            raise card
        if card is asyncio.Event:
            await asyncio.Event().wait()
        self.parameters = parameters
        return {"choices": [{"message": {"content": card}, "finish_reason": self.finish_reason}]}


class TestContract(OnRequestContract):
    plugin = KnowledgeCard

    def models(self):
        return StandInModels(texts=[CANBERRA])


async def rewritten(models, config=None, question=QUESTION, **conversation):
    plugin = KnowledgeCard.from_settings(Settings(config or {}))
    messages = (*HISTORY, {"role": "user", "content": question})
    return await plugin.on_request(conversation=Conversation(messages, **conversation), models=models)


async def test_a_relevant_card_goes_in_front_of_the_question_and_the_history_stays():
    models = Experts(cards={"expert": CANBERRA})
    result = await rewritten(models, {"maxTokens": 100})
    assert result.messages[:-1] == HISTORY
    assert result.messages[-1]["content"] == f"{Config().heading}\n{CANBERRA}\n\n{QUESTION}"
    assert result.notes["cards"][0]["card"] == CANBERRA
    assert models.parameters == {"max_tokens": 100, "temperature": 0}


@pytest.mark.parametrize(
    "card",
    ["", "Water boils at 100 degrees at sea level.", QUESTION, "The capital of Australia."],
)
async def test_a_card_without_relevant_news_changes_nothing(card):
    result = await rewritten(Experts(cards={"expert": card}), {"minRelevancePermille": 300})
    assert result.messages[-1]["content"] == QUESTION


async def test_the_relevance_is_that_of_the_score_pool_or_else_of_the_embed_pool():
    cards = {"expert": "Sydney.", "expert-2": "Canberra."}
    common = {"cards": cards, "relevance": lambda _question, card: 0.9 if card == "Canberra." else 0.1}
    config = {"minRelevancePermille": 500}
    by_score = await rewritten(Experts(missing=frozenset({"embedder", "expert-3", "expert-4"}), **common), config)
    assert [note["card"] for note in by_score.notes["cards"]] == ["", "Canberra."]
    vectors = {QUESTION: [1.0, 0.0], "Sydney.": [1.0, 0.1], "Canberra.": [0.0, 1.0]}
    missing = frozenset({"reranker", "expert-3", "expert-4"})
    by_vector = await rewritten(Experts(missing=missing, vector=vectors.get, **common), config)
    assert [note["card"] for note in by_vector.notes["cards"]] == ["Sydney.", ""]


async def test_the_most_relevant_of_several_cards_comes_first_and_repetitions_are_left_out():
    cards = {"expert": "Australia is a large country. Its population is 26 million.", "expert-2": CANBERRA}
    cards["expert-3"] = CANBERRA
    result = await rewritten(Experts(cards=cards, missing=frozenset({"reranker", "embedder", "expert-4"})))
    lines = result.messages[-1]["content"].splitlines()
    assert lines[1:3] == [CANBERRA, cards["expert"]]
    assert result.notes["cards"][2]["card"] == ""


async def test_a_card_that_loops_without_end_stays_within_the_limits():
    """An expert that repeats itself, or ignores `max_tokens`, adds no more than the room that there is."""
    looping = "Canberra is the capital of Australia. " * 10_000
    long = " ".join(f"Fact {number} about the capital of Australia." for number in range(10_000))
    for card, room in ((looping, None), (long, None), (long, 60), ("Canberra " * 10_000, 100)):
        result = await rewritten(Experts(cards={"expert": card}), context_tokens=room)
        added = result.messages[-1]["content"].removesuffix(QUESTION)
        assert estimate_tokens(added) <= min(room or 10_000, 200 + estimate_tokens(Config().heading) + 2)


async def test_an_unfinished_sentence_is_left_out():
    models = Experts(cards={"expert": f"{CANBERRA} The capital of Austral"}, finish_reason="length")
    assert (await rewritten(models)).notes["cards"][0]["card"] == CANBERRA


@pytest.mark.parametrize(
    ("question", "room"),
    [(QUESTION, 20), (QUESTION, 0), (None, None), ([{"type": "image_url", "image_url": {"url": "data:,"}}], None)],
)
async def test_without_a_question_or_room_no_expert_is_asked(question, room):
    models = Experts()
    assert await rewritten(models, question=question, context_tokens=room) is None
    assert models.asked == []


async def test_an_expert_that_does_not_answer_is_the_plugins_error_and_ends_the_other_calls():
    gone = ModelUnavailable("pool 'law' is Failed")
    models = Experts(cards={"expert": asyncio.Event, "expert-2": gone}, missing=NO_RANKING - {"expert-2"})
    with pytest.raises(ModelUnavailable) as raised:
        await rewritten(models)
    assert raised.value is gone
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"maxTokens": 15}, "config.maxTokens"),
        ({"maxTokens": "200"}, "config.maxTokens"),
        ({"minRelevancePermille": 1001}, "config.minRelevancePermille"),
        ({"instruction": ""}, "config.instruction"),
    ],
)
def test_an_invalid_field_is_refused_by_name(config, field):
    with pytest.raises(ConfigError) as raised:
        KnowledgeCard.from_settings(Settings(config))
    assert raised.value.field == field


def test_sentences_and_words_of_scripts_without_spaces():
    assert sentences("鯨は哺乳類である。海に住む。") == ["鯨は哺乳類である。", "海に住む。"]
    assert overlap("鯨は哺乳類か", "鯨は哺乳類である。") > 0.6
    assert overlap("What is a whale?", "鯨は哺乳類である。") == 0.0
    assert brief([Card("expert", "3.5 is a number. 4 too.", 1.0)], "?", 100)[0].text == "3.5 is a number. 4 too."
