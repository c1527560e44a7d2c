"""The adaptation as a router uses it: windows of sentences are held, corrected and released."""

import asyncio
import random
from dataclasses import dataclass

import pytest

from pilotfish.base.errors import BadUpstream, ConfigError, ModelUnavailable
from pilotfish.plugin_api.adaptations import Channel, Conversation, Declaration
from pilotfish.plugin_api.sentences import SentenceSplitter
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnAnswerContract
from pilotfish.testing.models import StandInModels
from pilotfish_rewrite import Rewrite

MESSAGES = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which colour is it?"})
NEVER = "never"


def british(text: str) -> str:
    return text.replace("color", "colour")


@dataclass
class Corrector(StandInModels):
    """Writes `correct(passage)`. An exception is raised, NEVER hangs."""

    correct: object = british
    finish_reason: str = "stop"
    asked_for: tuple = ()

    async def complete(self, role, messages, **parameters):
        self.asked_for = (*self.asked_for, (messages, parameters))
        if self.correct is NEVER:
            await asyncio.Event().wait()
        if isinstance(self.correct, Exception):
            raise self.correct
        passage = messages[-1]["content"].rpartition("Passage:\n")[2]
        choice = {"message": {"content": self.correct(passage)}, "finish_reason": self.finish_reason}
        return {"choices": [choice]}


class TestContract(OnAnswerContract):
    plugin = Rewrite
    settings = Settings({"sentences": 2})
    unchanged = ("```py\ncolor = 1.\n```\n",)

    def models(self) -> StandInModels:
        return Corrector(correct=lambda passage: passage.upper())


def opened(models, channel=Channel(), **config):  # noqa: B008 - frozen
    plugin = Rewrite.from_settings(Settings(config))
    return plugin.on_answer(conversation=Conversation(MESSAGES), state=None, models=models, channel=channel)


async def released(stream, *pushes):
    return [(await stream.push(text)).text for text in pushes] + [(await stream.end("stop")).text]


async def test_a_window_is_released_as_soon_as_it_is_complete():
    stream = opened(Corrector(), sentences=2)
    pushes = ["The color is red. ", "No, the col", "or is blue. Another ", "color is green."]
    expected = ["", "", "The colour is red. No, the colour is blue. ", "", "Another colour is green."]
    assert await released(stream, *pushes) == expected


async def test_the_corrector_gets_the_question_what_was_released_and_the_passage():
    models = Corrector()
    await released(opened(models, sentences=1, instruction="Use British spelling."), "One color. Two colors.")
    messages, parameters = models.asked_for[1]
    assert messages[0] == {"role": "system", "content": "Use British spelling."}
    assert messages[1]["content"] == (
        "Question:\nWhich colour is it?\n\nAnswer so far:\nOne colour.\n\nPassage:\nTwo colors."
    )
    assert parameters["max_tokens"] < 40


async def test_code_and_white_space_are_released_as_they_are():
    text = "\n\nThe color:\n\n```py\ncolor = 1\n```\n\n  Set the color. Done.  \n"
    models = Corrector()
    assert "".join(await released(opened(models), text)) == text.replace("The color", "The colour").replace(
        "the color", "the colour"
    )
    assert [messages[1]["content"].rpartition("Passage:\n")[2] for messages, _ in models.asked_for] == [
        "The color:",
        "Set the color. Done.",
    ]


async def test_no_model_is_asked_for_nothing():
    models = Corrector()
    assert await released(opened(models), "```\nx\n```\n", " \n ") == ["```\nx\n```\n", "", " \n "]
    assert models.asked_for == ()


@pytest.mark.parametrize(
    ("correct", "finish_reason", "outcome"),
    [
        (lambda text: text * 100, "stop", "too long"),
        (british, "length", "too long"),
        (lambda text: " \n", "stop", "empty"),
        (lambda text: f"```\n{text}\n```", "stop", "with code"),
        (lambda text: text, "stop", "unchanged"),
    ],
)
async def test_a_correction_that_cannot_be_used_leaves_the_original(correct, finish_reason, outcome):
    stream = opened(Corrector(correct=correct, finish_reason=finish_reason))
    text = "The color is red, and this sentence is long enough. "
    assert (await stream.push(text)).text == ""
    last = await stream.end("stop")
    assert last.text == text
    assert last.notes == {"windows": {outcome: 1}}


async def test_the_arguments_of_tools_are_not_handled():
    assert opened(Corrector(), channel=Channel(tool_call=0)) is None


@pytest.mark.parametrize("fault", [ModelUnavailable("gone"), BadUpstream("broken")])
async def test_a_pool_that_fails_fails_the_plugin(fault):
    with pytest.raises(type(fault)):
        await released(opened(Corrector(correct=fault)), "The color is red.")


async def test_a_response_without_choices_fails_the_plugin():
    models = StandInModels()
    models.complete = lambda role, messages, **_: asyncio.sleep(0, {"choices": []})
    with pytest.raises(BadUpstream, match="choices"):
        await released(opened(models), "The color is red.")


async def test_a_call_that_hangs_is_cancelled():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await released(opened(Corrector(correct=NEVER)), "The color is red.")


@pytest.mark.parametrize(
    ("config", "field"),
    [({"sentences": 0}, "config.sentences"), ({"instruction": ""}, "config.instruction"), ({"x": 1}, "config.x")],
)
def test_an_invalid_config_names_its_field(config, field):
    with pytest.raises(ConfigError) as error:
        Rewrite.from_settings(Settings(config))
    assert error.value.field == field


def test_the_declaration_bounds_what_is_held():
    assert Declaration.of(Rewrite.from_settings(Settings({"sentences": 1}))).hold_tokens < 2100


WORDS = ["color ", "Red. ", "red.\n", "- color ", "1. ", "e.g. ", "Why? ", "é。", "x" * 40]
PARTS = [*WORDS, "```\n", "```py\ncolor\n", "~~~\n", "  ", "\n\n"]


def expected(text: str, size: int) -> str:
    """The text with every window corrected, computed from the sentences of the whole text."""
    splitter = SentenceSplitter()
    parts, window = [], ""
    count = 0
    for sentence in [*splitter.push(text), *splitter.end()]:
        if sentence.code or count == size:
            parts.append(british(window))
            window, count = "", 0
        if sentence.code:
            parts.append(sentence.text)
        else:
            window, count = window + sentence.text, count + 1
    return "".join([*parts, british(window)])


async def test_twenty_thousand_random_streams_are_corrected_whatever_the_pushes_are():
    chosen = random.Random(11)
    models = Corrector()
    for _ in range(20_000):
        text = "".join(chosen.choices(PARTS, k=chosen.randrange(1, 12)))
        size = chosen.randrange(1, 4)
        models.asked_for = ()
        stream, parts = opened(models, sentences=size), []
        start = 0
        while start < len(text):
            end = start + chosen.choice([1, 3, 8, 20, 60])
            parts.append((await stream.push(text[start:end])).text)
            start = end
        parts.append((await stream.end("stop")).text)
        assert "".join(parts) == expected(text, size), (text, size)


async def test_what_is_released_and_what_is_held_is_what_was_pushed():
    """The gateway releases what is held if the plugin fails."""
    chosen = random.Random(12)
    for _ in range(1000):
        text = "".join(chosen.choices(PARTS, k=chosen.randrange(1, 12)))
        stream, released, start = opened(Corrector(correct=str), sentences=chosen.randrange(1, 4)), "", 0
        while start < len(text):
            end = start + chosen.choice([1, 3, 8, 20, 60])
            result = await stream.push(text[start:end])
            released += result.text
            start = min(end, len(text))
            assert released + text[start - result.held : start] == text[:start]
