from acme_pilotfish.brevity import BrevityScorer

from pilotfish.plugin_api.scorers import Question
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish.testing.scorers import PromptScorerContract


class TestContract(PromptScorerContract):
    plugin = BrevityScorer
    settings = Settings({"halfWords": 10})


async def test_the_score_halves_every_half_words():
    scorer = BrevityScorer.from_settings(Settings({"halfWords": 2}))
    question = Question(({"role": "user", "content": "one two three four"},))
    assert (await scorer.predict(question=question, models=StandInModels())).permille == 250
