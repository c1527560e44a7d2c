import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.errors import ConfigError
from pilotfish.calibration.statistics.metrics import apgr
from pilotfish.plugin_api.artifacts import write_artifact
from pilotfish.plugin_api.learning import Outcomes
from pilotfish.plugin_api.scorers import PromptScorer, Question
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.scorers.features import BUCKETS, WORD_BUCKETS, features, names
from pilotfish.plugins.builtin.scorers.linear import LinearScorer
from pilotfish.plugins.builtin.scorers.linear_training import train_linear

EASY = ("capital of", "colour of", "opposite of", "name of")
HARD = ("integral of", "derivative of", "proof of", "factor of")


def prompts(count, seed):
    """Prompts of two sorts; the small pool does well on the easy sort nine times of ten, on the hard one of five."""
    random = np.random.default_rng(seed)
    easy = random.random(count) < 0.5
    texts = [f"What is the {random.choice(EASY if kind else HARD)} item {random.integers(1000)}?" for kind in easy]
    small = (random.random(count) < np.where(easy, 0.9, 0.2)).astype(float)
    return texts, Outcomes(small, np.ones(count)), easy


@pytest.fixture(scope="module")
def artifact():
    texts, outcomes, _ = prompts(300, 1)
    return train_linear(texts, outcomes).model.to_bytes()


@given(st.text(max_size=400))
def test_features_are_finite_and_named(text):
    found = features(text)
    filled = {int(bucket) for block in (found.words, found.bytes) for bucket in block.buckets}
    assert np.isfinite(found.lexical).all()
    assert all(0 <= bucket < BUCKETS for bucket in filled)
    assert filled == set(names(text))


def test_numbers_of_one_length_and_case_do_not_matter_to_ngrams():
    first, second = features("Add 17 and 42"), features("add 93 and 58")
    assert np.array_equal(first.words.buckets, second.words.buckets)
    assert len(features("a b a b").words.buckets) == 4
    assert all(bucket < WORD_BUCKETS for bucket in first.words.buckets)


def test_a_very_long_prompt_costs_no_more_than_its_ends():
    long = features("begin " + "x" * 2_000_000 + " end")
    assert long.bytes.counts.sum() < 3 * 16 * 1024
    assert np.array_equal(long.words.buckets, features("begin " + "x" * 1_000_000 + " end").words.buckets)


async def test_linear_learns_which_prompts_are_easy_and_says_why(artifact):
    scorer = LinearScorer.from_settings(Settings(artifact=artifact))
    assert isinstance(scorer, PromptScorer)
    texts, outcomes, easy = prompts(300, 2)
    scores = np.array([1000 * scorer.probability(text) for text in texts])
    assert apgr(scores, outcomes.small, outcomes.large) > 0.7
    assert abs(scores[easy].mean() / 1000 - 0.9) < 0.1
    question = Question(
        ({"role": "system", "content": "ignored"}, {"role": "user", "content": [{"type": "text", "text": texts[0]}]})
    )
    assert (await scorer.predict(question=question, models=None)).permille == round(1000 * scorer.probability(texts[0]))
    asked = Question(({"role": "user", "content": "What is the integral of item 5?"},))
    explained = scorer.explain(question=asked)["contributions"]
    assert any("integ" in feature and contribution < 0 for feature, contribution in explained.items())
    sizes = [abs(contribution) for contribution in explained.values()]
    assert sizes == sorted(sizes, reverse=True)


def test_equal_examples_give_equal_artifacts(artifact):
    texts, outcomes, _ = prompts(300, 1)
    assert train_linear(texts, outcomes).model.to_bytes() == artifact


def test_nothing_to_learn_is_said():
    texts, _, _ = prompts(100, 1)
    with pytest.raises(ConfigError, match="nothing to learn"):
        train_linear(texts, Outcomes(np.ones(100), np.ones(100)))


def test_without_a_signal_scores_are_close_to_the_mean_and_no_draw_is_refused():
    random = np.random.default_rng(50)
    texts, _, _ = prompts(200, 1)
    fits = [train_linear(texts, Outcomes((random.random(200) < 0.6).astype(float), np.ones(200))) for _ in range(4)]
    assert not all(fit.beats_mean for fit in fits)
    for fit in fits:
        scores = [fit.model.probability(fit.model.margin(features(text))) for text in texts[:50]]
        assert abs(np.mean(scores) - 0.6) < 0.15
        assert np.std(scores) < 0.15


def test_a_weak_signal_in_200_labels_ranks_prompts_in_every_draw():
    """Easy prompts are answered well six times of ten, hard ones four times."""
    random = np.random.default_rng(51)
    texts, _, easy = prompts(200, 2)
    fresh, outcomes, _ = prompts(200, 3)
    areas = []
    for _ in range(4):
        small = (random.random(200) < np.where(easy, 0.62, 0.38)).astype(float)
        model = train_linear(texts, Outcomes(small, np.ones(200))).model
        areas.append(apgr(np.array([model.margin(features(text)) for text in fresh]), outcomes.small, outcomes.large))
        assert model.slope > 0
    assert np.mean(areas) > 0.6


def test_an_artifact_of_another_shape_is_refused():
    with pytest.raises(ConfigError, match="shape"):
        LinearScorer.from_settings(Settings(artifact=write_artifact("linear", {"idf": np.ones(3)})))


def test_an_artifact_with_numbers_that_are_none_is_refused():
    with pytest.raises(ConfigError, match="not finite"):
        LinearScorer.from_settings(Settings(artifact=write_artifact("linear", {"idf": np.array([np.nan])})))
