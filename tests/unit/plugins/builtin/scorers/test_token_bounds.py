import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.artifacts import write_artifact
from pilotfish.plugin_api.boundaries import Boundaries
from pilotfish.plugin_api.scorers import AnswerScorer, TokenLogprobs
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.scorers.combined import CombinedScorer
from pilotfish.plugins.builtin.scorers.heads import LogisticHead
from pilotfish.plugins.builtin.scorers.logprob import KIND, SIGNAL_NAMES, LogprobScorer, scale_arrays, signals

CONFIGS = [
    {"statistic": "mean"},
    {"statistic": "mean", "scale": "probability"},
    {"statistic": "minimum"},
    {"statistic": "quantile", "permille": 0},
    {"statistic": "quantile", "permille": 100},
    {"statistic": "quantile", "permille": 1000},
    {"statistic": "entropy"},
    {"statistic": "margin"},
    {"statistic": "combination"},
]
HEAD = LogisticHead(SIGNAL_NAMES, (3.0, -1.0, 2.0, 0.5, -2.0, 1.5, -4.0), 0.25)


def make(config):
    artifact = write_artifact(KIND, HEAD.to_arrays()) if config["statistic"] == "combination" else None
    return LogprobScorer.from_settings(Settings(config, artifact))


@st.composite
def token(draw):
    shares = draw(st.lists(st.floats(0, 1), min_size=1, max_size=5))
    total = max(1.0, math.fsum(shares))
    top = tuple(
        sorted((math.log(share) - math.log(total) if share > 0 else -math.inf for share in shares), reverse=True)
    )
    return TokenLogprobs(draw(st.sampled_from(top)), top)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: "-".join(str(value) for value in config.values()))
@given(before=st.lists(token(), max_size=12), after=st.lists(token(), max_size=12), spare=st.integers(0, 5))
def test_bounds_of_a_prefix_hold_the_final_score(config, before, after, spare):
    running = make(config).start()
    running.add(before)
    known, unknown = running.bounds(len(after) + spare), running.bounds(None)
    running.add(after)
    final = running.score().permille
    assert 0 <= known.low <= final <= known.high <= 1000
    assert unknown.low <= final <= unknown.high


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: "-".join(str(value) for value in config.values()))
@given(tokens=st.lists(token(), min_size=1, max_size=12), cut=st.integers(0, 12))
def test_score_does_not_depend_on_how_tokens_are_cut(config, tokens, cut):
    at_once, in_parts = make(config).start(), make(config).start()
    at_once.add(tokens)
    in_parts.add(tokens[:cut])
    in_parts.add(tokens[cut:])
    assert at_once.score() == in_parts.score()
    score = at_once.score().permille
    bounds = at_once.bounds(0)
    assert bounds.low <= score <= bounds.high


def test_statistics_have_the_values_of_their_definitions():
    tokens = [TokenLogprobs(math.log(p), (math.log(p), math.log(1 - p))) for p in (0.9, 0.6, 0.8)]

    def score(**config):
        running = make({"scale": "probability", **config}).start()
        running.add(tokens)
        return running.score().permille

    entropies = [-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in (0.9, 0.6, 0.8)]
    assert score(statistic="mean") == round(1000 * (0.9 * 0.6 * 0.8) ** (1 / 3))
    assert score(statistic="minimum") == 600
    assert score(statistic="quantile", permille=500, scale="odds") == round(500 + 500 * math.log(4) / math.log(1e7 - 1))
    assert score(statistic="quantile", permille=500) == 800
    assert score(statistic="entropy") == round(1000 * math.exp(-sum(entropies) / 3))
    assert score(statistic="margin") == round(1000 * (0.8 + 0.2 + 0.6) / 3)
    assert score(statistic="combination") == round(1000 * HEAD.probability(signals(tokens)))


def test_an_impossible_token_is_not_the_end_of_a_mean():
    running = make({"statistic": "mean", "scale": "probability"}).start()
    running.add([TokenLogprobs(-math.inf), TokenLogprobs(math.nan)])
    running.add([TokenLogprobs(0.0)] * 9998)
    assert running.score().permille == round(1000 * math.exp(-0.02))


def score_of(scorer, logprob):
    running = scorer.start()
    running.add([TokenLogprobs(logprob)])
    return running.score().permille


def test_odds_tell_apart_what_permille_of_a_probability_does_not():
    sure = [math.log1p(-doubt) for doubt in (3e-4, 3e-5, 3e-6)]
    assert {score_of(make({"statistic": "mean", "scale": "probability"}), logprob) for logprob in sure} == {1000}
    first, second, third = (score_of(make({"statistic": "mean"}), logprob) for logprob in sure)
    assert second - first > 50
    assert third - second > 50


BOUNDARIES = Boundaries(700, ((4, 100, 900),)).to_arrays()


@pytest.mark.parametrize(
    ("config", "arrays", "scale"),
    [
        ({}, None, "odds"),
        ({}, BOUNDARIES, "probability"),
        ({"statistic": "minimum"}, BOUNDARIES, "probability"),
        ({}, {**BOUNDARIES, **scale_arrays()}, "odds"),
        ({"scale": "odds"}, BOUNDARIES, "odds"),
        ({"scale": "probability"}, {**BOUNDARIES, **scale_arrays()}, "probability"),
    ],
)
def test_an_artifact_without_a_scale_keeps_the_default_of_its_time(config, arrays, scale):
    artifact = None if arrays is None else write_artifact(KIND, arrays)
    scorer = LogprobScorer.from_settings(Settings(config, artifact))
    assert score_of(scorer, math.log(0.8)) == {"probability": 800, "odds": 543}[scale]


async def test_a_combination_without_a_scale_keeps_the_default_of_its_time():
    members = {"members": [{"name": "logprob"}, {"name": "verifier"}]}
    head = LogisticHead(("0-logprob", "1-verifier"), (1.0, 0.0), 0.0)
    for arrays, signal in (({}, 0.8), (scale_arrays(), 0.543)):
        artifact = write_artifact("combined", {**head.to_arrays(), **arrays})
        (member, _) = CombinedScorer.from_settings(Settings(members, artifact)).members
        assert score_of(member, math.log(0.8)) == round(1000 * signal)


def test_only_statistics_that_look_at_alternatives_ask_for_them():
    asked = {config["statistic"]: make(config).top_logprobs > 0 for config in CONFIGS}
    assert asked == {
        "mean": False,
        "minimum": False,
        "quantile": False,
        "entropy": True,
        "margin": True,
        "combination": True,
    }
    assert isinstance(make(CONFIGS[0]), AnswerScorer)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (Settings({"statistic": "median"}), "config.statistic"),
        (Settings({"statistic": "quantile", "permille": 1001}), "config.permille"),
        (Settings({"statistic": "combination"}), "artifact"),
        (Settings({"statistic": "combination"}, b"PK not a zip"), "artifact"),
        (Settings({"statistic": "combination"}, write_artifact("linear", {})), "artifact"),
        (Settings({"statistic": "combination"}, write_artifact(KIND, {})), "artifact"),
        (Settings({}, write_artifact(KIND, {"scale": np.array("logit")})), "artifact"),
    ],
)
def test_bad_settings_are_refused_by_field(settings, field):
    with pytest.raises(ConfigError) as fault:
        LogprobScorer.from_settings(settings)
    assert fault.value.field == field
