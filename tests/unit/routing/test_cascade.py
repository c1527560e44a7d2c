"""The judge of a stage: one verdict, however the tokens are cut, and never another than the end would have given."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.plugin_api.boundaries import Boundaries
from pilotfish.plugin_api.scorers import TokenLogprobs
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.scorers.logprob import LogprobScorer
from pilotfish.routing.cascade import AcceptancePolicy, Decision, Ground, StageJudge, Verdict

PROBABILITY = {"scale": "probability"}
configs = st.one_of(
    st.just({"statistic": "mean"}),
    st.just({"statistic": "mean", "scale": "probability"}),
    st.just({"statistic": "minimum"}),
    st.builds(lambda rank: {"statistic": "quantile", "permille": rank}, st.integers(0, 1000)),
)
logprobs = st.one_of(st.floats(-8, 0), st.just(-math.inf), st.just(0.0))
answers = st.lists(logprobs, min_size=1, max_size=30)
thresholds = st.integers(0, 1000)
horizons = st.one_of(st.none(), st.integers(1, 40))


def judged(config: dict, policy: AcceptancePolicy, answer: list[float], cut: int) -> Decision:
    judge = StageJudge(LogprobScorer.from_settings(Settings(config)), policy)
    tokens = [TokenLogprobs(value) for value in answer]
    for start in range(0, len(tokens), cut):
        if judge.add(0, tokens[start : start + cut]):
            break
    return judge.end()


@given(configs, answers, thresholds, horizons, st.integers(1, 30))
def test_the_verdict_does_not_depend_on_how_the_answer_is_cut(config, answer, threshold, horizon, cut) -> None:
    policy = AcceptancePolicy(threshold, horizon)
    assert judged(config, policy, answer, cut) == judged(config, policy, answer, 1)


@given(configs, answers, thresholds, horizons, st.one_of(st.none(), st.just(30)))
def test_an_early_verdict_is_the_one_that_waiting_would_have_given(config, answer, threshold, horizon, limit) -> None:
    early = judged(config, AcceptancePolicy(threshold, horizon, limit), answer, 1)
    late = judged(config, AcceptancePolicy(threshold, horizon, limit, early=False), answer, 1)
    assert early.verdict == late.verdict
    assert early.tokens <= late.tokens


def test_a_minimum_below_the_threshold_is_certain_at_once() -> None:
    decision = judged({"statistic": "minimum"}, AcceptancePolicy(500), [-0.1, -0.2, -2.0] + [-0.1] * 200, 1)
    assert (decision.verdict, decision.ground, decision.tokens) == (Verdict.REJECTED, Ground.CERTAIN, 3)


def test_the_least_sure_choice_decides() -> None:
    judge = StageJudge(LogprobScorer.from_settings(Settings(PROBABILITY)), AcceptancePolicy(500), choices=2)
    judge.add(0, [TokenLogprobs(-0.1)])
    assert judge.end_choice(0) is None
    judge.add(1, [TokenLogprobs(-1.0)])
    assert judge.end().score == 368
    assert judge.end().verdict is Verdict.REJECTED


@pytest.mark.parametrize(
    ("answer", "verdict", "ground"),
    [
        ([-0.1] * 20, Verdict.ACCEPTED, Ground.STOPPING_BOUNDARY),
        ([-2.0] * 20, Verdict.REJECTED, Ground.STOPPING_BOUNDARY),
        ([-0.7] * 20, Verdict.REJECTED, Ground.END_OF_ANSWER),
    ],
)
def test_a_stopping_boundary_decides_at_its_look_and_nowhere_else(answer, verdict, ground) -> None:
    policy = AcceptancePolicy(600, boundaries=Boundaries(600, ((4, 300, 800),)))
    decision = judged(PROBABILITY, policy, answer, 3)
    assert (decision.verdict, decision.ground) == (verdict, ground)
    assert decision.tokens == (4 if ground is Ground.STOPPING_BOUNDARY else 20)
    other = judged(PROBABILITY, replace(policy, threshold=500), answer, 3)
    assert other.ground is Ground.END_OF_ANSWER
