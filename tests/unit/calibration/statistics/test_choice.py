import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pilotfish.calibration.statistics import control
from pilotfish.calibration.statistics.choose import Goal, GoalType, Recommendation, choose, mean_loss
from pilotfish.calibration.statistics.diagnose import WarningCode, shift
from pilotfish.calibration.statistics.table import Judging, Table, simulate, simulate_one
from pilotfish.routing.threshold_control import NEVER


def make(count, seed, *, signal=True, small_cost=0.1, large=0.9, inverted=False):
    """Requests whose small answer is right with its score's probability; without signal, the score is noise."""
    random = np.random.default_rng(seed)
    sure = random.random(count)
    quality = np.column_stack([random.random(count) < sure, random.random(count) < large]).astype(float)
    shown = sure if signal else random.random(count)
    scores = np.round(1000 * (1 - shown if inverted else shown)).astype(np.int64)[:, None]
    cost = np.tile([small_cost, 1.0], (count, 1))
    return Table(scores, quality, cost, cost * 2)


def goal(limit=0.05, confidence=0.9):
    return Goal(GoalType.QUALITY_LOSS, limit, confidence)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.integers(0, 1000), st.integers(0, 200))
def test_a_higher_threshold_sends_more_to_the_large_pool(scores, threshold, more):
    column = np.array(scores)[:, None]
    table = Table(column, np.ones((len(scores), 2)), np.ones((len(scores), 2)), np.ones((len(scores), 2)))
    cautious, bold = simulate(table, (min(1000, threshold + more),)), simulate(table, (threshold,))
    assert (cautious.pool >= bold.pool).all()
    assert (cautious.cost >= bold.cost).all()


def test_a_cascade_pays_for_every_stage_that_it_reaches():
    scores = np.array([[900, 0], [100, 900], [100, 100]])
    costs = np.tile([1.0, 2.0, 4.0], (3, 1))
    table = Table(scores, np.tile([0.1, 0.2, 0.3], (3, 1)), costs, costs)
    simulated = simulate(table, (500, 500))
    assert simulated.pool.tolist() == [0, 1, 2]
    assert simulated.cost.tolist() == [1.0, 3.0, 7.0]
    assert simulate(Table(scores, table.quality, costs, costs, cumulative=False), (500, 500)).cost.tolist() == [
        1.0,
        2.0,
        4.0,
    ]
    assert simulate_one(table, 2).cost.tolist() == [4.0] * 3


def test_the_promise_is_kept_as_often_as_promised():
    """Calibrated on 400 of a population again and again, the loss over all of it exceeds the limit in at most one of
    ten.
    """
    population = make(20_000, 1)
    random = np.random.default_rng(2)
    draws, broken, routed = 80, 0, 0
    for _ in range(draws):
        found = choose(population.rows(random.choice(20_000, 400, replace=False)), goal())
        if found.recommendation is Recommendation.ROUTE:
            routed += 1
            broken += mean_loss(population, found.thresholds) > 0.05
    assert routed > draws / 2
    assert broken <= stats.binom.ppf(0.999, draws, 0.1)


def test_expected_harm_is_kept_by_conformal_risk_control():
    population = make(20_000, 3)
    random = np.random.default_rng(4)
    harms = []
    for _ in range(100):
        found = choose(population.rows(random.choice(20_000, 300, replace=False)), goal(0.05, None))
        lost = population.quality[:, 1] - simulate(population, found.thresholds).quality
        harms.append(float(np.maximum(lost, 0).mean()))
    assert np.mean(harms) <= 0.05 + 3 * np.std(harms) / 10


def test_the_spread_of_a_promise_in_expectation_is_what_calibrations_anew_show():
    population = make(20_000, 3)
    random = np.random.default_rng(6)
    draws = [choose(population.rows(random.choice(20_000, 300, replace=False)), goal(0.05, None)) for _ in range(60)]
    losses = np.array([mean_loss(population, found.thresholds) for found in draws])
    spreads = [found.spread for found in draws]
    assert abs(np.mean([spread.over for spread in spreads]) - (losses > 0.05).mean()) < 0.15
    low, high = np.quantile(losses, [0.05, 0.95])
    width = np.mean([spread.high - spread.low for spread in spreads])
    assert 0.7 < width / (high - low) < 1.4
    assert choose(population.rows(np.arange(300)), goal()).spread is None


@pytest.mark.parametrize(
    ("table", "recommendation", "code"),
    [
        (make(2000, 5), Recommendation.ROUTE, None),
        (make(2000, 6, signal=False), Recommendation.LARGE_ALONE, WarningCode.NO_SIGNAL),
        (make(2000, 7, inverted=True), Recommendation.LARGE_ALONE, WarningCode.INVERTED),
        (make(2000, 8, small_cost=0.95), Recommendation.LARGE_ALONE, None),
        (make(2000, 9, large=0.4), Recommendation.SMALL_ALONE, None),
        (make(20, 10), Recommendation.LARGE_ALONE, WarningCode.TOO_FEW),
    ],
    ids=["pays", "no signal", "inverted", "small too expensive", "small as good", "too few"],
)
def test_the_recommendation_fits_the_requests(table, recommendation, code):
    found = choose(table, goal())
    assert found.recommendation is recommendation
    assert code is None or code in {warning.code for warning in found.warnings}
    assert bool(found.thresholds) == (recommendation is Recommendation.ROUTE)


def test_a_score_that_a_coin_matches_is_not_worth_a_cascade():
    """The score is weak, and the small pool costs something with every request: a coin keeps the promise for less."""
    sharp = make(2000, 15, small_cost=0.15)
    noise = np.random.default_rng(0).integers(0, 1001, sharp.scores.shape)
    dull = Table((sharp.scores + 2 * noise) // 3, sharp.quality, sharp.cost, sharp.seconds)
    found = choose(dull, goal())
    assert found.recommendation is Recommendation.LARGE_ALONE
    assert "random routing" in found.reason
    less = choose(dull, goal(), left=goal(0.048, 0.91))
    coins = [choice.reason.partition("random routing would save")[2] for choice in (found, less)]
    assert coins[0] == coins[1] != ""
    assert less.examples_needed == found.examples_needed
    assert len(less.tested) < len(found.tested)


def test_a_saving_that_may_be_luck_is_not_taken_for_the_scores_doing():
    """Of the same weak score, few requests do not show what many do."""
    found = {}
    for count in (400, 4000):
        weak = make(count, 5, small_cost=0.05)
        noise = np.random.default_rng(5).integers(0, 1001, weak.scores.shape)
        found[count] = choose(Table((weak.scores + 3 * noise) // 4, weak.quality, weak.cost, weak.seconds), goal(0.1))
    assert found[400].recommendation is Recommendation.LARGE_ALONE
    assert "may be none" in found[400].reason
    assert "may be none" not in found[4000].reason


def test_ties_are_told():
    table = make(500, 11)
    tied = Table(np.where(table.scores > 300, 700, table.scores), table.quality, table.cost, table.seconds)
    assert WarningCode.TIES in {warning.code for warning in choose(tied, goal()).warnings}


@pytest.mark.parametrize(("kind", "limit"), [(GoalType.SPEND, 500.0), (GoalType.LARGE_SHARE, 0.3)])
def test_a_budget_is_kept_and_used(kind, limit):
    table = make(3000, 12)
    found = choose(table, Goal(kind, limit, 0.95))
    simulated = simulate(table, found.thresholds)
    used = 1000 * simulated.cost.mean() if kind is GoalType.SPEND else (simulated.pool == 1).mean()
    assert 0.8 * limit < used < limit
    assert found.recommendation is Recommendation.ROUTE


@pytest.mark.parametrize(
    ("kind", "limit", "large", "recommendation"),
    [
        (GoalType.LARGE_SHARE, 0.3, 0.9, Recommendation.AT_RANDOM),
        (GoalType.SPEND, 500.0, 0.9, Recommendation.AT_RANDOM),
        (GoalType.SPEND, 2000.0, 0.9, Recommendation.LARGE_ALONE),
        (GoalType.LARGE_SHARE, 1.0, 0.9, Recommendation.LARGE_ALONE),
        (GoalType.SPEND, 2000.0, 0.4, Recommendation.SMALL_ALONE),
        (GoalType.SPEND, 50.0, 0.9, Recommendation.SMALL_ALONE),
    ],
    ids=["a share", "a spend", "more than all", "all", "large is worse", "not even small"],
)
def test_a_budget_without_signal_buys_the_better_pool_as_far_as_it_goes(kind, limit, large, recommendation):
    table = make(3000, 13, signal=False, large=large)
    found = choose(table, Goal(kind, limit, 0.95))
    assert found.recommendation is recommendation
    assert not found.thresholds
    assert found.kept == (limit > 100 or kind is GoalType.LARGE_SHARE)
    if recommendation is Recommendation.AT_RANDOM:
        share = found.large_permille / 1000
        assert 0.9 * limit < (share if kind is GoalType.LARGE_SHARE else 1000 * (0.1 + 0.9 * share)) <= limit


def test_a_coin_may_use_what_boundaries_would_have_taken():
    """Nothing cuts its answers short: of 300 permille it gets all."""
    for kind, limit in ((GoalType.LARGE_SHARE, 0.3), (GoalType.SPEND, 400.0)):
        whole = Goal(kind, limit, 0.95)
        table = make(1000, 16, signal=False)
        coin = choose(table, whole)
        assert coin.recommendation is Recommendation.AT_RANDOM
        assert choose(table, whole, left=Goal(kind, 0.9 * limit, 0.975)).large_permille == coin.large_permille


def test_a_budget_for_everything_still_buys_what_beats_the_last_pool():
    """Small answers are right where the score says so, which the last pool is not always."""
    found = choose(make(3000, 12, large=0.7), Goal(GoalType.SPEND, 2000.0, 0.95))
    assert found.recommendation is Recommendation.ROUTE


def chain(count, seed, pools=3):
    """A cascade of several pools, each right with its score's probability, the last nine times of ten."""
    random = np.random.default_rng(seed)
    sure = random.random((count, pools - 1))
    quality = np.column_stack([random.random(sure.shape) < sure, random.random(count) < 0.9]).astype(float)
    cost = np.tile(np.geomspace(0.05, 1.0, pools), (count, 1))
    return Table(np.round(1000 * sure).astype(np.int64), quality, cost, cost)


def test_the_combinations_of_thresholds_that_are_tried_do_not_grow_with_the_pools(monkeypatch):
    tried = []
    monkeypatch.setattr(control, "simulate", lambda *given: tried.append(given[1]) or simulate(*given))
    for pools in (3, 8):
        tried.clear()
        path = control.path_of_many(chain(60, 1, pools), 1.0)
        assert len(tried) <= control.MOST_COMBINATIONS
        assert path[-1][0] == 0
        assert (NEVER,) * (pools - 1) in tried


def test_harm_done_earlier_on_the_path_counts_later_too():
    """Of 100 requests each of two thresholds harms four others, fewer than five: both together are too many."""
    scores, quality = np.zeros((100, 2), np.int64), np.ones((100, 3))
    scores[:4, 0] = scores[4:8, 1] = 900
    quality[:4, 0] = quality[4:8, 1] = 0
    table = Table(scores, quality, quality, quality)
    path = [(500, NEVER), (NEVER, 500)]
    assert [entry.thresholds for entry in control.conformal(table, path, limit=0.05)] == path[:1]
    assert [entry.thresholds for entry in control.conformal(table, path, limit=0.10)] == path


def test_judging_costs_where_it_is_done_and_a_rejected_answer_what_was_made_of_it():
    costs, cents = np.tile([1.0, 2.0, 4.0], (2, 1)), np.tile([0.01, 0.02, 0.0], (2, 1))
    judging = Judging(cents, 2 * cents, np.tile([0.5, 1.0, 1.0], (2, 1)))
    table = Table(np.array([[900, 900], [100, 100]]), costs / 4, costs, costs, judging=judging)
    assert simulate(table, (500, 500)).cost.tolist() == pytest.approx([1.01, 0.5 + 2.0 + 4.0 + 0.03])
    assert simulate(table.rows(np.array([1])), (500, NEVER)).seconds.tolist() == pytest.approx([0.5 + 4.0 + 0.02])
    assert simulate_one(table, 0).cost.tolist() == [1.0, 1.0]


def test_a_coin_pays_no_judge():
    """Between 0.1 and 1 a budget of 0.4 buys a third of the large pool, though judging alone would use it up."""
    table = make(1000, 16, signal=False)
    dear = Judging(np.tile([0.5, 0.0], (1000, 1)), np.zeros((1000, 2)), np.ones((1000, 2)))
    judged = Table(table.scores, table.quality, table.cost, table.seconds, judging=dear)
    found = choose(judged, Goal(GoalType.SPEND, 400.0, 0.95))
    assert (found.recommendation, found.large_permille) == (Recommendation.AT_RANDOM, 333)


def test_examples_are_counted_where_the_promise_is_tested():
    found = choose(chain(60, 2), goal(0.05, None))
    assert (found.examples, found.examples_needed) == (30, 19)
    assert WarningCode.TOO_FEW not in {warning.code for warning in found.warnings}
    assert WarningCode.TOO_FEW in {warning.code for warning in choose(chain(36, 2), goal(0.05, None)).warnings}


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_three_stages_keep_the_promise_on_what_they_were_tested_on(seed):
    found = choose(chain(900, seed), goal(0.1))
    assert found.recommendation in (Recommendation.ROUTE, Recommendation.LARGE_ALONE)
    assert found.examples == 450
    for tested in found.tested:
        assert tested.p_value <= 0.1 + 1e-9


def test_scores_that_moved_are_told_and_others_not():
    random = np.random.default_rng(14)
    before, same, moved = random.normal(500, 50, 400), random.normal(500, 50, 400), random.normal(540, 50, 400)
    assert not shift(before, same, name="stage 1")
    assert [warning.code for warning in shift(before, moved, name="stage 1")] == [WarningCode.SHIFT]
