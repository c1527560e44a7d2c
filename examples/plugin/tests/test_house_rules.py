from acme_pilotfish.house_rules import HouseRules

from pilotfish.plugin_api.adaptations import Conversation
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.adaptations import OnRequestContract
from pilotfish.testing.models import StandInModels


class TestContract(OnRequestContract):
    plugin = HouseRules
    settings = Settings({"text": "Use SI units."})


async def test_the_rules_come_first():
    adaptation = HouseRules.from_settings(Settings({"text": "Use SI units."}))
    asked = ({"role": "user", "content": "How far is the moon?"},)
    rewritten = await adaptation.on_request(conversation=Conversation(asked), models=StandInModels())
    assert rewritten.messages == ({"role": "system", "content": "Use SI units."}, *asked)
