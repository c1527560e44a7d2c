import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pilotfish.base.errors import ConfigError
from pilotfish.calibration.statistics.metrics import apgr, calibration_error, cpt, discrimination, reliability
from pilotfish.calibration.statistics.offpolicy import Logged, doubly_robust, ips, snips
from pilotfish.calibration.statistics.stopping import Prefixes, learn
from pilotfish.plugin_api.boundaries import Boundaries


def test_a_perfect_score_a_constant_and_a_reversed_one_have_their_areas():
    small = np.array([1.0] * 50 + [0.0] * 50)
    large = np.ones(100)
    assert apgr(small, small, large) == pytest.approx(0.75)
    assert apgr(np.zeros(100), small, large) == pytest.approx(0.5)
    assert apgr(-small, small, large) == pytest.approx(0.25)
    assert cpt(small, small, large, 0.5) == pytest.approx(0.25)
    assert cpt(np.zeros(100), small, large, 0.8) == pytest.approx(0.8)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=3, max_size=40), st.randoms())
def test_the_order_of_requests_with_one_score_does_not_matter(rows, random):
    shuffled = rows[:]
    random.shuffle(shuffled)
    if all(good for _, good in rows):
        return

    def area(entries):
        scores, small = np.array(entries, float).T
        return apgr(scores, small, np.ones(len(entries)))

    assert area(rows) == pytest.approx(area(shuffled))
    assert 0 <= area(rows) <= 1


def test_discrimination_counts_pairs():
    scores, good = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0])
    found = discrimination(scores, good)
    assert found.area == pytest.approx(0.75)
    assert found.low <= 0.75 <= found.high
    assert discrimination(scores, np.ones(4)) is None


def test_a_calibrated_score_has_a_small_error_and_a_false_one_a_large():
    random = np.random.default_rng(0)
    scores = random.random(5000)
    good = (random.random(5000) < scores).astype(float)
    assert calibration_error(reliability(scores, good)) < 0.03
    assert calibration_error(reliability(1 - scores, good)) > 0.3


@pytest.mark.parametrize("estimator", ["ips", "snips", "dr"])
def test_estimates_from_single_answers_cover_the_truth(estimator):
    """Intervals of 95% over 300 logs: the router's true quality is inside in about as many."""
    random = np.random.default_rng(9)
    inside = 0
    for _ in range(300):
        sure = random.random(600)
        chance = np.clip(1 - sure, 0.1, 0.9)
        action = (random.random(600) < chance).astype(int)
        propensity = np.where(action == 1, chance, 1 - chance)
        reward = (random.random(600) < np.where(action == 1, 0.9, sure)).astype(float)
        logged = Logged(action, propensity, reward)
        target = (sure < 0.5).astype(int)
        wanted = (target == action).astype(float)
        expected, predicted = np.where(target == 1, 0.85, sure), np.where(action == 1, 0.85, sure)
        found = {
            "ips": lambda logged=logged, wanted=wanted: ips(logged, wanted),
            "snips": lambda logged=logged, wanted=wanted: snips(logged, wanted),
            "dr": lambda logged=logged, wanted=wanted, e=expected, p=predicted: doubly_robust(logged, wanted, e, p),
        }[estimator]()
        inside += found.low <= 0.45 + 0.375 <= found.high
    assert inside >= stats.binom.ppf(0.001, 300, 0.95)


def test_propensities_of_nothing_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        Logged(np.array([0]), np.array([0.0]), np.array([1.0]))


def walks(count, seed):
    """Answers whose prefix scores close in on their final score."""
    random = np.random.default_rng(seed)
    final = random.integers(200, 1000, count)
    looks = (4, 8, 16, 32)
    scores = np.column_stack([final + random.normal(0, 200 / np.sqrt(look), count) for look in looks])
    return Prefixes(looks, np.clip(scores, 0, 1000).astype(np.int64), final, np.full(count, 64))


def decided(boundaries, answers):
    """The early verdict on each answer: 1 accepted, 0 rejected, -1 none."""
    verdicts = np.full(len(answers.final), -1)
    for column, look in enumerate(answers.looks):
        for row in np.flatnonzero(verdicts < 0):
            verdict = boundaries.verdict(tokens=look, score=int(answers.scores[row, column]), threshold=600)
            verdicts[row] = -1 if verdict is None else int(verdict)
    return verdicts


def test_boundaries_save_tokens_and_change_no_more_verdicts_than_promised():
    fresh = walks(2000, 999)
    broken = 0
    for seed in range(12):
        found = learn(walks(800, seed), threshold=600, limit=0.05, error=0.1)
        verdicts = decided(found.boundaries, fresh)
        broken += ((verdicts >= 0) & (verdicts != (fresh.final >= 600))).mean() > 0.05
        assert found.mean_tokens < found.mean_tokens_without - 10
        assert (verdicts >= 0).mean() > 0.3
    assert broken <= 4


def test_boundaries_hold_for_their_own_threshold_alone_and_survive_a_file():
    found = Boundaries(600, ((4, 100, 1001), (8, 200, 900)))
    assert Boundaries.from_arrays(found.to_arrays()) == found
    assert found.verdict(tokens=8, score=950, threshold=600) is True
    assert found.verdict(tokens=8, score=150, threshold=600) is False
    assert found.verdict(tokens=8, score=500, threshold=600) is None
    assert found.verdict(tokens=5, score=50, threshold=600) is None
    assert found.verdict(tokens=8, score=950, threshold=601) is None
    with pytest.raises(ConfigError, match="cross"):
        Boundaries.from_arrays(Boundaries(600, ((4, 700, 300),)).to_arrays())
