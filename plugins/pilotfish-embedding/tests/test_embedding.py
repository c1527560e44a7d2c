"""The scorer as a router uses it: learned from recorded requests, then asked."""

import numpy as np
import pytest

from pilotfish.base.errors import BadUpstream, ConfigError
from pilotfish.plugin_api.learning import Examples, LearningScorer, Outcomes
from pilotfish.plugin_api.scorers import Question
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish.testing.scorers import PromptScorerContract
from pilotfish_embedding import EmbeddingScorer

QUESTION = Question(({"role": "user", "content": "?"},))
COUNT, WIDTH = 300, 16


def examples(vectors=None, small=None):
    """The candidate does well on the first half of the prompts, whose vectors point one way."""
    random = np.random.default_rng(3)
    first = np.arange(COUNT) < COUNT // 2
    rows = random.normal(size=(COUNT, WIDTH))
    rows[:, 0] += np.where(first, 2, -2)
    good = (random.random(COUNT) < np.where(first, 0.95, 0.1)).astype(float)
    outcomes = Outcomes(good if small is None else small, np.ones(COUNT))
    ids = [f"request-{place:03}" for place in range(COUNT)]
    return Examples(ids, [QUESTION] * COUNT, rows.tolist() if vectors is None else vectors, outcomes)


ARTIFACT = EmbeddingScorer.learn(settings=Settings(), examples=examples()).artifact


def pools(vector):
    return StandInModels(vector=lambda _text: vector)


class TestContract(PromptScorerContract):
    plugin = EmbeddingScorer
    settings = Settings(artifact=ARTIFACT)

    def models(self):
        return StandInModels(vector=lambda text: [float(len(text) % 7), *[1.0] * (WIDTH - 1)])


def test_equal_examples_give_equal_artifacts():
    assert issubclass(EmbeddingScorer, LearningScorer)
    assert EmbeddingScorer.learn(settings=Settings(), examples=examples()).artifact == ARTIFACT


async def test_a_prompt_is_scored_by_its_neighbours():
    scorer = EmbeddingScorer.from_settings(Settings(artifact=ARTIFACT))
    near = await scorer.predict(question=QUESTION, models=pools([5.0] + [0.0] * 15))
    far = await scorer.predict(question=QUESTION, models=pools([-5.0] + [0.0] * 15))
    assert near.permille > 800
    assert far.permille < 200
    cosines = [row["cosine"] for row in near.details["neighbours"]]
    assert cosines == sorted(cosines, reverse=True)
    assert all(row["request"] < "request-150" for row in near.details["neighbours"])
    assert all(row["request"] >= "request-150" for row in far.details["neighbours"])


async def test_a_vector_of_another_pool_is_refused():
    scorer = EmbeddingScorer.from_settings(Settings({"role": "other"}, ARTIFACT))
    with pytest.raises(BadUpstream, match="'other' gives other vectors than the artifact's 16 numbers each"):
        await scorer.predict(question=QUESTION, models=pools([1.0, 2.0]))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"vectors": [[1.0, 2.0]] * 7 + [None] * (COUNT - 7)}, "'request-007' has no vector: .*--vectors-from"),
        ({"vectors": [[1.0, 2.0]] * 7 + [[1.0]] * (COUNT - 7)}, "'request-007' has a vector of 1 numbers"),
        ({"small": np.ones(COUNT)}, "nothing to learn"),
    ],
)
def test_examples_that_cannot_be_learned_from_are_refused(wrong, reason):
    with pytest.raises(ConfigError, match=reason):
        EmbeddingScorer.learn(settings=Settings(), examples=examples(**wrong))
