"""Tools are removed by rank, and never those that the conversation needs."""

import pytest

from pilotfish.plugin_api.adaptations import Conversation
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnRequestContract
from pilotfish.testing.models import FailingModels, StandInModels
from pilotfish_tool_retrieval import ToolRetrieval
from pilotfish_tool_retrieval.tools import described, name_of

ALONE = StandInModels(missing=frozenset({"embedder"}))


def tool(name, description="", **parameters):
    properties = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    schema = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


TOOLS = (
    tool("get_weather", "The forecast for a city.", city="name of the city"),
    tool("bookFlight", "Reserves a seat.", departure="airport of departure"),
    tool("send_mail", "Sends a message to a colleague.", to="address"),
    tool("convert", "Changes money.", currency="three letters"),
    tool("search_wiki", "Looks up an article."),
)


def asked(text, *before, tools=TOOLS):
    return Conversation((*before, {"role": "user", "content": text}), tools)


def offered(result):
    return [name_of(each) for each in result.tools]


class TestContract(OnRequestContract):
    plugin = ToolRetrieval
    settings = Settings({"maxTools": 2})
    conversations = (*OnRequestContract.conversations, asked("Which flights leave from the airport?"))


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("What are the forecasts for cities?", "get_weather"),
        ("Book two flights", "bookFlight"),
        ("how much is it in another currency", "convert"),
    ],
)
async def test_a_tool_is_found_by_name_description_or_parameter(question, name):
    plugin = ToolRetrieval.from_settings(Settings({"maxTools": 1}))
    result = await plugin.on_request(conversation=asked(question), models=ALONE)
    assert offered(result) == [name]
    assert result.notes == {"offered": [name], "removed": 4}


async def test_tools_that_were_called_or_are_always_needed_stay_in_order():
    call = {"id": "a", "type": "function", "function": {"name": "search_wiki", "arguments": "{}"}}
    before = ({"role": "user", "content": "Look it up"}, {"role": "assistant", "content": None, "tool_calls": [call]})
    plugin = ToolRetrieval.from_settings(Settings({"maxTools": 3, "always": ["send_mail"]}))
    result = await plugin.on_request(conversation=asked("And the forecast?", *before), models=ALONE)
    assert offered(result) == ["get_weather", "send_mail", "search_wiki"]


async def test_few_tools_and_unknown_words_leave_all_tools():
    plugin = ToolRetrieval.from_settings(Settings({"maxTools": 4}))
    assert await plugin.on_request(conversation=asked("forecast", tools=TOOLS[:4]), models=ALONE) is None
    result = await plugin.on_request(conversation=asked("xyzzy"), models=ALONE)
    assert (result.tools, result.notes) == (None, {"reason": "no tool matches the question"})


async def test_vectors_find_what_shares_no_word_and_are_kept():
    def vector(text):
        return [float("umbrella" in text or "forecast" in text), float("mail" in text), 0.1]

    models = StandInModels(vector=vector)
    plugin = ToolRetrieval.from_settings(Settings({"maxTools": 1}))
    for _ in range(2):
        result = await plugin.on_request(conversation=asked("umbrella?"), models=models)
        assert offered(result) == ["get_weather"]
    assert len(plugin._vectors) == len(TOOLS)


async def test_a_pool_that_fails_leaves_words_to_rank_by():
    plugin = ToolRetrieval.from_settings(Settings({"maxTools": 1}))
    result = await plugin.on_request(conversation=asked("forecast"), models=FailingModels())
    assert offered(result) == ["get_weather"]
    assert "embedder" in result.notes["unavailable"]


DEEP = {"function": {"name": "deep", "parameters": {}}}
for _ in range(100):
    DEEP = {"function": {"name": "deep", "parameters": {"properties": {"inner": DEEP["function"]["parameters"]}}}}


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"type": "custom"},
        {"function": None},
        {"function": {"name": 3, "parameters": {"properties": [1]}}},
        DEEP,
        tool("long", "word " * 10000),
    ],
)
async def test_tools_of_any_shape_are_ranked(odd):
    assert len(described(odd)) <= 2000
    plugin = ToolRetrieval.from_settings(Settings({"maxTools": 2}))
    result = await plugin.on_request(conversation=asked("forecast", tools=(*TOOLS, odd)), models=ALONE)
    assert "get_weather" in offered(result)
