import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pilotfish.calibration.statistics.bounds import (
    betting_p,
    betting_upper,
    clopper_pearson,
    examples_for,
    examples_needed,
    examples_needed_in_expectation,
    hoeffding_bentkus_p,
)

DRAWS = 2000


def within(wrong: int, error: float) -> bool:
    """Whether `wrong` of DRAWS is no more than `error` allows, itself uncertain."""
    return wrong <= stats.binom.ppf(0.9999, DRAWS, error)


@pytest.mark.parametrize("mean", [0.02, 0.3])
@pytest.mark.parametrize("test", ["betting", "hoeffding-bentkus"])
def test_a_true_hypothesis_is_rejected_no_more_often_than_promised(test, mean):
    """The mean is exactly at the limit, the worst case: p is at most the error in at most that share of draws."""
    random = np.random.default_rng(5)
    samples = (random.random((DRAWS, 150)) < mean).astype(float)
    if test == "betting":
        p_values = [betting_p(sample, mean, low=0.0, high=1.0, error=0.1) for sample in samples]
    else:
        p_values = [hoeffding_bentkus_p(float(sample.mean()), 150, mean) for sample in samples]
    assert within(sum(p <= 0.1 for p in p_values), 0.1)


def test_the_betting_test_holds_for_differences_of_qualities():
    random = np.random.default_rng(6)
    samples = random.choice([-1.0, 0.0, 1.0], p=[0.10, 0.78, 0.12], size=(DRAWS, 200))
    wrong = sum(betting_p(sample, 0.02, low=-1.0, high=1.0, error=0.05) <= 0.05 for sample in samples)
    assert within(wrong, 0.05)


def test_an_upper_bound_is_exceeded_no_more_often_than_promised():
    random = np.random.default_rng(8)
    samples = random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=(300, 150))
    bounds = np.array([betting_upper(sample, low=-1.0, high=1.0, error=0.1) for sample in samples])
    assert (bounds < 0.2).sum() <= stats.binom.ppf(0.9999, 300, 0.1)
    assert np.median(bounds) < 0.4


def test_the_betting_test_finds_a_difference_that_is_there():
    random = np.random.default_rng(7)
    samples = random.choice([-1.0, 0.0, 1.0], p=[0.05, 0.91, 0.04], size=(200, 1500))
    found = sum(betting_p(sample, 0.02, low=-1.0, high=1.0, error=0.05) <= 0.05 for sample in samples)
    assert found > 180


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.001, 0.4))
def test_clopper_pearson_covers_the_share_and_narrows_with_error(successes, trials, error):
    successes = min(successes, trials)
    low, high = clopper_pearson(successes, trials, error)
    assert low <= successes / trials <= high
    assert 0 <= low < high <= 1
    assert clopper_pearson(successes, trials, error / 2)[1] >= high


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0.01, 0.99), st.floats(0, 0.3))
def test_a_smaller_loss_is_stronger_evidence(count, mean, limit, less):
    assert hoeffding_bentkus_p(max(0.0, mean - less), count, limit) <= hoeffding_bentkus_p(mean, count, limit) + 1e-12


@given(st.floats(0.005, 0.3), st.sampled_from([0.2, 0.1, 0.05, 0.01]))
def test_fewest_examples_are_the_fewest(limit, error):
    count = examples_needed(limit, error)
    assert betting_p(np.zeros(count), limit, low=-1.0, high=1.0, error=error) <= error
    assert betting_p(np.zeros(count - 1), limit, low=-1.0, high=1.0, error=error) > error
    assert examples_for(limit, error, 0.0) == count


@given(st.floats(0.005, 0.5))
def test_in_expectation_the_fewest_are_those_of_which_one_more_may_be_lost_whole(limit):
    count = examples_needed_in_expectation(limit)
    assert 1 / (count + 1) <= limit * (1 + 1e-12)
    assert count == 0 or 1 / count > limit


def test_no_examples_prove_nothing():
    assert betting_p(np.array([]), 0.1, low=-1.0, high=1.0, error=0.05) == 1
    assert clopper_pearson(0, 0, 0.05) == (0, 1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        examples_needed(0.0, 0.05)
