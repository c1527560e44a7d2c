from acme_pilotfish.spelling import Spelling

from pilotfish.plugin_api.adaptations import Channel, Conversation
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnAnswerContract
from pilotfish.testing.answers import read
from pilotfish.testing.models import StandInModels

SETTINGS = Settings({"words": {"color": "colour"}})


class TestContract(OnAnswerContract):
    plugin = Spelling
    settings = SETTINGS
    answers = ("The color of colorless things is no color.", "Farben: color, colour; 色.")
    unchanged = ("Colors are colorful.", "")


async def test_a_word_that_arrives_in_parts_is_replaced():
    stream = Spelling.from_settings(SETTINGS).on_answer(
        conversation=Conversation(({"role": "user", "content": "?"},)),
        state=None,
        models=StandInModels(),
        channel=Channel(),
    )
    assert (await read(stream, ["Its co", "lo", "r is red."])).text == "Its colour is red."
